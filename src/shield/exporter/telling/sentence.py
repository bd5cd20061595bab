"""What happened, in one sentence for each category of event: who did what to what, and what is alarming about it.

Whatever the host made up stands in a sentence as one word, in quotes where it has blanks: a file or user name can't
pretend to be the rest of it. What may be any text (a command, a reason) stands at its end.
"""

from collections.abc import Callable, Mapping

from shield.event import Category, Data, Event
from shield.exporter.telling import file, host, identity, network

_SENTENCES: Mapping[Category, Callable[[Data], str]] = {
    "network_connection": network.connection,
    "network_flow": network.connection,
    "network_listen": network.listen,
    "dns_query": network.question,
    "file_create": file.done("created"),
    "file_write": file.done("wrote"),
    "file_rename": file.renamed,
    "file_delete": file.done("deleted"),
    "file_attribute": file.done("changed the attributes of"),
    "registry_change": file.registry,
    "auth_success": identity.accepted,
    "auth_failure": identity.refused,
    "account_change": identity.account,
    "privilege_change": host.privilege,
    "persistence_change": host.persistence,
    "module_load": host.module,
    "system_change": host.system,
}
_OTHERWISE: frozenset[Category] = frozenset(("process_start", "process_exit", "heartbeat", "loss", "tamper"))
_ABOUT_ITS_PROCESS = ("hidden_process", "deleted_program", "memory_program")


def sentence(event: Event) -> str:
    """Return what happened; `""` for a category that is told otherwise, and where the event doesn't say more."""
    tell = _SENTENCES.get(event.category)
    said = tell(event.data) if tell else ""
    if said or event.category in _OTHERWISE:
        return said
    record = host.log(event.data)
    return f"{event.category.replace('_', ' ')}: {record}" if record else ""


def names_program(event: Event) -> bool:
    """Return whether the sentence says already which program did it."""
    match event.category:
        case "account_change" | "persistence_change" | "module_load":
            return False
        case "privilege_change":
            return event.data.privilege is not None or not (event.data.auth and event.data.auth.command)
        case "system_change":
            return event.data.system is not None and event.data.system.kind in _ABOUT_ITS_PROCESS
        case _:
            return True
