"""YAML documents whose every error names the file, the line, the key and the remedy.

`read` turns a text into a frozen struct: unknown keys, duplicate keys, wrong types and values out of range are all
refused, each with its place. Only plain YAML is understood: no tags that make objects.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, get_args

import msgspec
import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

T = TypeVar("T")

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, where libyaml is there
_PARTS_MOST = 1_000_000
_PLACE = re.compile(r"(?P<problem>.*?)(?: - at `(?:key` in `)?\$(?P<path>[^`]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_UNKNOWN_KEY = re.compile(r"Object contains unknown field `(.*)`")


class DocumentError(ValueError):
    """A document can't be used. The text names file, line and key, and what to do."""

    def __init__(self, name: str, line: int, key: str, problem: str, remedy: str) -> None:
        place = f"{name}:{line}" if line else name
        problem = problem.replace("\n", r"\n").replace("\r", r"\r")  # an error is one line, whatever it quotes
        super().__init__(f"{place}: {f'{key}: ' if key else ''}{problem}; {remedy}")
        self.name = name
        self.line = line
        self.key = key
        self.problem = problem
        self.remedy = remedy


class Document:
    """One YAML document: its `plain` content (mappings, lists, texts, numbers) and where in `name` its parts stand."""

    def __init__(self, name: str, root: Node | None, plain: object) -> None:
        self.name = name
        self.plain = plain
        self._root = root

    def error(self, steps: Sequence[str | int], problem: str, remedy: str) -> DocumentError:
        """Return an error about the part that `steps` (keys and list indexes) lead to."""
        return DocumentError(self.name, self._line(steps), _joined(steps), problem, remedy)

    def convert(self, kind: type[T], at: Sequence[str | int] = ()) -> T:
        """Return the part that `at` leads to as a `kind`; an absent part is an empty one. Raises DocumentError."""
        plain: Any = self.plain
        for step in at:
            plain = plain.get(step, {})
        try:
            return msgspec.convert({} if plain is None else plain, kind, strict=True)
        except msgspec.ValidationError as error:
            raise self._refusal(str(error), kind, plain, at) from None

    def _refusal(self, message: str, kind: Any, plain: Any, at: Sequence[str | int]) -> DocumentError:
        match = _PLACE.fullmatch(message)
        problem, path = (match["problem"], match["path"] or "") if match else (message, "")
        steps: list[str | int] = [key or int(index) for key, index in _STEP.findall(path.removesuffix("[...]"))]
        unknown = _UNKNOWN_KEY.fullmatch(problem)
        inner = _kind_at(kind, steps)
        if path.endswith("[...]"):
            return self.error([*at, *steps, *_entry_at_fault(plain, steps, inner)], problem, "correct the value")
        if unknown:
            known = ", ".join(field.encode_name for field in msgspec.structs.fields(inner))
            return self.error([*at, *steps, unknown[1]], "there is no such key", f"the keys here are: {known}")
        choices = ", ".join(repr(choice) for choice in get_args(inner) if isinstance(choice, str))
        return self.error([*at, *steps], problem, _remedy(problem, choices))

    def _line(self, steps: Sequence[str | int]) -> int:
        """Return the line of the deepest part along `steps` that is there."""
        node, line = self._root, _line(self._root)
        for step in steps:
            key, node = _child(node, step)
            if node is None:
                break
            line = _line(key or node)
        return line


def read(text: bytes, kind: type[T], name: str) -> T:
    """Return the one document in `text` as a `kind`; `name` is the file's, for errors. Raises DocumentError."""
    found = documents(text, name)
    if len(found) > 1:
        raise found[1].error((), "a second document begins here", "keep one document in this file")
    return (found[0] if found else Document(name, None, {})).convert(kind)


def documents(text: bytes, name: str) -> list[Document]:
    """Return the YAML documents in `text`. Raises DocumentError."""
    try:
        loader = _LOADER(text.decode())
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise DocumentError(name, line, "", "this is not UTF-8 text", "save the file as UTF-8") from None
    except yaml.YAMLError as error:
        raise _not_yaml(error, name, text) from None
    try:
        return list(_documents(loader, name))
    finally:
        loader.dispose()


