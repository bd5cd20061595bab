"""What changed between two looks at the account files, as accounts rather than as lines."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from shield.collector.linux.identity.account_files import (
    ADMINISTRATORS,
    Group,
    GroupShadow,
    Password,
    Shadow,
    User,
    granted_groups,
    grants,
)
from shield.event import Account

PASSWD, SHADOW, GROUP, GSHADOW = "etc/passwd", "etc/shadow", "etc/group", "etc/gshadow"


_PasswordChange = Literal["password", "locked", "unlocked"]


class Accounts(Struct, frozen=True):
    """The accounts of a host. `sudoers` has the rules of each file, by its path below the root."""

    users: dict[str, User] = {}
    groups: dict[str, Group] = {}
    shadows: dict[str, Shadow] = {}
    group_shadows: dict[str, GroupShadow] = {}
    sudoers: dict[str, dict[str, None]] = {}


class Change(NamedTuple):
    """A change, and the file it was made in, below the root."""

    file: str
    account: Account


def compare(old: Accounts, new: Accounts) -> list[Change]:
    """Return what changed, that which gives root's power first."""
    powerful = administrators(new)
    roots = _powerful_users(old, administrators(old)) | _powerful_users(new, powerful)
    changes = [
        *_users(old, new, roots),
        *_passwords(old, new, roots),
        *_groups(old, new, powerful),
        *_group_passwords(old, new, powerful),
        *_memberships(old, new, powerful),
        *_sudoers(old, new),
    ]
    return sorted(changes, key=lambda change: not change.account.privileged)


def administrators(accounts: Accounts) -> frozenset[str]:
    """Return the groups that give root's power on this host: the well-known, and those that sudoers names."""
    return ADMINISTRATORS | granted_groups(rule for rules in accounts.sudoers.values() for rule in rules)


def members(accounts: Accounts, group: str) -> frozenset[str]:
    """Return who is in a group, whether it lists them or is their primary one."""
    known = accounts.groups.get(group)
    if known is None:
        return frozenset()
    primary = (name for name, user in accounts.users.items() if user.group_id is not None and user.group_id == known.id)
    return known.members.union(primary)


def _users(old: Accounts, new: Accounts, roots: frozenset[str]) -> Iterator[Change]:
    owners = _owners(new.users)
    for name, user in new.users.items():
        root, other = name in roots, _other(owners, user.id, name)
        before = old.users.get(name)
        if before is None:
            added = Account("user", name, "added", user.id, "", "", user.shell, root, other)
            yield Change(PASSWD, added)
            before = User(Password("locked"), user.id, user.group_id, user.home, user.shell)
        if before.id != user.id:
            ids = _number(before.id), _number(user.id)
            yield Change(PASSWD, Account("user", name, "id", user.id, "", *ids, root, other))
        if change := _password_change(before.password, user.password):
            states = before.password.state, user.password.state
            yield Change(PASSWD, Account("user", name, change, user.id, "", *states, root))
        if before.shell != user.shell:
            yield Change(PASSWD, Account("user", name, "shell", user.id, "", before.shell, user.shell, root))
        if before.home != user.home:
            yield Change(PASSWD, Account("user", name, "home", user.id, "", before.home, user.home, root))
        if before.group_id != user.group_id:
            groups = f"gid {_number(before.group_id)}", f"gid {_number(user.group_id)}"
            yield Change(PASSWD, Account("user", name, "changed", user.id, "", *groups, root))
    for name, user in old.users.items():
        if name not in new.users:
            yield Change(PASSWD, Account("user", name, "removed", user.id, "", user.shell, "", name in roots))


def _passwords(old: Accounts, new: Accounts, roots: frozenset[str]) -> Iterator[Change]:
    for name, shadow in new.shadows.items():
        # A new account begins locked: that is no change of its own.
        before = old.shadows.get(name, Shadow(Password("locked"), shadow.expires))
        user, root = new.users.get(name), name in roots
        identity = user.id if user else None
        if change := _password_change(before.password, shadow.password):
            states = before.password.state, shadow.password.state
            yield Change(SHADOW, Account("user", name, change, identity, "", *states, root))
        if before.expires != shadow.expires:
            yield Change(SHADOW, Account("user", name, "changed", identity, "", _end(before), _end(shadow), root))


