"""Which set of sensitive places a path is in, worked out once for a directory and then by a look at the name.

The globs of all sets become one tree of path components. A directory stands for the places in that tree that its path
leads to; a directory from which nothing sensitive can be reached stands for none, and that is nearly all of them.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

_WILD = re.compile(r"[*?\[]")
_ANY_DEPTH = "**"

Pattern = re.Pattern[bytes]


class _Match(NamedTuple):
    """A set of places; a lower rank comes first."""

    rank: int
    place: str


_EXCLUDED, _NOWHERE = _Match(-1, ""), _Match(0, "")


class _Node:
    """A point in the tree: where each component leads, and the set of a path that ends here."""

    __slots__ = ("below", "literal", "match", "repeats", "wild")

    def __init__(self, repeats: bool = False) -> None:
        self.literal: dict[bytes, _Node] = {}
        self.wild: dict[str, tuple[Pattern, _Node]] = {}
        self.below: _Node | None = None
        self.repeats = repeats
        self.match: _Match | None = None

    def child(self, component: str) -> "_Node":
        """Return the node that `component` of a glob leads to, made if need be."""
        if component == _ANY_DEPTH:
            if self.below is None:
                self.below = _Node(repeats=True)
            return self.below
        if not _WILD.search(component):
            return self.literal.setdefault(component.encode(), _Node())
        if component not in self.wild:
            self.wild[component] = re.compile(fnmatch.translate(component).encode()), _Node()
        return self.wild[component][1]


class Folder:
    """What is sensitive in one directory, and below it. `everything` is the set that any file in it is in, or `""`."""

    __slots__ = ("_any", "_literal", "_nodes", "_wild", "everything")

    def __init__(self, nodes: tuple[_Node, ...]) -> None:
        self._nodes = nodes
        self._literal: dict[bytes, _Match] = {}
        self._wild: list[tuple[Pattern, _Match]] = []
        self._any: list[_Match] = []
        for node in nodes:
            for name, leaf in node.literal.items():
                if leaf.match:
                    self._literal[name] = min(leaf.match, self._literal.get(name, leaf.match))
            self._wild += [(pattern, leaf.match) for pattern, leaf in node.wild.values() if leaf.match]
            if node.repeats and node.match:
                self._any.append(node.match)
        whole = [node.wild["*"][1].match for node in nodes if "*" in node.wild]
        self.everything = min([*self._any, *filter(None, whole)], default=_NOWHERE).place

    def place(self, name: bytes) -> str:
        """Return the set that the file `name` in this directory is in, `""` for none."""
        found = [match for pattern, match in self._wild if pattern.match(name)] + self._any
        literal = self._literal.get(name)
        if literal:
            found.append(literal)
        return min(found).place if found else ""

    def below(self, name: bytes) -> "Folder | None":
        """Return what is sensitive in the subdirectory `name`, None for nothing at any depth."""
        nodes: dict[_Node, None] = {}
        for node in self._nodes:
            if node.repeats:
                nodes[node] = None
            if name in node.literal:
                nodes[node.literal[name]] = None
            nodes.update((child, None) for pattern, child in node.wild.values() if pattern.match(name))
        return _folder(nodes)

    @property
    def names(self) -> list[bytes] | None:
        """The only names that lead to anything sensitive; None where a pattern decides."""
        if any(node.wild or node.repeats for node in self._nodes):
            return None
        return list(dict.fromkeys(name for node in self._nodes for name in node.literal))


class Places:
    """The sets by name, each with its globs, less what is `excluded`."""

    def __init__(self, globs: Mapping[str, Iterable[str]], excluded: Iterable[str] = ()) -> None:
        """Raises ValueError for a glob that doesn't start at the root."""
        self._root = _Node()
        self._bases: dict[bytes, None] = {}
        for glob in excluded:
            self._add(glob, _EXCLUDED)
        for rank, (name, its_globs) in enumerate(globs.items()):
            for glob in its_globs:
                self._add(glob, _Match(rank, name))
                self._bases[_base(glob)] = None

    @property
    def bases(self) -> list[bytes]:
        """The directory that each glob starts from: its path up to the first component with a wild card."""
        return list(self._bases)

    def folder(self, path: bytes) -> Folder | None:
        """Return what is sensitive in the directory `path` and below it, None for nothing."""
        folder = _folder({self._root: None})
        for component in path.split(b"/"):
            if folder is None:
                return None
            if component:
                folder = folder.below(component)
        return folder

    def place(self, path: bytes) -> str:
        """Return the set that the file `path` is in, `""` for none."""
        parent, _, name = path.rpartition(b"/")
        folder = self.folder(parent)
        return folder.place(name) if folder else ""

    def _add(self, glob: str, match: _Match) -> None:
        if not glob.startswith("/"):
            raise ValueError(f"{glob}: a place starts with /")
        node = self._root
        for component in _components(glob):
            node = node.child(component)
        node.match = min(match, node.match) if node.match else match


def _components(glob: str) -> Iterator[str]:
    return (component for component in glob.split("/") if component)


def _base(glob: str) -> bytes:
    literal: list[str] = []
    for component in list(_components(glob))[:-1]:
        if _WILD.search(component):
            break
        literal.append(component)
    return b"/" + "/".join(literal).encode()


def _folder(nodes: Iterable[_Node]) -> Folder | None:
    """Return the folder of `nodes` and of those that `**` lets them reach without a step; None for no nodes."""
    reached: dict[_Node, None] = {}
    for node in nodes:
        reached[node] = None
        if node.below is not None:
            reached[node.below] = None
    return Folder(tuple(reached)) if reached else None
