"""What an event is about, as far as repeats of the same finding share it.

Deletions and renames leave their file out: a program that deletes a thousand files is one finding, not a thousand.
"""

from collections.abc import Callable

from shield.event import Category, Data, Event

Subject = tuple[str, ...]


def subject(event: Event) -> Subject:
    """Return the program, its parent's, and the thing that something was done to or with."""
    process, parent = event.data.process, event.data.parent
    program = (process.exe or process.name) if process else ""
    parent_program = (parent.exe or parent.name) if parent else ""
    thing = _THINGS.get(event.category)
    return (program, parent_program, *thing(event.data)) if thing is not None else (program, parent_program)


def _file(data: Data) -> Subject:
    return (data.file.path,) if data.file else ()


def _network(data: Data) -> Subject:
    network = data.network
    if network is None:
        return ()
    if network.initiated is False:
        return "from", network.source_ip, str(network.destination_port)
    return "to", network.destination_host or network.destination_ip, str(network.destination_port)


def _listening(data: Data) -> Subject:
    network = data.network
    return (network.transport, network.destination_ip, str(network.destination_port)) if network else ()


def _name(data: Data) -> Subject:
    return (data.dns.query,) if data.dns else ()


def _login(data: Data) -> Subject:
    user, network = data.user, data.network
    return (user.name if user else "", network.source_ip if network else "")


def _account(data: Data) -> Subject:
    account = data.account
    return (account.kind, account.name, account.member, account.change) if account else ()


def _persistence(data: Data) -> Subject:
    found = data.persistence
    return (found.path, found.name, found.change) if found else ()


def _privilege(data: Data) -> Subject:
    found = data.privilege
    return (found.kind, found.target_exe) if found else ()


def _module(data: Data) -> Subject:
    return (data.module.kind, data.module.name) if data.module else ()


def _system(data: Data) -> Subject:
    return (data.system.kind, data.system.path) if data.system else ()


_THINGS: dict[Category, Callable[[Data], Subject]] = {
    "file_create": _file,
    "file_write": _file,
    "file_attribute": _file,
    "network_connection": _network,
    "network_flow": _network,
    "network_listen": _listening,
    "dns_query": _name,
    "auth_success": _login,
    "auth_failure": _login,
    "account_change": _account,
    "persistence_change": _persistence,
    "privilege_change": _privilege,
    "module_load": _module,
    "system_change": _system,
}
