"""Modules that web servers load into themselves: Apache's LoadModule, nginx's load_module, PHP's extensions."""

import re
from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, first_word, places, script

_APACHE = re.compile(r"(?i)(?:LoadModule\s+(\S+)\s+(\S+)|LoadFile\s+()(\S+))")
_NGINX = re.compile(r"load_module\s+[\"']?([^\"';\s]+)")
_PHP = re.compile(r"(?i)(zend_extension|extension|auto_prepend_file|auto_append_file)\s*=\s*[\"']?([^\"'\s;]+)")


def apache(found: Found) -> Iterator[Entry]:
    """Read the modules that Apache loads."""
    for line in found.joined_lines():
        module = _APACHE.match(line)
        if module:
            path = module[2] or module[4]
            yield entry(module[1] or first_word(path), path, "apache start", "root")


def nginx(found: Found) -> Iterator[Entry]:
    """Read the modules that nginx loads."""
    for line in found.lines():
        module = _NGINX.match(line)
        if module:
            yield entry(first_word(module[1]), module[1], "nginx start", "root")


def php(found: Found) -> Iterator[Entry]:
    """Read the extensions of PHP, and files that it runs before or after every script."""
    for line in found.lines(";#"):
        setting = _PHP.match(line)
        if setting:
            yield entry(f"{setting[1].lower()} {first_word(setting[2])}", setting[2], "every PHP script", "")


PLACES = (
    *places("web_server_module", apache, "/etc/apache2/mods-enabled/*.load", "/etc/apache2/conf-enabled/*.conf"),
    *places("web_server_module", apache, "/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf"),
    *places("web_server_module", apache, "/etc/httpd/conf.modules.d/*.conf", "/etc/httpd/conf.d/*.conf"),
    *places("web_server_module", nginx, "/etc/nginx/nginx.conf", "/etc/nginx/modules-enabled/*.conf"),
    *places("web_server_module", nginx, "/usr/share/nginx/modules/*.conf", "/etc/nginx/modules.d/*.conf"),
    *places("web_server_module", php, "/etc/php/*/*/conf.d/*.ini", "/etc/php/*/*/php.ini", "/etc/php.d/*.ini"),
    *places(
        "web_server_module",
        script("loaded by a web server"),
        *("/usr/lib/apache2/modules/*.so", "/usr/lib64/httpd/modules/*.so", "/usr/lib/httpd/modules/*.so"),
        *("/usr/lib/nginx/modules/*.so", "/usr/lib64/nginx/modules/*.so", "/usr/share/nginx/modules/*.so"),
    ),
)
