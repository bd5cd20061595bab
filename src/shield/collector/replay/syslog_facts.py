"""What the lines of sshd, sudo, su, cron, PAM and the account tools say, as fields.

Much in these lines is the choice of whoever tries to get in: a user name may hold spaces and ` from 192.0.2.1 port 22`,
a directory ` ; USER=root ; COMMAND=/bin/true`. So every pattern is anchored at both ends the way the program writes
the line, with free text in one place only. Where a line can be read in more than one way, sudo's fields have each
reading (a tuple), and sshd's user and address are left out.

Common fields are `event` (what happened: accepted, failed, invalid_user, session_opened, session_closed, command,
refused, switched, account_changed, crontab), `user`, `source_ip`, `source_port`, `source_host` and `method`; `by` is
who did it to `user`, `key_type` and `key_fingerprint` are a key's. sudo's own are USER, COMMAND, PWD, TTY, GROUP.
"""

import re
from collections.abc import Callable, Iterator

from shield.event import LogValue

Facts = dict[str, LogValue]

_READINGS_MOST = 16
_LONGEST, _SUDO_LONGEST = 1 << 14, 1 << 18
"""Longer messages, in characters, are no line of these programs; sudo's hold a whole command."""

_ADDRESS = r"(?P<source_ip>[0-9A-Fa-f:.]{2,45}(?:%[\w.-]{1,16})?|UNKNOWN|[\w.-]{1,255})"
_PORT = r"port (?P<source_port>\d{1,5})"
_DONE = re.compile(
    r"(?P<event>Accepted|Failed|Postponed|Partial) (?P<method>[\w/.-]{1,64}) for (?:invalid user |illegal user )?"
    rf"(?P<user>.*) from {_ADDRESS} {_PORT}(?: ssh2?)?(?P<key>: .*)?(?: \[preauth\])?",
    re.ASCII | re.DOTALL,
)
_KEY = re.compile(
    r": (?P<key_type>[A-Z0-9-]{2,32}) (?P<key_fingerprint>SHA256:[A-Za-z0-9+/]{43}|MD5(?::[0-9a-f]{2}){16})(?![^ ,])"
)
_ORIGIN = re.compile(r" from \S+ port \d{1,5}(?![^ :])", re.ASCII)
_INVALID = re.compile(
    rf"(?:Invalid|Illegal) user (?P<user>.*) from {_ADDRESS}(?: {_PORT})?(?: \[preauth\])?", re.ASCII | re.DOTALL
)
_EXCEEDED = re.compile(
    rf"(?:error: )?maximum authentication attempts exceeded for (?:invalid user )?(?P<user>.*) from {_ADDRESS} {_PORT}"
    r"(?: ssh2?)?(?: \[preauth\])?",
    re.ASCII | re.DOTALL,
)
_NOT_ALLOWED = re.compile(rf"User (?P<user>.*) from {_ADDRESS} not allowed because .*", re.ASCII | re.DOTALL)
_PAM = re.compile(r"pam_\w{1,32}\((?P<service>[\w.@-]{1,64}):(?P<type>\w{1,16})\): (?P<text>.*)", re.ASCII | re.DOTALL)
_PAM_FAILURE = re.compile(
    r"authentication failure; logname=.*? uid=\d{1,10} euid=\d{1,10} tty=.*? ruser=(?P<by>.*?) "
    r"rhost=(?P<source_ip>[\w.:%-]{0,255})(?:  user=(?P<user>.*))?",
    re.ASCII | re.DOTALL,
)
_PAM_SESSION = re.compile(
    r"session (?P<state>opened|closed) for user (?P<user>.*?)(?:\(uid=\d{1,10}\))?"
    r"(?: by (?P<by>.*?)\(uid=\d{1,10}\))?",
    re.ASCII | re.DOTALL,
)
_PAM_PASSWORD = re.compile(r"password changed for (?P<user>.*)", re.DOTALL)
_SUDO_USER = re.compile(r" *(?P<user>[^:;=]{1,256}) : (?P<rest>.*)", re.DOTALL)
_SUDO_REASON = re.compile(r"(?P<reason>[^=;]{1,256}) ; (?=TTY=|PWD=|USER=|HOST=)", re.ASCII)
_SUDO_TTY = re.compile(r"(?:HOST=\S{1,255} ; )?TTY=(\S{1,128}) ; ", re.ASCII)
_SUDO_CHROOT = re.compile(r"CHROOT=\S{1,4096} ; ", re.ASCII)
_SUDO_PWD, _SUDO_AS, _SUDO_COMMAND = "PWD=", " ; USER=", " ; COMMAND="
_SUDO_GROUP = re.compile(r" ; GROUP=(\S{1,256})", re.ASCII)
_SU = (
    re.compile(r"(?P<failed>FAILED SU )?\(to (?P<user>[^)]{1,256})\) (?P<by>.{0,256}) on (?P<TTY>\S{1,128})", re.ASCII),
    re.compile(r"(?P<verb>Successful|FAILED) su for (?P<user>.{1,256}) by (?P<by>.{0,256})", re.ASCII),
    re.compile(r"(?P<sign>[+-]) (?P<TTY>\S{1,128}) (?P<by>[^:]{0,256})[:-](?P<user>[^:]{1,256})", re.ASCII),
)
_LOGIN = (
    re.compile(
        r"FAILED LOGIN (?:SESSION|\(?\d{1,5}\)?) (?:FROM|on) .*? FOR '?(?P<user>.*?)'?(?:, [A-Z][^,]*)?",
        re.ASCII | re.DOTALL,
    ),
    re.compile(
        r"(?P<root>ROOT )?LOGIN ON (?P<TTY>\S{1,128})(?: BY (?P<user>\S{1,256}))?(?: FROM (?P<source_host>\S{1,256}))?",
        re.ASCII,
    ),
)
_CRON = re.compile(
    r"\((?P<user>[^()]{1,256})\) (?P<action>[A-Z][A-Za-z ]{1,40}?) \((?P<detail>.*)\)", re.ASCII | re.DOTALL
)
_NEW_USER = re.compile(
    r"new user: name=(?P<user>.*), UID=(?P<UID>\d{1,10}), GID=(?P<GID>\d{1,10}), home=(?P<home>.*), "
    r"shell=(?P<shell>.*?)(?:, from=(?P<TTY>\S{1,128}))?",
    re.ASCII | re.DOTALL,
)
_ACCOUNT = (
    re.compile(r"new group: name=(?P<group>.*), GID=(?P<GID>\d{1,10})", re.ASCII | re.DOTALL),
    re.compile(r"group added to \S+: name=(?P<group>.*?)(?:, GID=(?P<GID>\d{1,10}))?", re.ASCII | re.DOTALL),
    re.compile(r"(?:add|delete) '(?P<user>[^']*)' (?:to|from) (?:shadow )?group '(?P<group>[^']*)'", re.ASCII),
    re.compile(r"(?:change|lock|unlock|delete) user '(?P<user>[^']*)'(?: .*)?", re.ASCII | re.DOTALL),
    re.compile(r"removed (?:shadow )?group '(?P<group>[^']*)'(?: .*)?", re.ASCII | re.DOTALL),
    re.compile(r"user (?P<user>.*) (?:added|removed) by (?P<by>.*) (?:to|from) group (?P<group>\S{1,256})", re.ASCII),
    re.compile(r"members of group (?P<group>.*) set by (?P<by>\S{1,256}) to .*", re.ASCII | re.DOTALL),
    re.compile(r"changed (?:password expiry for|user) (?P<user>\S{1,256})(?: information)?", re.ASCII),
    re.compile(r"password for (?P<user>.*) changed by (?P<by>.*)", re.ASCII | re.DOTALL),
)
_PKEXEC = re.compile(
    r"(?P<user>[^:]{1,256}): (?P<refused>Error executing command as another user: .* )?(?:Executing command )?"
    r"\[USER=(?P<USER>[^\]]{1,256})\] \[TTY=(?P<TTY>[^\]]{1,128})\] \[CWD=(?P<PWD>.*)\] \[COMMAND=(?P<COMMAND>.*)\]",
    re.ASCII | re.DOTALL,
)
_REPEATED = re.compile(r"message repeated (\d{1,9}) times: \[ ?(.*)\]", re.ASCII | re.DOTALL)
_ACCOUNT_TOOLS = ("useradd", "usermod", "userdel", "groupadd", "groupmod", "groupdel", "gpasswd", "passwd", "chpasswd")
_OUTCOMES = {"Accepted": "accepted", "Failed": "failed"}


