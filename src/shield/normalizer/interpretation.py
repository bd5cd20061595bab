"""What a platform's reading of a log record comes to: the common shape that becomes an event."""

from typing import NamedTuple

from shield.event import Auth, Category, Container, Dns, File, LogValue, Network, Process, Registry, User


class Interpretation(NamedTuple):
    """A log record, understood.

    `category` is the event's; `service` and `sigma_category` are Sigma's log source, `""` where it has no name for it.
    The rest are the typed parts that the record tells of. `process` did it; of a process start it is what was started,
    and `parent` and `parent_user` are what the log says of its parent. A pid of 0 is none. `process.entity_id` is what
    the log itself calls the process, where it does. `session` names what ties the record to others where no process
    does: a logon, an audit session; it need only be unique on its host. `aliases` are fields under further names, those
    by which Sigma rules know them. `gaps` are those the reader could not know of.
    """

    category: Category = "log_record"
    service: str = ""
    sigma_category: str = ""
    process: Process | None = None
    parent: Process | None = None
    parent_user: str = ""
    user: User | None = None
    container: Container | None = None
    file: File | None = None
    network: Network | None = None
    dns: Dns | None = None
    registry: Registry | None = None
    auth: Auth | None = None
    session: str = ""
    aliases: dict[str, LogValue] | None = None
    gaps: tuple[str, ...] = ()
