"""Who came in, who was refused, who became somebody else, and who may use this host, as sentences."""

from shield.event import Account, Auth, Data
from shield.exporter.telling.word import cut, endpoint, given, identity, noted, path

_SSH = ("sshd", "dropbear")
_SWITCHERS = frozenset(("sudo", "sudo-i", "su", "su-l", "doas", "pkexec", "polkit-1", "runuser"))
"""Programs by which one user becomes another."""

_HOW = {"": "", "password": "with a password", "publickey": "with a key", "none": "without a password"}
_PROOFS = {"password": "password", "publickey": "key"}
_NONE = "none"


def accepted(data: Data) -> str:
    """Return `alice logged in from 203.0.113.9 over ssh with a key (ED25519 SHA256:abc)`."""
    auth, who = data.auth or Auth(), _who(data)
    if auth.service in _SWITCHERS:
        become = f"{given(auth.by_user)} authenticated to become {who}" if auth.by_user else f"{who} authenticated"
        return f"{become}{_service(auth)}"
    how = _HOW.get(auth.method, f"by {given(auth.method)}")
    parts = filter(None, ("logged in", _origin(data), "over ssh" if auth.service in _SSH else "", _terminal(auth), how))
    return f"{who} {' '.join(parts)}{_key(auth)}{'' if auth.service in _SSH else _service(auth)}"


def refused(data: Data) -> str:
    """Return `password refused for root from 203.0.113.9 (sshd)`."""
    auth, who = data.auth or Auth(), _who(data)
    if auth.service in _SWITCHERS and auth.by_user:
        what = f"{given(auth.by_user)} was not allowed to become {who}"
    else:
        unknown = ", no such user," if data.log and data.log.fields.get("event") == "invalid_user" else ""
        proof = f"{_PROOFS.get(auth.method, 'login')} refused for {who}{unknown}{_key(auth)}"
        what = " ".join(filter(None, (proof, _origin(data), _terminal(auth))))
    return ": ".join(filter(None, (f"{what}{_service(auth)}", cut(auth.reason), cut(auth.command))))


def became(data: Data) -> str:
    """Return `alice ran as root: /bin/ls`, or that somebody became somebody else, as sudo and su write it down."""
    auth, user = data.auth, data.user
    if auth is None:
        return ""
    by = auth.by_user or (user.name if user else "")
    other = user.effective_name or (user.name if user.name != by else "") if user else ""
    who = given(by) if by else "somebody"
    if auth.command:
        how = f"as {given(other)}" if other else f"through {given(auth.service)}"
        return f"{who} ran {how}: {cut(auth.command)}"
    return f"{who} became {given(other) if other else 'another user'}{_service(auth)}"


def account(data: Data) -> str:
    """Return `user eve added, uid 0: the same as root`."""
    one = data.account
    if one is None:
        return ""
    privileged = " (privileged)" if one.privileged and not one.duplicate_of else ""
    return ": ".join(filter(None, (f"{_changed(one)}{privileged}", _detail(one))))


def _changed(one: Account) -> str:
    name, kind = given(one.name), "group" if one.kind == "membership" else one.kind
    number = "gid" if kind == "group" else "uid"
    if kind == "sudoers":
        return f"sudo rule {one.change}"
    match one.change:
        case "member_added":
            return f"{given(one.member)} joined group {name}"
        case "member_removed":
            return f"{given(one.member)} left group {name}"
        case "added" | "removed":
            return f"{kind} {name} {one.change}" + (f", {number} {one.id}" if one.id is not None else "")
        case "password":
            return _password(one, f"{kind} {name}")
        case "id":
            return f"{number} of {name} changed from {given(one.old)} to {given(one.new)}"
        case "shell" | "home":
            return f"{one.change} of {name} changed"
        case "locked" | "unlocked" | "changed":
            return f"{kind} {name} {one.change}" + (f" for {given(one.member)}" if one.member else "")


def _detail(one: Account) -> str:
    """Return what a change was from and to, or whose power it gives."""
    if one.kind == "sudoers":
        return cut(one.new or one.old or one.name)
    if one.change in ("shell", "home", "changed"):
        return f"{path(one.old) if one.old else _NONE} -> {path(one.new) if one.new else _NONE}"
    return f"the same as {given(one.duplicate_of)}" if one.duplicate_of else ""


def _password(one: Account, who: str) -> str:
    """Return what became of a password; `old` and `new` say no more of it than whether there is one."""
    match one.new:
        case "none":
            return f"{who} needs no password any more"
        case "locked":
            return f"{who} has no usable password any more"
        case _:
            return f"{who} got a password" if one.old in ("none", "locked") else f"password of {who} changed"


def _who(data: Data) -> str:
    user = data.user
    name = user.effective_name or user.name if user else ""
    if name:
        return given(name)
    return (identity("", user.id) if user else "") or "somebody"


def _origin(data: Data) -> str:
    network = data.network
    if network is None or not (network.source_ip or network.source_host):
        return ""
    return f"from {endpoint(network.source_ip, 0, network.source_host)}"


def _terminal(auth: Auth) -> str:
    return f"on {given(auth.tty)}" if auth.tty and auth.service not in _SSH else ""


def _key(auth: Auth) -> str:
    return noted((" ".join(path(part) for part in (auth.key_type, auth.key_fingerprint) if part),))


def _service(auth: Auth) -> str:
    return noted((given(auth.service) if auth.service else "",))
