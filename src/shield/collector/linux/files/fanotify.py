"""Changes of files in sensitive places from the kernel's fanotify (fanotify(7)), with the process behind each.

A handful of marks on whole file systems sees every directory there is and will be. The kernel names a directory by its
handle; whether anything in it matters is worked out once, so that an event that doesn't costs a few microseconds.
A setuid or setgid bit, or a capability, is noticed on any file.
"""

import errno
import os
import select
import time
from collections import Counter
from contextlib import suppress

from shield.collector.linux.files.actor import Actors, Doer
from shield.collector.linux.files.change import (
    ATTRIBUTES,
    CREATED,
    DELETED,
    EMPOWERED,
    NEW_NAME_UNKNOWN,
    OLD_NAME_UNKNOWN,
    RENAMED,
    WRITTEN,
    Change,
)
from shield.collector.linux.files.facts import power_at
from shield.collector.linux.files.fanotify_call import (
    FAN_ATTRIB,
    FAN_CLASS_NOTIF,
    FAN_CLOEXEC,
    FAN_CLOSE_WRITE,
    FAN_CREATE,
    FAN_DELETE,
    FAN_MOVED_FROM,
    FAN_MOVED_TO,
    FAN_NONBLOCK,
    FAN_ONDIR,
    FAN_Q_OVERFLOW,
    FAN_RENAME,
    FAN_REPORT_DFID_NAME,
    FAN_REPORT_PIDFD,
    new_group,
)
from shield.collector.linux.files.fanotify_event import FanotifyEvent, paired, parse
from shield.collector.linux.files.fanotify_folder import Folders, KnownFolder
from shield.collector.linux.files.fanotify_marks import Marks
from shield.collector.linux.files.inventory import join
from shield.collector.linux.files.place import Places
from shield.collector.linux.files.sensitive import FileOptions
from shield.collector.linux.files.watch import FileWatch
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.record import Record

# Each event that is read takes a descriptor of its process, so a buffer holds about a hundred.
_BUFFER_BYTES = 8192
_BUFFERS = 64
_BATCH = 512
_RENEW_S = 60.0
_GROUP = FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DFID_NAME
_MAY_GIVE_POWER = FAN_ATTRIB | FAN_CREATE
_NOTHING = Count(seen=0, filtered={}, dropped={}, pending=0)
_DONE = (
    (FAN_CREATE, CREATED),
    (FAN_CLOSE_WRITE, WRITTEN),
    (FAN_ATTRIB, ATTRIBUTES),
    (FAN_DELETE | FAN_MOVED_FROM, DELETED),
)

OVERFLOW = "queue_overflow"
NOT_SENSITIVE, OWN, FOLDER_GONE, DIRECTORY = "not_sensitive", "own", "folder_gone", "directory"


