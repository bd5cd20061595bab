"""Documents in the Elastic Common Schema, as auditbeat, filebeat, packetbeat and Elastic's endpoint write them.

Names may be nested (`{"process": {"pid": 1}}`), dotted (`{"process.pid": 1}`) or both; a search result's `_source` is
looked into. A document becomes

- a log record of auditd, in that log's own words (see auditd), where auditbeat made it of an audit event,
- a log record of the program that wrote it, where it holds a line of a text log,
- a log record of its Windows channel, where it has a `winlog` part,
- an event, where `event.category` and `event.type` say what happened (ECS, "Categorization fields"),
- else a log record with all of its fields by their dotted names.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

import msgspec

from shield.collector.replay import auditd, syslog, syslog_line, windows_event, windows_json
from shield.collector.replay.damage import Damaged, Item
from shield.collector.replay.documents import Document, documents
from shield.event import (
    Ancestor,
    Category,
    Container,
    Data,
    Dns,
    File,
    LogScalar,
    LogValue,
    Network,
    Pe,
    Platform,
    Process,
    Registry,
    User,
)
from shield.record import LogRecord, RecordedEvent

_DEPTH_MOST = 32
_INT_MOST = (1 << 63) - 1
_MARKS = re.compile(rb'"(?:ecs|event|agent|host|process|user|file|source|destination|log)(?:\.[\w.]+)?"\s*:')
_TIME = re.compile(rb'"@timestamp"\s*:')
_WINLOG = re.compile(rb'"winlog(?:\.[\w.]+)?"\s*:')
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_EXECS = ("execve", "execveat")
_FILE_ACTIONS: dict[str, Category] = {
    "rename": "file_rename",
    "renamed": "file_rename",
    "moved": "file_rename",
    "attributes_modified": "file_attribute",
    "attribute_modified": "file_attribute",
    "changed-file-permissions-of": "file_attribute",
    "changed-file-ownership-of": "file_attribute",
}
_FILE_TYPES: dict[str, Category] = {
    "creation": "file_create",
    "deletion": "file_delete",
    "change": "file_write",
}
_OTHERS: dict[str, Category] = {
    "iam": "account_change",
    "registry": "registry_change",
    "driver": "module_load",
    "library": "module_load",
}
_OUTCOMES: dict[str, Category] = {"success": "auth_success", "failure": "auth_failure"}
_INITIATED = {"egress": True, "outbound": True, "outgoing": True, "ingress": False, "inbound": False, "incoming": False}
_HASHES = ("md5", "sha1", "sha256", "sha512")


class _Fields(dict[str, Any]):
    """A document's leaves by their dotted names; lists are leaves."""

    def text(self, *names: str) -> str:
        """Return the first of `names` that there is, as text."""
        for name in names:
            value = self.get(name)
            if isinstance(value, list) and value:
                value = cast("list[object]", value)[0]
            if isinstance(value, str | int | float) and value != "":
                return str(value)
        return ""

    def number(self, *names: str) -> int | None:
        """Return the first of `names` that there is and that is a whole number, or text that writes one."""
        for name in names:
            value = self.get(name)
            if isinstance(value, str) and _NUMBER.fullmatch(value):
                value = int(value)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _INT_MOST:
                return value
        return None

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, of which one may stand alone."""
        value = self.get(name)
        values = cast("list[object]", value) if isinstance(value, list) else [value]
        return tuple(str(each) for each in values if isinstance(each, str | int | float))

    def objects(self, name: str) -> "list[dict[str, object]]":
        """Return a list of objects."""
        value = self.get(name)
        values = cast("list[object]", value) if isinstance(value, list) else []
        return [cast("dict[str, object]", each) for each in values if isinstance(each, dict)]

    def below(self, prefix: str) -> "_Fields":
        """Return what stands under `prefix`, by its name there."""
        return _Fields({name[len(prefix) :]: value for name, value in self.items() if name.startswith(prefix)})


def matches(head: bytes) -> bool:
    """Return whether a file that begins with `head` holds ECS documents that are none of winlogbeat's."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n[")
    return bool(start[:1] == b"{" and _TIME.search(head) and _MARKS.search(head) and not _WINLOG.search(head))


def read(file: BinaryIO, source: str) -> Iterator[tuple[bytes, Item]]:
    """Yield each document in `file`, as it is, with its event or record, or what is wrong with it.

    `source` is the file's name, for errors.
    """
    for document in documents(file):
        yield document.text, _item(document, source)