def facts(program: str, message: str) -> Facts:
    """Return what `message` of `program` says; nothing where it is not one of the known sentences."""
    if len(message) > (_SUDO_LONGEST if program == "sudo" else _LONGEST):
        return {}
    repeated = _REPEATED.fullmatch(message)
    if repeated:
        return {**facts(program, repeated[2]), "repeated": int(repeated[1])}
    read = _PROGRAMS.get(program)
    found = read(message) if read else {}
    return found or _pam(message)


def _sshd(message: str) -> Facts:
    if found := _DONE.fullmatch(message):
        event = _OUTCOMES.get(found["event"], "")
        facts = _kept({"event": event, "method": found["method"]})
        # Behind the key's fingerprint may stand an identity that its owner made up.
        if found["key"] is None or len(_ORIGIN.findall(message)) == 1:
            facts.update(_origin(found))
            facts.update(_key(found["key"] or ""))
        return facts
    if found := _INVALID.fullmatch(message):
        return {"event": "invalid_user", **_origin(found)}
    if found := _EXCEEDED.fullmatch(message) or _NOT_ALLOWED.fullmatch(message):
        return {"event": "refused", **_origin(found)}
    return {}


def _key(text: str) -> Facts:
    found = _KEY.match(text)
    return _kept(found.groupdict()) if found else {}


def _origin(found: re.Match[str]) -> Facts:
    parts = found.groupdict()
    facts = _kept({"user": parts["user"], "source_ip": parts["source_ip"]})
    if parts.get("source_port"):
        facts["source_port"] = int(parts["source_port"])
    return facts


