"""What records of Linux logs mean: audit events, Sysmon for Linux, and the lines of daemons.

Sigma's services are auditd, sysmon, and for text logs the daemon's own where there is one (sshd, sudo, su, login,
cron, vsftpd, clamav, guacamole, apache, nginx, modsecurity), `auth` for what else writes about accounts and sessions,
`kernel`, and `syslog` for the rest. What tells of a login that succeeded or failed is of the category `authentication`.
"""

from collections.abc import Callable
from posixpath import basename

from shield.event import Auth, Category, Dns, File, LogValue, Network, Process, User
from shield.normalizer.interpretation import Interpretation
from shield.record import LogRecord
from shield.text import encode

_AUDITD, _SYSMON = "auditd", "Linux-Sysmon"
_UNSET = 0xFFFF_FFFF
_DELETED = " (deleted)"
_IN_PROGRESS = (-115, "EINPROGRESS", "-115")
_NOTHING = ("", "-", "?", "(none)", "(null)")

_EXECS = ("execve", "execveat")
_ATTRIBUTE_CALLS = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
    *("utime", "utimes", "utimensat", "futimesat"),
)
_MODULE_CALLS = ("init_module", "finit_module", "delete_module")
_AUTHENTICATIONS = ("USER_AUTH", "USER_LOGIN", "ANOM_LOGIN_FAILURES", "USER_ERR")
_ACCOUNT_TYPES = frozenset(
    {
        *("ADD_USER", "DEL_USER", "ADD_GROUP", "DEL_GROUP", "USER_MGMT", "GRP_MGMT", "USER_CHAUTHTOK", "GRP_CHAUTHTOK"),
        *("ACCT_LOCK", "ACCT_UNLOCK", "USER_ACCT_LOCK", "CHGRP_ID", "CHUSER_ID"),
    }
)

_SYSMON_EVENTS: dict[int, tuple[Category, str]] = {
    1: ("process_start", "process_creation"),
    2: ("file_attribute", "file_change"),
    3: ("network_connection", "network_connection"),
    4: ("log_record", "sysmon_status"),
    5: ("process_exit", "process_termination"),
    9: ("log_record", "raw_access_thread"),
    10: ("log_record", "process_access"),
    11: ("file_create", "file_event"),
    16: ("log_record", "sysmon_status"),
    22: ("dns_query", "dns_query"),
    23: ("file_delete", "file_delete"),
    26: ("file_delete", "file_delete"),
    255: ("log_record", "sysmon_error"),
}

_SERVICES = {
    **dict.fromkeys(("sshd", "sshd-session"), "sshd"),
    **dict.fromkeys(("cron", "CRON", "crond", "CROND", "crontab", "anacron", "atd", "fcron"), "cron"),
    **dict.fromkeys(("clamd", "clamav", "clamscan", "freshclam", "clamonacc"), "clamav"),
    **dict.fromkeys(("guacd", "guacamole"), "guacamole"),
    **dict.fromkeys(("apache", "apache2", "httpd"), "apache"),
    **{name: name for name in ("sudo", "su", "login", "vsftpd", "nginx", "modsecurity", "kernel")},
    **dict.fromkeys(
        (
            *("useradd", "usermod", "userdel", "groupadd", "groupmod", "groupdel", "gpasswd", "passwd", "chpasswd"),
            *(
                "chage",
                "chfn",
                "chsh",
                "newgrp",
                "runuser",
                "unix_chkpwd",
                "pkexec",
                "polkitd",
                "polkit-agent-helper-1",
            ),
            *(
                "wtmp",
                "btmp",
                "systemd-logind",
                "dropbear",
                "gdm-password",
                "gdm",
                "lightdm",
                "sddm",
                "doas",
                "adduser",
                "deluser",
            ),
        ),
        "auth",
    ),
}
_HAPPENED: dict[str, Category] = {
    "accepted": "auth_success",
    "failed": "auth_failure",
    "invalid_user": "auth_failure",
    "refused": "auth_failure",
    "switched": "privilege_change",
    "account_changed": "account_change",
    "crontab": "persistence_change",
}
_AUTHENTICATION: dict[Category, str] = {"auth_success": "authentication", "auth_failure": "authentication"}
_PROVEN: frozenset[Category] = frozenset(("auth_success", "auth_failure", "privilege_change"))
"""The events in which somebody proved, or failed to prove, who they are."""
_PROGRAMS = {"sshd-session": "sshd", "sshd-auth": "sshd"}


