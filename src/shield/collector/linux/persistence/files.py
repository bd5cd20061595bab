"""All files of the inventory as they were when they were last looked at, and what it means when one is another now."""

import time
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from shield.collector.linux.persistence.change import Step, Teller
from shield.collector.linux.persistence.inventory import FILES_MOST, entries, every_place
from shield.collector.linux.persistence.root import Root
from shield.collector.linux.persistence.search import Site
from shield.collector.linux.persistence.state import Kept, keep, pack, unpack
from shield.event import File, Persistence
from shield.record import Observation

TEXTS_MOST = 1 << 23
"""So many characters of all files' texts are kept together."""

_UNREAD = "it was gone before it could be read"


class Moment(Struct):
    """A moment in which something happened to a file: from `began_ns` to `latest_ns`, Unix time.

    `came` says that its name was not there before, `glimpse` is what it was in between.
    """

    site: Site
    began_ns: int
    latest_ns: int
    came: bool = False
    glimpse: Kept | None = None
    gaps: tuple[str, ...] = ()


class Unchanged(Exception):
    """There is nothing to tell; the text is why, in a word."""


class KnownFiles:
    """What is known of the files below `root`."""

    def __init__(self, root: Root, teller: Teller) -> None:
        self._root = root
        self._teller = teller
        self._known: dict[str, Kept] = {}
        self._text_size = 0
        self._patterns: frozenset[str] = frozenset()
        self._saved_ns = 0
        self._left_ns = 0

    def restore(self, stored: bytes) -> None:
        """Know what was known in an earlier run. Raises StateDamaged."""
        state = unpack(stored)
        self._known = {one.path: one for one in state.files}
        self._text_size = sum(len(one.text) for one in state.files)
        self._patterns, self._saved_ns = frozenset(state.patterns), state.saved_ns

    def state(self) -> bytes:
        """Return all that is known."""
        return pack(self._known.values(), self._patterns, self._left_ns or time.time_ns())

    def leave(self) -> None:
        """Note that from now on nobody watches."""
        self._left_ns = self._left_ns or time.time_ns()

    def complete(self) -> None:
        """Note that every place has been looked at: what comes there from now on is new."""
        self._left_ns = 0
        self._patterns = frozenset(place.pattern for place in every_place())

    def is_changed(self, site: Site) -> bool:
        """Return whether a file is not as it was known, by its stamp."""
        known = self._known.get(site.path)
        return self._root.stamp(site.path) != (known.stamp if known else ())

    def is_first(self, site: Site) -> bool:
        """Return whether a file's place was never looked at before, so that what is there can't be new."""
        return site.path not in self._known and site.place.pattern not in self._patterns

    def learn(self, site: Site) -> None:
        """Know a file as it is now."""
        self._keep(site.path, self.examined(site))

    def missing(self, seen: set[str]) -> Iterator[Site]:
        """Yield the known files that are not among those that were `seen`."""
        places = {place.mechanism: place for place in every_place()}
        for path in self._known.keys() - seen:
            known = self._known.get(path)
            if known is not None and known.mechanism in places:
                yield Site(path, places[known.mechanism], known.user)

    def examined(self, site: Site) -> Kept | None:
        """Return a file as it is now."""
        found = self._root.find(site.path, site.user)
        if found is None:
            return None
        now_ns = time.time_ns()
        return keep(site.place.mechanism, found, entries(site.place, found), self._known.get(site.path), now_ns)

    def settled(self, moment: Moment) -> list[Observation]:
        """Return what a moment has changed, and know the file as it is now. Raises Unchanged."""
        old, glimpse = self._known.get(moment.site.path), moment.glimpse
        new = self.examined(moment.site)
        if new is None and moment.site.path in self._root.unreadable:
            raise Unchanged("unreadable")
        self._keep(moment.site.path, new)
        began, latest, gaps = self._when(moment, new), moment.latest_ns, moment.gaps
        if _differ(old, new):
            steps = [Step(old, new, began if new else latest, gaps)]
        elif glimpse is not None and _differ(old, glimpse):
            steps = [Step(old, glimpse, began, gaps), Step(glimpse, new, latest, gaps)]
        elif old is None and new is None and moment.came:
            return list(_passed(moment))
        else:
            raise Unchanged("unchanged")
        told = [one for step in steps for one in self._teller.told(step)]
        if not told:
            raise Unchanged("starts_nothing")
        return told

    def _when(self, moment: Moment, new: Kept | None) -> int:
        """Return when a change was: of one that nobody saw happen, when the file says its own was, if that can be."""
        changed_ns = new.changed_ns if new else 0
        return changed_ns if moment.gaps and self._saved_ns < changed_ns < moment.began_ns else moment.began_ns

    def _keep(self, path: str, new: Kept | None) -> None:
        old = self._known.pop(path, None)
        self._text_size -= len(old.text) if old else 0
        if new is None or len(self._known) >= FILES_MOST:
            return
        if self._text_size + len(new.text) > TEXTS_MOST:
            new = msgspec.structs.replace(new, text="")
        self._text_size += len(new.text)
        self._known[path] = new


def _differ(one: Kept | None, other: Kept | None) -> bool:
    return (one.content if one else None) != (other.content if other else None)


def _passed(moment: Moment) -> Iterator[Observation]:
    """Tell of a file that came and went, and nobody knows what was in it."""
    site = moment.site
    one = Persistence(mechanism=site.place.mechanism, path=site.path, change="added", run_as=site.user)
    gone = msgspec.structs.replace(one, change="removed")
    for ts_ns, told in ((moment.began_ns, one), (moment.latest_ns, gone)):
        yield Observation(
            ts_ns=ts_ns, category="persistence_change", persistence=told, file=File(path=site.path), gaps=(_UNREAD,)
        )
