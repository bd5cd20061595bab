"""JSON documents in a file, one after another: one a line, printed over many lines, or the elements of an array.

Nothing but the document at hand is held in memory, and a broken one costs only itself: the next line that begins as
far in as it did, with `{`, is taken for the next document.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import BinaryIO

import msgspec
from msgspec import Struct

DOCUMENT_MOST = 16 << 20
"""A document longer than this, in bytes, is refused without being held in memory."""

_PIECE = 1 << 20
_BETWEEN = re.compile(rb"(?:[\s,\[\]\x00\x1e]+|\xef\xbb\xbf|Record \d{1,20}(?=\s))*")
_BETWEEN_MOST = 32
_INDENT_MOST = 64
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

_raw = msgspec.json.Decoder(msgspec.Raw)


class Document(Struct, frozen=True, gc=False):
    """The text of an object and the line it starts on; `problem` says why it is none."""

    line: int
    text: bytes
    problem: str = ""


def documents(file: BinaryIO) -> Iterator[Document]:
    """Yield the JSON objects in `file` (UTF-8, or UTF-16 with its mark) and the parts that are none."""
    return iter(_Documents(file))


@lru_cache(maxsize=16)
def _content(indent: bytes) -> re.Pattern[bytes]:
    """Return what may stand between brackets: whole texts, and lines that don't begin another document."""
    start = re.escape(indent) + rb"\{"
    line = rb"\n(?!%b)(?=[\s\S]{%d})" % (start, len(indent) + 1)
    return re.compile(rb'(?:[^"{}\[\]\n]++|"(?:[^"\\\n]++|\\.)*+"|%b)*+' % line)


class _Documents:
    """Walks through a file, of which `_text` from `_at` on is read and not yet used."""

    def __init__(self, file: BinaryIO) -> None:
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)  # of a pipe, what is there already
        self._decoder: codecs.IncrementalDecoder | None = None
        self._is_first = True
        self._text = b""
        self._at = 0
        self._line = 1
        self._newline = -1
        self._ended = False
        self._indent = b""

    def __iter__(self) -> Iterator[Document]:
        while (is_fresh := self._skip()) is not None:
            line = self._line
            if self._text[self._at] != ord("{"):
                yield Document(line, self._line_rest(), "not a JSON object")
            elif is_fresh and (text := self._whole_line()):
                yield Document(line, text)
            else:
                end, problem = self._end()
                yield Document(line, self._take(end), problem)
                if problem:
                    self._resume()

    def _skip(self) -> bool | None:
        """Go to the next document; return whether it is the first thing on its line, None at the end of the file."""
        is_fresh = self._line == 1 and self._at == 0
        while True:
            found = _BETWEEN.match(self._text, self._at)
            between = found[0] if found else b""
            if b"\n" in between:
                self._line += between.count(b"\n")
                is_fresh = True
                between = between[between.rindex(b"\n") + 1 :]
            is_fresh = is_fresh and not between.strip()
            self._indent = between[:_INDENT_MOST] if is_fresh else b""
            self._at += len(found[0]) if found else 0
            rest = len(self._text) - self._at
            if rest >= _BETWEEN_MOST or not self._more():
                return is_fresh if self._at < len(self._text) else None

    def _whole_line(self) -> bytes:
        """Take the rest of the line where it is one document, else nothing."""
        end = self._line_end()
        text = self._text[self._at : end].rstrip(b" \t\r,]")
        if not text.endswith(b"}"):
            return b""
        try:
            _raw.decode(text)
        except (msgspec.MsgspecError, RecursionError):
            return b""
        self._at = end
        return text

    def _line_end(self) -> int:
        while self._newline < self._at:
            self._newline = self._text.find(b"\n", self._at)
            if self._newline < 0 and (len(self._text) - self._at > DOCUMENT_MOST or not self._more()):
                return len(self._text)
        return self._newline

    def _line_rest(self) -> bytes:
        return self._take(self._line_end())

    def _end(self) -> tuple[int, str]:
        """Return where the document ends, and what is wrong with it."""
        at, depth = self._at, 0
        content = _content(self._indent)
        while True:
            found = content.match(self._text, at)
            at = found.end() if found else at
            token = self._text[at : at + 1]
            if token in (b"{", b"["):
                depth += 1
            elif token in (b"}", b"]"):
                depth -= 1
                if not depth:
                    return at + 1, ""
            elif problem := self._broken(at, token):
                return problem
            elif token != b"\n" or len(self._text) - at < len(self._indent) + 2:
                before = self._at
                if self._more():
                    at -= before
                    continue
                if token != b"\n":
                    return len(self._text), "the file ends within it"
            at += 1
            if at - self._at > DOCUMENT_MOST:
                return at, f"longer than {DOCUMENT_MOST >> 20} MiB"

    def _broken(self, at: int, token: bytes) -> tuple[int, str] | None:
        """Return where a document breaks off, None where more of the file may complete it."""
        if token == b"\n" and self._text.startswith(self._indent + b"{", at + 1):
            return at, "it isn't closed before the next one begins"
        if token == b'"' and (newline := self._text.find(b"\n", at)) >= 0:
            return newline, "a text in it isn't closed on its line"
        if len(self._text) - self._at > DOCUMENT_MOST:
            return len(self._text), f"longer than {DOCUMENT_MOST >> 20} MiB"
        return None

    def _resume(self) -> None:
        """Go on to the next line that starts a document."""
        start = b"\n" + self._indent + b"{"
        while True:
            found = self._text.find(start, self._at)
            if found >= 0:
                self._take(found)
                return
            self._take(max(len(self._text) - len(start), self._at))
            if not self._more():
                self._take(len(self._text))
                return

    def _take(self, end: int) -> bytes:
        text = self._text[self._at : end]
        self._line += text.count(b"\n")
        self._at = end
        return text

    def _more(self) -> bool:
        """Read on; return whether there was anything."""
        if self._ended:
            return False
        piece = self._read(_PIECE)
        self._ended = not piece
        if self._is_first:
            self._is_first = False
            if encoding := _UTF16.get(piece[:2]):
                self._decoder = codecs.getincrementaldecoder(encoding)("replace")
                piece = piece[2:]
        if self._decoder is not None:
            piece = self._decoder.decode(piece, self._ended).encode("utf-8", "replace")
        self._text = self._text[self._at :] + piece
        self._newline = max(self._newline - self._at, -1)
        self._at = 0
        return not self._ended