def _item(document: Document, source: str) -> Item:
    if document.problem:
        return Damaged(source, document.line, document.problem)
    try:
        decoded = cast("dict[str, object]", msgspec.json.decode(document.text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Damaged(source, document.line, str(error) or type(error).__name__)
    fields = _Fields()
    inner = decoded.get("_source")
    _flatten(cast("dict[str, object]", inner) if isinstance(inner, dict) else decoded, "", fields, 0)
    if any(name.startswith("winlog.") for name in fields):
        return windows_json.record(document, source)
    return _told(fields)


def _told(fields: _Fields) -> RecordedEvent | LogRecord:
    ts_ns, gaps = windows_event.moment(fields.get("@timestamp", fields.get("event.created")), ())
    if audit := fields.below("auditd."):
        return _auditd(fields, audit, ts_ns, gaps)
    category = _category(fields)
    if category == "log_record" or not _tells(fields):
        return _log(fields, ts_ns, gaps)
    return RecordedEvent(
        category=category,
        data=_data(fields),
        ts_ns=ts_ns,
        host=_host(fields),
        os=_platform(fields),
        gaps=gaps,
    )


def _flatten(node: dict[str, object], prefix: str, into: _Fields, depth: int) -> None:
    for name, value in node.items():
        if isinstance(value, dict) and depth < _DEPTH_MOST:
            _flatten(cast("dict[str, object]", value), f"{prefix}{name}.", into, depth + 1)
        elif value is not None:
            into[prefix + name] = value


def _host(fields: _Fields) -> str:
    return fields.text("host.name", "host.hostname", "agent.hostname", "beat.hostname")


def _platform(fields: _Fields) -> Platform | None:
    name = fields.text("host.os.type", "host.os.family", "host.os.platform", "host.os.kernel").lower()
    if not name:
        return None
    return "windows" if name.startswith("win") else "linux"


def _category(fields: _Fields) -> Category:
    """Return what happened, by the schema's categories and types; `log_record` for all that Shield has no name for."""
    kinds, types, action = fields.texts("event.category"), fields.texts("event.type"), fields.text("event.action")
    if "process" in kinds:
        return _process_category(types, action)
    if "file" in kinds:
        return _first((_FILE_ACTIONS.get(action), *map(_FILE_TYPES.get, types)))
    if "dns.question.name" in fields:
        return "dns_query"
    if "network" in kinds:
        return "log_record" if "end" in types or "destination.ip" not in fields else "network_connection"
    if "authentication" in kinds and "end" not in types:
        return _first((_OUTCOMES.get(fields.text("event.outcome")),))
    return _first(map(_OTHERS.get, kinds))


def _first(categories: Iterable[Category | None]) -> Category:
    for category in categories:
        if category is not None:
            return category
    return "log_record"


def _process_category(types: tuple[str, ...], action: str) -> Category:
    if "end" in types:
        return "process_exit"
    # A fork runs its parent's image still: a start is what execs.
    return "process_start" if "start" in types and action != "fork" else "log_record"


def _tells(fields: _Fields) -> bool:
    """Return whether a document is about something that happened on the host, not a line of somebody's log."""
    return not ("message" in fields and ("log.file.path" in fields or "log.syslog.priority" in fields))


def _data(fields: _Fields) -> Data:
    process = _process(fields)
    path = fields.text("file.path", "dll.path", "file.name")
    container = fields.text("container.id")
    return Data(
        process=process,
        parent=_parent(fields) if process else None,
        user=_user(fields),
        container=Container(container) if container else None,
        file=_file(fields, path) if path else None,
        network=_network(fields),
        dns=_dns(fields),
        registry=_registry(fields),
    )


def _process(fields: _Fields) -> Process | None:
    pid, exe = fields.number("process.pid"), fields.text("process.executable")
    if pid is None and not exe:
        return None
    args = fields.texts("process.args")
    cmdline = fields.text("process.command_line") or " ".join(args)
    return Process(
        pid=pid or 0,
        ppid=fields.number("process.parent.pid", "process.ppid") or 0,
        entity_id=fields.text("process.entity_id"),
        name=fields.text("process.name"),
        exe=exe,
        args=args,
        cmdline=cmdline,
        args_length=len(cmdline.encode("utf-8", "replace")) + 1 if cmdline else 0,
        cwd=fields.text("process.working_directory"),
        start_ns=windows_event.moment(fields.get("process.start"), ())[0],
        env=_environment(fields),
        hashes=_hashes(fields, "process.hash."),
        pe=_pe(fields),
        exit_code=fields.number("process.exit_code"),
    )


def _environment(fields: _Fields) -> dict[str, str]:
    pairs = (text.partition("=") for text in fields.texts("process.env_vars"))
    named = {name: value for name, equals, value in pairs if equals}
    return named or {name: str(value) for name, value in fields.below("process.env_vars.").items()}


def _hashes(fields: _Fields, prefix: str) -> dict[str, str]:
    return {name: found for name in _HASHES if (found := fields.text(prefix + name))}


def _pe(fields: _Fields) -> Pe | None:
    part = fields.below("process.pe.")
    return (
        Pe(
            original_file_name=part.text("original_file_name"),
            description=part.text("description"),
            product=part.text("product"),
            company=part.text("company"),
            file_version=part.text("file_version"),
        )
        if part
        else None
    )


def _parent(fields: _Fields) -> Ancestor | None:
    pid, exe = fields.number("process.parent.pid"), fields.text("process.parent.executable")
    if not exe and not fields.text("process.parent.name", "process.parent.command_line"):
        return None
    return Ancestor(
        pid=pid or 0,
        entity_id=fields.text("process.parent.entity_id"),
        name=fields.text("process.parent.name"),
        exe=exe,
        cmdline=fields.text("process.parent.command_line") or " ".join(fields.texts("process.parent.args")),
    )


def _user(fields: _Fields) -> User | None:
    user = User(
        id=fields.number("user.id"),
        name=fields.text("user.name"),
        effective_id=fields.number("user.effective.id"),
        effective_name=fields.text("user.effective.name"),
        group_id=fields.number("user.group.id", "group.id"),
        audit_id=fields.number("user.audit.id"),
        audit_name=fields.text("user.audit.name"),
    )
    return None if user == User() else user


def _file(fields: _Fields, path: str) -> File:
    return File(
        path=path,
        old_path=fields.text("file.Ext.original.path", "file.origin_path"),
        hashes=_hashes(fields, "file.hash.") or _hashes(fields, "dll.hash."),
        size=fields.number("file.size"),
    )


def _network(fields: _Fields) -> Network | None:
    network = Network(
        transport=fields.text("network.transport").lower(),
        source_ip=fields.text("source.ip", "client.ip"),
        source_port=fields.number("source.port", "client.port") or 0,
        source_host=fields.text("source.domain", "source.address"),
        destination_ip=fields.text("destination.ip", "server.ip"),
        destination_port=fields.number("destination.port", "server.port") or 0,
        destination_host=fields.text("destination.domain"),
        initiated=_INITIATED.get(fields.text("network.direction").lower()),
    )
    return network if network.source_ip or network.destination_ip or network.destination_host else None


def _dns(fields: _Fields) -> Dns | None:
    query = fields.text("dns.question.name")
    if not query:
        return None
    answers = tuple(str(answer["data"]) for answer in fields.objects("dns.answers") if "data" in answer)
    return Dns(query, answers or fields.texts("dns.resolved_ip"), fields.text("dns.response_code"))


def _registry(fields: _Fields) -> Registry | None:
    path = fields.text("registry.path")
    return Registry(path, " ".join(fields.texts("registry.data.strings"))) if path else None


def _log(fields: _Fields, ts_ns: int, gaps: tuple[str, ...]) -> LogRecord:
    message = fields.text("message", "event.original")
    name = fields.text("process.name", "log.syslog.appname", "event.provider", "event.module", "event.dataset")
    pid = fields.number("process.pid", "log.syslog.procid")
    if _platform(fields) != "windows" and message:
        if name and ("process.name" in fields or "log.syslog.appname" in fields):
            line = syslog_line.Line(ts_ns, _host(fields), name, pid or 0, message)
        else:
            line = _text_line(message, ts_ns, _host(fields))
        if line:
            found = syslog.record(line)
            return msgspec.structs.replace(found, fields={**_values(fields), **found.fields}, gaps=gaps)
    return LogRecord(
        os=_platform(fields) or "linux",
        ts_ns=ts_ns,
        host=_host(fields),
        provider=name,
        channel=fields.text("event.dataset", "log.file.path"),
        code=fields.text("event.code"),
        message=message,
        fields=_values(fields),
        gaps=gaps,
    )


def _text_line(message: str, ts_ns: int, host: str) -> syslog_line.Line | None:
    """Return the parts of a text log's line that filebeat forwarded as it was; the document knows its time better."""
    line = syslog_line.split(message.encode("utf-8", "replace"), syslog_line.Calendar(1970, 0))
    return line._replace(ts_ns=ts_ns or line.ts_ns, host=line.host or host) if line else None


def _values(fields: _Fields) -> dict[str, LogValue]:
    """Return the leaves that are text or numbers, or lists of such."""
    values: dict[str, LogValue] = {}
    for name, value in fields.items():
        if isinstance(value, list):
            scalars = tuple(each for each in cast("list[object]", value) if isinstance(each, str | int | float))
            if scalars:
                values[name] = scalars
        elif isinstance(value, str | int | float):
            values[name] = value
    return values


def _auditd(fields: _Fields, audit: _Fields, ts_ns: int, gaps: tuple[str, ...]) -> LogRecord:
    """Return an audit event as auditd writes it, from what auditbeat made of it."""
    data = _values(audit.below("data."))
    kind = audit.text("message_type").upper()
    call = audit.text("data.syscall")
    args = fields.texts("process.args") if call in _EXECS else ()
    kinds = [kind] if kind else []
    values: dict[str, LogValue] = {name: value for name, value in data.items() if not args or name not in _CALL_ARGS}
    if call:
        kinds = ["SYSCALL"]
        values["SYSCALL"] = call
    if args:
        kinds.append("EXECVE")
        values["argc"] = len(args)
        values.update((f"a{number}", arg) for number, arg in enumerate(args))
    for name, found in _own_words(fields, audit).items():
        values.setdefault(name, found)
    if paths := audit.objects("paths"):
        kinds.append("PATH")
        for name in ("name", "nametype", "inode", "mode", "ouid", "ogid", "dev"):
            _set_all(values, name, [path.get(name) for path in paths])
    values["type"] = kinds[0] if len(kinds) == 1 else tuple(kinds)
    return LogRecord(
        os="linux",
        ts_ns=ts_ns,
        host=_host(fields),
        provider=auditd.PROVIDER,
        channel="audit",
        code="SYSCALL" if call else kind,
        record_id=audit.number("sequence") or 0,
        fields=values,
        gaps=gaps,
    )


_CALL_ARGS = ("a0", "a1", "a2", "a3")


def _own_words(fields: _Fields, audit: _Fields) -> dict[str, LogValue]:
    """Return what the schema has names for, by auditd's."""
    texts = {
        "exe": fields.text("process.executable"),
        "comm": fields.text("process.name"),
        "cwd": fields.text("process.working_directory"),
        "proctitle": fields.text("process.title"),
        "acct": fields.text("user.name") if "data.syscall" not in audit else "",
        "addr": fields.text("source.ip"),
        "UID": fields.text("user.name"),
        "EUID": fields.text("user.effective.name"),
        "AUID": fields.text("user.audit.name", "user.name_map.auid"),
        "success": {"success": "yes", "fail": "no"}.get(audit.text("result"), ""),
        "res": audit.text("result") if "data.syscall" not in audit else "",
        "unit": fields.text("service.name") if "data.syscall" not in audit else "",
    }
    numbers = {
        "pid": fields.number("process.pid"),
        "ppid": fields.number("process.parent.pid", "process.ppid"),
        "uid": fields.number("user.id", "user.uid"),
        "euid": fields.number("user.effective.id", "user.euid"),
        "gid": fields.number("user.group.id", "user.gid"),
        "auid": fields.number("user.audit.id", "user.auid"),
        "ses": audit.number("session"),
    }
    words: dict[str, LogValue] = {name: text for name, text in texts.items() if text}
    words |= {name: number for name, number in numbers.items() if number is not None}
    if keys := fields.texts("tags"):
        words["key"] = keys[0] if len(keys) == 1 else keys
    return words


def _set_all(values: dict[str, LogValue], name: str, found: list[object]) -> None:
    scalars: dict[LogScalar, None] = dict.fromkeys(each for each in found if isinstance(each, str | int | float))
    if scalars:
        values[name] = next(iter(scalars)) if len(scalars) == 1 else tuple(scalars)