def interpret(record: LogRecord) -> Interpretation:
    """Return what `record`, of a Linux log, means."""
    if record.provider == _AUDITD:
        return _audited(_Fields(record.fields), record.gaps)
    if record.provider == _SYSMON:
        return _sysmon(_Fields(record.fields), record.code)
    return _daemon(_Fields(record.fields), record)


class _Fields:
    """A record's fields, of which any may hold anything."""

    def __init__(self, fields: dict[str, LogValue]) -> None:
        self._fields = fields

    def all(self, name: str) -> tuple[str, ...]:
        """Return the values of a field as text, none where there is no such field."""
        value = self._fields.get(name)
        if isinstance(value, tuple):
            return tuple(str(each) for each in value)
        return () if value is None else (str(value),)

    def text(self, name: str) -> str:
        """Return a field's only value as text, `""` for what logs write where there is nothing to say."""
        values = self.all(name)
        return values[0] if len(values) == 1 and values[0] not in _NOTHING else ""

    def first(self, name: str) -> str:
        """Return a field's first value."""
        values = self.all(name)
        return values[0] if values and values[0] not in _NOTHING else ""

    def number(self, name: str) -> int | None:
        """Return a field that is an id; None where it is missing, unset (-1) or anything else."""
        text = self.first(name)
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            return None
        found = int(text)
        return None if found == _UNSET else found

    def arguments(self) -> tuple[str, ...]:
        """Return a0, a1, …"""
        found: list[str] = []
        while f"a{len(found)}" in self._fields:
            found.append(str(self._fields[f"a{len(found)}"]))
        return tuple(found)


def _audited(fields: _Fields, gaps: tuple[str, ...]) -> Interpretation:
    types = fields.all("type")
    session = fields.number("ses")
    if "SYSCALL" in types or "EXECVE" in types:
        called = _called(fields, types, gaps)
    else:
        called = _noted(fields, types[0] if types else "")
    return called._replace(service=_AUDITD, session=f"audit:{session}" if session is not None else "")


def _called(fields: _Fields, types: tuple[str, ...], gaps: tuple[str, ...]) -> Interpretation:
    """Interpret what a process asked of the kernel."""
    call, done = fields.first("SYSCALL"), fields.first("success") != "no"
    user, process = _caller(fields), _calling(fields)
    base = Interpretation(process=process, user=user)
    if "EXECVE" in types or (call in _EXECS and done):
        truncated = any("arguments" in gap for gap in gaps)
        executed = base._replace(process=_executed(fields, process, truncated), sigma_category="process_creation")
        return executed._replace(category="process_start") if "SYSCALL" in types else executed
    if (done or fields.first("exit") in _IN_PROGRESS) and (network := _connection(fields, call)):
        return base._replace(category="network_connection", sigma_category="network_connection", network=network)
    if not done:
        return base
    if call in _MODULE_CALLS or "KERN_MODULE" in types:
        return base._replace(category="module_load")
    return _file_operation(base, fields, call)


def _file_operation(base: Interpretation, fields: _Fields, call: str) -> Interpretation:
    """Interpret what was done to a file: of one that was created or deleted, the path stands last."""
    names, kinds = fields.all("name"), fields.all("nametype")
    if not names:
        return base
    file = File(names[-1])
    if "CREATE" in kinds:
        return base._replace(category="file_create", sigma_category="file_event", file=file)
    if "DELETE" in kinds:
        return base._replace(category="file_delete", sigma_category="file_delete", file=file)
    if call in _ATTRIBUTE_CALLS:
        return base._replace(category="file_attribute", sigma_category="file_change", file=file)
    return base


def _caller(fields: _Fields) -> User:
    return User(
        id=fields.number("uid"),
        name=fields.first("UID"),
        effective_id=fields.number("euid"),
        effective_name=fields.first("EUID"),
        group_id=fields.number("gid"),
        effective_group_id=fields.number("egid"),
        audit_id=fields.number("auid"),
        audit_name=_named(fields.first("AUID")),
        audit_session=fields.number("ses"),
    )


def _calling(fields: _Fields) -> Process:
    exe = fields.first("exe")
    memfd = exe.startswith("/memfd:")
    return Process(
        pid=fields.number("pid") or 0,
        ppid=fields.number("ppid") or 0,
        name=fields.first("comm"),
        exe=exe.removesuffix(_DELETED),
        cwd=fields.first("cwd"),
        tty=fields.first("tty"),
        exe_memfd=memfd,
        exe_deleted=exe.endswith(_DELETED) and not memfd,
    )