def _group_passwords(old: Accounts, new: Accounts, powerful: frozenset[str]) -> Iterator[Change]:
    for name, shadow in new.group_shadows.items():
        before = old.group_shadows.get(name, GroupShadow(Password("locked"), frozenset()))
        group, root = new.groups.get(name), name in powerful
        identity = group.id if group else None
        if change := _password_change(before.password, shadow.password):
            states = before.password.state, shadow.password.state
            yield Change(GSHADOW, Account("group", name, change, identity, "", *states, root))
        for member in sorted(shadow.administrators - before.administrators):
            yield Change(GSHADOW, Account("group", name, "changed", identity, member, "", "administrator", root))
        for member in sorted(before.administrators - shadow.administrators):
            yield Change(GSHADOW, Account("group", name, "changed", identity, member, "administrator", "", root))


def _groups(old: Accounts, new: Accounts, powerful: frozenset[str]) -> Iterator[Change]:
    owners = _owners(new.groups)
    for name, group in new.groups.items():
        before = old.groups.get(name)
        other = _other(owners, group.id, name)
        if before is None:
            added = Account("group", name, "added", group.id, privileged=name in powerful, duplicate_of=other)
            yield Change(GROUP, added)
        elif before.id != group.id:
            ids = _number(before.id), _number(group.id)
            yield Change(GROUP, Account("group", name, "id", group.id, "", *ids, name in powerful, other))
    for name, group in old.groups.items():
        if name not in new.groups:
            yield Change(GROUP, Account("group", name, "removed", group.id, privileged=name in powerful))


def _memberships(old: Accounts, new: Accounts, powerful: frozenset[str]) -> Iterator[Change]:
    """Yield who joined or left a group; being in it by one's own primary group counts only where it gives power."""
    for name in {**old.groups, **new.groups}:
        root = name in powerful
        group = new.groups.get(name) or old.groups[name]
        before, after = ((members(one, name) if root else _listed(one, name)) for one in (old, new))
        for member in sorted(after - before):
            file = GROUP if member in _listed(new, name) else PASSWD
            yield Change(file, Account("membership", name, "member_added", group.id, member, privileged=root))
        for member in sorted(before - after):
            yield Change(GROUP, Account("membership", name, "member_removed", group.id, member, privileged=root))


def _sudoers(old: Accounts, new: Accounts) -> Iterator[Change]:
    for file in {**old.sudoers, **new.sudoers}:
        before, after = old.sudoers.get(file, {}), new.sudoers.get(file, {})
        for rule in after:
            if rule not in before:
                yield Change(file, Account("sudoers", _subject(rule), "added", new=rule, privileged=grants(rule)))
        for rule in before:
            if rule not in after:
                yield Change(file, Account("sudoers", _subject(rule), "removed", old=rule, privileged=grants(rule)))


def _password_change(old: Password, new: Password) -> _PasswordChange | None:
    if old == new or old.state == new.state == "locked":
        return None
    if old.digest == new.digest and new.state != "none" and old.state != "none":
        return "locked" if new.state == "locked" else "unlocked"
    return "password"


def _powerful_users(accounts: Accounts, powerful: frozenset[str]) -> frozenset[str]:
    """Return who has user id 0 or is in a group that gives root's power."""
    roots = frozenset(name for name, user in accounts.users.items() if user.id == 0)
    return roots.union(*(members(accounts, group) for group in powerful))


def _listed(accounts: Accounts, group: str) -> frozenset[str]:
    known = accounts.groups.get(group)
    return known.members if known else frozenset()


def _owners(known: Mapping[str, User] | Mapping[str, Group]) -> dict[int, list[str]]:
    owners: dict[int, list[str]] = {}
    for name, one in known.items():
        if one.id is not None:
            owners.setdefault(one.id, []).append(name)
    return owners


def _other(owners: dict[int, list[str]], identity: int | None, name: str) -> str:
    """Return the first other owner of an id."""
    return next((one for one in owners.get(-1 if identity is None else identity, ()) if one != name), "")


def _end(shadow: Shadow) -> str:
    return f"expires on day {shadow.expires}" if shadow.expires else ""


def _subject(rule: str) -> str:
    return rule.partition(" ")[0]


def _number(identity: int | None) -> str:
    return "" if identity is None else str(identity)