class FanotifySource:
    """Every change in the sensitive places of `options`, on every file system that could be marked."""

    name = "fanotify"
    provides: frozenset[Kind] = frozenset(("file",))
    interval: float | None = None
    remedies: dict[str, str] = {  # noqa: RUF012
        OVERFLOW: "Raise fs.fanotify.max_queued_events with sysctl and restart Shield, or give the agent more CPU; "
        "the sensitive places were compared with what they were like before.",
        "unreadable": "Report it: the kernel sent a file event in an unknown form.",
    }

    def __init__(self, options: FileOptions | None = None) -> None:
        """Raises ValueError for a place that is not an absolute path."""
        self._options = options or FileOptions()
        self._places = Places(self._options.globs(), self._options.excluded())
        self._own_pid = os.getpid()
        self._seen = 0
        self._filtered: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._final = _NOTHING
        self._group = -1
        self._has_pidfd = True
        self._marks: Marks | None = None
        self._renewed = 0.0
        self._folders = Folders(self._places)
        self._actors = Actors()
        self._watch: FileWatch | None = None
        self._epoll: select.epoll | None = None

    @property
    def blind_spots(self) -> tuple[str, ...]:
        """What can't be seen, here and now."""
        refused = self._marks.refused if self._marks else {}
        return (
            "A change is seen when the file is closed, and one through a shared memory mapping when its file is.",
            "Reading a file is not seen.",
            "A file in a directory that is itself gone within milliseconds is not seen.",
            "Inside a container only new setuid and setgid programs are seen, by the path they have on the host.",
            *(f"File changes below {point} are not seen ({reason})." for point, reason in refused.items()),
        )

    def open(self) -> None:
        """Mark the file systems, and begin to learn what the files are like. Raises SourceUnavailable."""
        self._seen = 0
        self._filtered.clear()
        self._dropped.clear()
        try:
            self._group = self._new_group()
            self._marks = Marks(self._group, self._places.bases, self._folders.mounts)
            self._marks.renew()
            self._renewed = time.monotonic()
            self._check_marks(self._marks)
            self._watch = FileWatch(self._options, self._places)
            self._epoll = select.epoll()
            for descriptor in (self._group, *self._watch.filenos):
                self._epoll.register(descriptor, select.EPOLLIN)
        except SourceUnavailable:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise SourceUnavailable(self.name, *_why(error)) from None

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable with an event, and when one is complete."""
        return self._epoll.fileno() if self._epoll else None

    def read(self) -> list[Record]:
        """Return up to 512 observations; each has waited until its file was left alone for a moment."""
        if self._watch is None:
            return []
        self._renew_marks()
        self._drain(self._watch)
        return list(self._watch.take(_BATCH))

    def count(self) -> Count:
        """Return the totals in events of the kernel, and observations that came from no event of their own.

        One `queue_overflow` stands for all the events that found no room in the kernel's queue until it had room again.
        """
        if self._watch is None:
            return self._final
        return self._watch.count(self._seen, self._filtered, self._dropped)

    def stop(self) -> None:
        """Remove the marks, and read what the kernel still holds."""
        if self._marks is None or self._watch is None:
            return
        self._marks.flush()
        while self._drain(self._watch):
            pass
        self._marks = None
        self._watch.finish()

    def close(self) -> None:
        """Remove the marks, the group and the thread."""
        with suppress(OSError):  # it may be closed because it can't be read any more
            self.stop()
        if self._watch is not None:
            self._final = self.count()
            self._watch.close()
            self._watch = None
        self._folders.forget()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        if self._group >= 0:
            os.close(self._group)
            self._group = -1
        self._marks = None

    def _new_group(self) -> int:
        """Return a group that gives descriptors of processes, or one that doesn't before Linux 5.15."""
        try:
            return new_group(_GROUP | FAN_REPORT_PIDFD)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        self._has_pidfd = False
        return new_group(_GROUP)

    def _check_marks(self, marks: Marks) -> None:
        """Refuse to work without the file system that most of the sensitive places are on."""
        if not self._folders.mounts or marks.refused_most:
            point, reason = next(iter(marks.refused.items()), ("/", "there is none"))
            raise SourceUnavailable(
                self.name,
                f"the file system at {point} can't be watched as a whole ({reason})",
                "run Shield on the host rather than in a container; inotify is used meanwhile",
            )

    def _renew_marks(self) -> None:
        now = time.monotonic()
        if self._marks is not None and now - self._renewed >= _RENEW_S:
            self._renewed = now
            self._marks.renew()

    def _drain(self, changes: FileWatch) -> bool:
        """Take in the events that are there, a bounded number; return whether there were any."""
        self._actors.forget()
        halves = self._marks is not None and self._marks.halves
        for number in range(_BUFFERS):
            try:
                raw = os.read(self._group, _BUFFER_BYTES)
            except BlockingIOError:
                return number > 0
            try:
                events = parse(raw)
                for event in paired(events) if halves else events:
                    self._seen += 1
                    self._take(event, changes)
                    if event.pidfd >= 0:
                        os.close(event.pidfd)
            except ValueError:
                self._seen += 1
                self._dropped["unreadable"] += 1
        return True

    def _take(self, event: FanotifyEvent, changes: FileWatch) -> None:
        """Count an event that doesn't matter, take in one that does."""
        mask = event.mask
        if mask & FAN_Q_OVERFLOW:
            self._dropped[OVERFLOW] += 1
            changes.compare()
        elif event.pid == self._own_pid:
            self._filtered[OWN] += 1
        elif (folder := self._folders.find(event.folder)) is None:
            self._filtered[FOLDER_GONE] += 1
        elif mask & FAN_ONDIR:
            self._take_directory(event, folder, changes)
        elif mask & FAN_RENAME:
            self._take_renaming(event, folder, changes)
        else:
            self._take_file(event, folder, changes)

    def _take_file(self, event: FanotifyEvent, folder: KnownFolder, changes: FileWatch) -> None:
        mask, inside = event.mask, folder.inside
        place = inside.place(event.name) if inside else ""
        power = "" if place or not mask & _MAY_GIVE_POWER else power_at(join(folder.path, event.name))
        if not place and not power:
            self._filtered[NOT_SENSITIVE] += 1
            return
        path = join(folder.path, event.name)
        actor, gaps = self._doer(event)
        if power:
            what = ATTRIBUTES if mask & FAN_ATTRIB else EMPOWERED
        elif mask & FAN_MOVED_TO:
            what, gaps = RENAMED, (*gaps, OLD_NAME_UNKNOWN)
        else:
            what = sum(done for bit, done in _DONE if mask & bit)
            gaps = (*gaps, NEW_NAME_UNKNOWN) if mask & FAN_MOVED_FROM else gaps
        changes.add(Change(what, path, place or power, actor, gaps=gaps))

    def _take_renaming(self, event: FanotifyEvent, folder: KnownFolder, changes: FileWatch) -> None:
        old, old_place = join(folder.path, event.name), _place(folder, event.name)
        new_folder = self._folders.find(event.new_folder)
        place = _place(new_folder, event.new_name) or old_place
        if not place:
            self._filtered[NOT_SENSITIVE] += 1
            return
        actor, gaps = self._doer(event)
        if new_folder is None:
            changes.add(Change(DELETED, old, place, actor, gaps=(*gaps, NEW_NAME_UNKNOWN)))
        else:
            changes.add(Change(RENAMED, join(new_folder.path, event.new_name), place, actor, old, gaps))

    def _take_directory(self, event: FanotifyEvent, folder: KnownFolder, changes: FileWatch) -> None:
        """Follow a directory to its new path with all that is in it.

        Its own rights matter where every file in it is sensitive.
        """
        mask, inside = event.mask, folder.inside
        path = join(folder.path, event.name)
        if mask & (FAN_RENAME | FAN_MOVED_FROM):
            self._folders.renamed(path)
        if mask & FAN_RENAME and (new_folder := self._folders.find(event.new_folder)) is not None:
            new = join(new_folder.path, event.new_name)
            if _below(folder, event.name) or _below(new_folder, event.new_name):
                self._filtered[DIRECTORY] += 1
                changes.directory_renamed(path, new, *self._doer(event))
                return
        elif mask & FAN_MOVED_TO and _below(folder, event.name):
            changes.directory_appeared(path, *self._doer(event))
        elif mask & FAN_ATTRIB and event.name == b"." and inside is not None and inside.everything:
            actor, gaps = self._doer(event)
            changes.add(Change(ATTRIBUTES, path, inside.everything, actor, gaps=gaps))
            return
        self._filtered[DIRECTORY if inside else NOT_SENSITIVE] += 1

    def _doer(self, event: FanotifyEvent) -> Doer:
        return self._actors.find(event.pid, event.pidfd if self._has_pidfd else None)


def _place(folder: KnownFolder | None, name: bytes) -> str:
    return folder.inside.place(name) if folder is not None and folder.inside is not None else ""


def _below(folder: KnownFolder, name: bytes) -> bool:
    """Whether there can be anything sensitive in the subdirectory `name`, at any depth."""
    return folder.inside is not None and folder.inside.below(name) is not None


def _why(error: OSError) -> tuple[str, str]:
    """Return the reason, and what to do about it."""
    if error.errno == errno.EPERM:
        return "only root may watch whole file systems", "run Shield as the host's root, or give it CAP_SYS_ADMIN"
    if error.errno in (errno.ENOSYS, errno.EINVAL):
        return "the kernel can't name the directory of a file event", "needs Linux 5.9 or newer with CONFIG_FANOTIFY"
    if error.errno == errno.ENOENT:
        return f"the mounts can't be read ({error.filename})", "mount /proc, and let Shield read it"
    if error.errno == errno.EMFILE:
        return "there are too many fanotify groups", "raise fs.fanotify.max_user_groups with sysctl"
    return str(error), "see the system's log"