def _executed(fields: _Fields, process: Process, truncated: bool) -> Process:
    args = fields.arguments() if "EXECVE" in fields.all("type") else ()
    title = fields.first("proctitle")
    names = fields.all("name")
    return Process(
        pid=process.pid,
        ppid=process.ppid,
        name=process.name,
        exe=process.exe,
        invoked=names[0] if names else "",
        args=args,
        cmdline=" ".join(args) if args else title,
        args_length=sum(len(encode(arg)) + 1 for arg in args) or len(encode(title)),
        truncated=truncated,
        cwd=process.cwd,
        tty=process.tty,
        exe_memfd=process.exe_memfd,
        exe_deleted=process.exe_deleted,
    )


def _connection(fields: _Fields, call: str) -> Network | None:
    """Return the connection that connect(2) opened or accept(2) took; None for sockets that aren't of the network."""
    address, port = fields.first("laddr"), fields.number("lport") or 0
    if not address or not fields.first("saddr_fam").startswith("inet"):
        return None
    if call == "connect" and port:
        return Network(destination_ip=address, destination_port=port, initiated=True)
    if call in ("accept", "accept4"):
        return Network(source_ip=address, source_port=port, initiated=False)
    return None


def _noted(fields: _Fields, kind: str) -> Interpretation:
    """Interpret what a program, or the kernel without a system call, put into the audit log."""
    account = fields.first("acct") or fields.first("id")
    address, exe = fields.first("addr"), fields.first("exe")
    audit_id, session = fields.number("auid"), fields.number("ses")
    audit_name = _named(fields.first("AUID"))
    pid = fields.number("pid")
    category = _noted_category(kind, fields.first("res") or fields.first("success"))
    return Interpretation(
        category=category,
        sigma_category=_AUTHENTICATION.get(category, ""),
        process=None
        if pid is None
        else Process(
            pid=pid,
            ppid=fields.number("ppid") or 0,
            name=fields.first("comm") or basename(exe),
            exe=exe,
            cwd=fields.first("cwd"),
            tty=fields.first("terminal"),
        ),
        user=User(name=account, audit_id=audit_id, audit_name=audit_name, audit_session=session)
        if account
        else _caller(fields),
        network=Network(source_ip=address, source_host=fields.first("hostname")) if address else None,
        auth=_noted_auth(fields, basename(exe), audit_name) if category in _PROVEN else None,
    )


def _noted_auth(fields: _Fields, service: str, by_user: str) -> Auth:
    return Auth(
        service=_PROGRAMS.get(service, service),
        method=fields.first("op"),
        by_user=by_user,
        tty=fields.first("terminal"),
        command=fields.first("cmd"),
    )


def _noted_category(kind: str, result: str) -> Category:
    failed = result in ("failed", "fail", "no", "0")
    if kind in _AUTHENTICATIONS:
        return "auth_failure" if failed or kind in ("ANOM_LOGIN_FAILURES", "USER_ERR") else "auth_success"
    if kind == "USER_ACCT" and failed:
        return "auth_failure"
    if kind == "USER_CMD":
        return "auth_failure" if failed else "privilege_change"
    if kind in _ACCOUNT_TYPES:
        return "account_change"
    return "module_load" if kind == "KERN_MODULE" else "log_record"


def _named(name: str) -> str:
    return "" if name == "unset" else name


def _sysmon(fields: _Fields, code: str) -> Interpretation:
    number = int(code) if code.isascii() and code.isdigit() and len(code) < 6 else 0
    category, sigma_category = _SYSMON_EVENTS.get(number, ("log_record", ""))
    part = _SYSMON_PARTS.get(number)
    name = fields.first("User")
    told = Interpretation(
        category=category,
        service="sysmon",
        sigma_category=sigma_category,
        process=_sysmon_process(fields),
        parent=_sysmon_parent(fields) if number == 1 else None,
        parent_user=fields.first("ParentUser"),
        user=User(name=name) if name else None,
    )
    return part(told, fields) if part else told


