"""Compiling YARA rules with YARA-X, which is an extra: it is imported only where rules are configured."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from shield.agent.places import Place, files

if TYPE_CHECKING:
    import yara_x

SUFFIXES = (".yar", ".yara")
_LARGEST = 64 << 20
_INCLUDE = "E044"
_INSTALL = "install it: pip install 'cyberdudebivash-shield[yara]'"


class BadYaraRules(Exception):
    """YARA rules can't be used; the text names the file, the line and the remedy."""


class _Label(Struct):
    text: str = ""


class _CompileError(Struct):
    """What YARA-X says of an error, as far as it is shown."""

    code: str
    title: str
    line: int = 0
    labels: list[_Label] = []


def check_installed() -> None:
    """Raise BadYaraRules where YARA-X isn't installed."""
    if find_spec("yara_x") is None:
        raise BadYaraRules(f"yara.rules: YARA-X is not installed; {_INSTALL}, or take yara.rules out")


def compile_rules(places: Sequence[str]) -> tuple[yara_x.Rules, tuple[str, ...]]:
    """Return the rules in `places`, each file a namespace of its own, and a line for each file that can't be used.

    Raises BadYaraRules where YARA-X isn't installed, a place is missing, a file named by itself can't be used, or
    nothing at all compiles.
    """
    check_installed()
    try:
        found = files(places, SUFFIXES)
    except OSError as error:
        raise BadYaraRules(f"{error}: there is no such file or folder; name a file of YARA rules or a folder") from None
    problems: list[str] = []
    sound = [place for place in found if not _problem(place, problems)]
    if not sound:
        raise BadYaraRules("\n".join([f"no YARA rule could be loaded from {', '.join(places)}", *problems[:20]]))
    return _compiled(sound), tuple(problems)


def _problem(place: Place, problems: list[str]) -> bool:
    """Return whether a file can't be used, and say so in `problems`."""
    try:
        _compiled([place])
    except BadYaraRules as problem:
        if place.named:
            raise
        problems.append(str(problem))
        return True
    return False


def _compiled(places: Sequence[Place]) -> yara_x.Rules:
    import yara_x  # noqa: PLC0415  an extra

    compiler = yara_x.Compiler()
    compiler.enable_includes(False)
    for name, place in zip(_namespaces(places), places, strict=True):
        text = _text(place.path)
        compiler.new_namespace(name)
        try:
            compiler.add_source(text, str(place.path))
        except yara_x.CompileError:
            raise BadYaraRules(_told(place.path, compiler.errors())) from None
    return compiler.build()


def _namespaces(places: Sequence[Place]) -> list[str]:
    """Return a name for each file: what it is called, with a number where several are called the same."""
    names: list[str] = []
    for place in places:
        name, number = place.path.stem, 2
        while name in names:
            name, number = f"{place.path.stem}-{number}", number + 1
        names.append(name)
    return names


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise BadYaraRules(f"{path}: larger than {_LARGEST >> 20} MiB; split it")
        return text.decode()
    except UnicodeDecodeError:
        raise BadYaraRules(f"{path}: this is not UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise BadYaraRules(f"{path}: can't be read: {error.strerror}; check its owner and mode") from None


def _told(path: Path, errors: object) -> str:
    error = msgspec.convert(errors, list[_CompileError])[0]
    remedy = "name the included files, or their folder, in yara.rules" if error.code == _INCLUDE else "correct the rule"
    detail = f" ({error.labels[0].text})" if error.labels and error.labels[0].text else ""
    return f"{path}:{error.line}: {error.title}{detail}; {remedy}"