def _pam(message: str) -> Facts:
    found = _PAM.fullmatch(message)
    if found is None:
        return {}
    text = found["text"]
    if text.startswith("authentication failure;"):
        failure = _PAM_FAILURE.fullmatch(text) if text.count(" rhost=") == 1 else None
        return _kept({"event": "failed", "method": "pam", **(failure.groupdict() if failure else {})})
    if session := _PAM_SESSION.fullmatch(text):
        return _kept({"event": f"session_{session['state']}", "user": session["user"], "by": session["by"]})
    if changed := _PAM_PASSWORD.fullmatch(text):
        return {"event": "account_changed", "user": changed["user"]}
    return {}


def _sudo(message: str) -> Facts:
    """Read `user : [reason ; ][TTY=… ; ]PWD=… ; USER=… ; […]COMMAND=…` (sudoers(5), "Log format")."""
    found = _SUDO_USER.fullmatch(message)
    if found is None:
        return {}
    rest = found["rest"]
    facts: Facts = {"user": found["user"]}
    if reason := _SUDO_REASON.match(rest):
        facts["reason"] = reason["reason"]
        rest = rest[reason.end() :]
    if tty := _SUDO_TTY.match(rest):
        facts["TTY"] = tty[1]
        rest = rest[tty.end() :]
    if chroot := _SUDO_CHROOT.match(rest):
        rest = rest[chroot.end() :]
    readings = list(_sudo_readings(rest))
    if not readings:
        return {}
    for name in ("PWD", "USER", "GROUP", "COMMAND"):
        values = tuple(dict.fromkeys(reading[name] for reading in readings if name in reading))
        if values:
            facts[name] = values[0] if len(values) == 1 else values
    return {"event": "refused" if reason else "command", **facts}


def _sudo_readings(rest: str) -> Iterator[dict[str, str]]:
    """Yield each way to read a command's line: the directory, what it runs as and the command are free text."""
    if not rest.startswith(_SUDO_PWD):
        return
    readings = 0
    for at in _places(rest, _SUDO_AS):
        behind = rest[at + len(_SUDO_AS) :]
        commands = list(_places(behind, _SUDO_COMMAND))
        # Only the environment may hold anything between the user and the command.
        for start in commands if " ; ENV=" in behind else commands[:1]:
            user, _, between = behind[:start].partition(" ; ")
            reading = {"PWD": rest[len(_SUDO_PWD) : at], "USER": user, "COMMAND": behind[start + len(_SUDO_COMMAND) :]}
            if group := _SUDO_GROUP.match(f" ; {between}"):
                reading["GROUP"] = group[1]
            yield reading
            readings += 1
            if readings == _READINGS_MOST:
                return


def _places(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _su(message: str) -> Facts:
    for pattern in _SU:
        if found := pattern.fullmatch(message):
            parts = found.groupdict()
            failed = parts.pop("failed", None) or parts.pop("verb", "") == "FAILED" or parts.pop("sign", "") == "-"
            parts.pop("verb", None)
            parts.pop("sign", None)
            return _kept({"event": "failed" if failed else "switched", **parts})
    return {}


def _login(message: str) -> Facts:
    failed, done = (pattern.fullmatch(message) for pattern in _LOGIN)
    if failed:
        return {"event": "failed", "user": failed["user"]}
    if done:
        parts = done.groupdict()
        root = parts.pop("root")
        return {"event": "accepted", **_kept({**parts, "user": parts["user"] or ("root" if root else None)})}
    return {}


def _cron(message: str) -> Facts:
    found = _CRON.fullmatch(message)
    if found is None:
        return {}
    facts: Facts = {"user": found["user"], "action": found["action"]}
    if found["action"] == "CMD":
        return {"event": "command", **facts, "COMMAND": found["detail"].strip()}
    if found["action"] in ("REPLACE", "DELETE"):
        return {"event": "crontab", **facts, "crontab": found["detail"]}
    return {**facts, "detail": found["detail"]}


def _accounts(message: str) -> Facts:
    for pattern in (_NEW_USER, *_ACCOUNT):
        if found := pattern.fullmatch(message):
            return _kept({"event": "account_changed", **found.groupdict()})
    return {}


def _pkexec(message: str) -> Facts:
    found = _PKEXEC.fullmatch(message)
    if found is None or message.count("] [COMMAND=") != 1:
        return {}
    parts = found.groupdict()
    return _kept({"event": "refused" if parts.pop("refused") else "command", **parts})


def _kept(parts: dict[str, str | None]) -> Facts:
    return {name: value for name, value in parts.items() if value}


_PROGRAMS: dict[str, Callable[[str], Facts]] = {
    "sshd": _sshd,
    "sshd-session": _sshd,
    "sudo": _sudo,
    "su": _su,
    "login": _login,
    "cron": _cron,
    "CRON": _cron,
    "crond": _cron,
    "CROND": _cron,
    "crontab": _cron,
    "pkexec": _pkexec,
    **dict.fromkeys(_ACCOUNT_TOOLS, _accounts),
    "chage": _accounts,
    "chfn": _accounts,
}