def _sysmon_process(fields: _Fields) -> Process | None:
    pid = fields.number("ProcessId")
    if pid is None:
        return None
    cmdline, exe = fields.first("CommandLine"), fields.first("Image")
    return Process(
        pid=pid,
        ppid=fields.number("ParentProcessId") or 0,
        entity_id=fields.first("ProcessGuid").strip("{}"),
        name=basename(exe),
        exe=exe,
        cmdline=cmdline,
        args_length=len(encode(cmdline)) + 1 if cmdline else 0,
        cwd=fields.first("CurrentDirectory"),
        session=fields.number("TerminalSessionId") or 0,
        hashes=_hashes(fields.first("Hashes")),
        integrity=fields.first("IntegrityLevel"),
        logon_id=fields.first("LogonId"),
    )


def _sysmon_parent(fields: _Fields) -> Process | None:
    pid, exe = fields.number("ParentProcessId"), fields.first("ParentImage")
    if not pid and not exe:
        return None
    return Process(
        pid=pid or 0,
        entity_id=fields.first("ParentProcessGuid").strip("{}"),
        name=basename(exe),
        exe=exe,
        cmdline=fields.first("ParentCommandLine"),
    )


def _with_network(told: Interpretation, fields: _Fields) -> Interpretation:
    initiated = {"true": True, "false": False}.get(fields.first("Initiated").lower())
    network = Network(
        transport=fields.first("Protocol").lower(),
        source_ip=fields.first("SourceIp"),
        source_port=fields.number("SourcePort") or 0,
        source_host=fields.first("SourceHostname"),
        destination_ip=fields.first("DestinationIp"),
        destination_port=fields.number("DestinationPort") or 0,
        destination_host=fields.first("DestinationHostname"),
        initiated=initiated,
    )
    return told._replace(network=network)


def _with_file(told: Interpretation, fields: _Fields) -> Interpretation:
    path = fields.first("TargetFilename")
    if not path:
        return told
    # Of a deleted file, Hashes are its own and not the process's.
    own = told.category == "file_delete"
    return told._replace(file=File(path, hashes=_hashes(fields.first("Hashes")) if own else {}))


def _with_query(told: Interpretation, fields: _Fields) -> Interpretation:
    query = fields.first("QueryName")
    answers = tuple(answer for answer in fields.first("QueryResults").split(";") if answer)
    return told._replace(dns=Dns(query, answers, fields.first("QueryStatus"))) if query else told


_SYSMON_PARTS: dict[int, Callable[[Interpretation, _Fields], Interpretation]] = {
    2: _with_file,
    3: _with_network,
    11: _with_file,
    22: _with_query,
    23: _with_file,
    26: _with_file,
}


def _hashes(text: str) -> dict[str, str]:
    """Return `SHA256=…,MD5=…` by the algorithms' lower-case names."""
    pairs = (part.partition("=") for part in text.split(","))
    return {name.lower(): value.lower() for name, equals, value in pairs if equals}


def _daemon(fields: _Fields, record: LogRecord) -> Interpretation:
    """Interpret a line of a text log."""
    program = record.provider
    happened = fields.first("event")
    category = _HAPPENED.get(happened, "log_record")
    if happened == "command" and program in ("sudo", "pkexec"):
        category = "privilege_change"
    service = _SERVICES.get(program) or ("syslog" if record.channel == "syslog" else "")
    if service == "syslog" and fields.first("method") == "pam":
        service = "auth"
    pid = fields.number("pid")
    name, effective = fields.text("user"), fields.text("USER")
    return Interpretation(
        category=category,
        service=service,
        sigma_category=_AUTHENTICATION.get(category, ""),
        process=Process(pid=pid, name=program, tty=fields.text("TTY")) if pid else None,
        user=User(name=name, effective_name=effective) if name or effective else None,
        network=_origin(fields),
        auth=_auth(fields, program) if category in _PROVEN else None,
    )


def _origin(fields: _Fields) -> Network | None:
    address, host = fields.text("source_ip"), fields.text("source_host")
    if not address and not host:
        return None
    return Network(source_ip=address, source_port=fields.number("source_port") or 0, source_host=host)


def _auth(fields: _Fields, program: str) -> Auth:
    # sudo and pkexec name both who asks and whom to become; su's line names who asks as `by`.
    asked_by = fields.text("by") or (fields.text("user") if fields.first("USER") else "")
    return Auth(
        service=_PROGRAMS.get(program, program),
        method=fields.text("method"),
        key_type=fields.text("key_type"),
        key_fingerprint=fields.text("key_fingerprint"),
        by_user=asked_by,
        tty=fields.text("TTY"),
        command=fields.text("COMMAND"),
        reason=fields.text("reason"),
    )