def _documents(loader: yaml.SafeLoader, name: str) -> Iterator[Document]:
    node: Node | None = None
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                _refuse_duplicates(node, name)
                _refuse_unbounded(node, name)
                plain: object = loader.construct_document(node)  # pyright: ignore[reportUnknownMemberType]: untyped there
                yield Document(name, node, plain)
    except yaml.YAMLError as error:
        raise _not_yaml(error, name) from None
    except RecursionError:
        raise DocumentError(name, _line(node), "", "this is nested too deeply", "flatten it") from None
    except DocumentError:
        raise
    except (ValueError, OverflowError) as error:
        raise DocumentError(name, _line(node), "", str(error), "correct the value") from None
    except (AttributeError, LookupError, TypeError):  # what PyYAML makes of `!!bool x`, `!!int _` and the like
        problem = "a value does not fit the tag (!!) before it"
        raise DocumentError(name, _line(node), "", problem, "leave the tag out") from None


def _remedy(problem: str, choices: str) -> str:
    if problem.startswith("Object missing required field"):
        return "add it"
    return f"use one of {choices}" if choices else "correct the value"


def _not_yaml(error: yaml.YAMLError, name: str, text: bytes = b"") -> DocumentError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position: int = getattr(error, "position", 0)
    line = mark.line + 1 if mark else text[:position].count(b"\n") + 1
    if "nesting" in str(error):
        return DocumentError(name, line, "", "this is nested too deeply", "flatten it")
    problem = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).split())
    return DocumentError(name, line, "", f"not valid YAML: {problem}", "mend the line")


def _kind_at(kind: Any, steps: Sequence[str | int]) -> Any:
    """Return the type that a struct declares for the part `steps` lead to."""
    for step in steps:
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return None
        kind = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}.get(str(step))
    return kind


def _entry_at_fault(plain: Any, steps: Sequence[str | int], kind: Any) -> list[str]:
    """Return the key of the value that a mapping of type `kind` refuses; msgspec names the mapping alone."""
    for step in steps:
        plain = plain[step]
    _, value_kind = get_args(kind)
    for key, value in plain.items():
        try:
            msgspec.convert(value, value_kind, strict=True)
        except msgspec.ValidationError:
            return [key]
    return []


def _child(node: Node | None, step: str | int) -> tuple[Node | None, Node | None]:
    if isinstance(node, MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(step)), (None, None))
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        return None, node.value[step]
    return None, None


def _line(node: Node | None) -> int:
    return node.start_mark.line + 1 if node else 1


def _joined(steps: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def _refuse_duplicates(root: Node, name: str) -> None:
    for mapping in _mappings(root):
        seen: set[str] = set()
        for key, _ in mapping.value:
            if str(key.value) in seen:
                raise DocumentError(name, _line(key), str(key.value), "this key stands here twice", "keep one of them")
            seen.add(str(key.value))


def _refuse_unbounded(root: Node, name: str) -> None:
    """Refuse a document whose aliases make it hold itself, or very much more than is written in it."""
    sizes: dict[int, int] = {}
    holding: set[int] = set()

    def size(node: Node) -> int:
        if id(node) in holding:
            raise DocumentError(name, _line(node), "", "this holds itself", "write it out without the alias")
        if id(node) not in sizes:
            holding.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _parts(node)))
            holding.discard(id(node))
        return sizes[id(node)]

    if size(root) > _PARTS_MOST:
        raise DocumentError(name, _line(root), "", "its aliases make it too large", "use fewer aliases")


def _parts(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, SequenceNode) else []


def _mappings(root: Node) -> Iterator[MappingNode]:
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            yield node
            waiting.extend(part for pair in node.value for part in pair)
        elif isinstance(node, SequenceNode):
            waiting.extend(node.value)
