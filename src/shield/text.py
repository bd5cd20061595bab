"""Bytes the kernel hands us, as text that JSON can carry and that turns back into the same bytes.

Arguments and paths on Linux are bytes, not text. Valid UTF-8 stays as it is. Every byte that is not part of valid
UTF-8 becomes the private-use character U+EF00 + byte (0x80 is U+EF80, 0xFF is U+EFFF). A genuine U+EF80..U+EFFF in
the input has its own three bytes escaped the same way, so the mapping is one to one:

>>> decode(b"caf\\xe9")
'caf\\uefe9'
>>> encode(decode(b"caf\\xe9"))
b'caf\\xe9'
"""

import re

_BASE = 0xEF00
_GENUINE = re.compile("[\uef80-\uefff]")
_SURROGATE = re.compile("[\udc80-\udcff]")
_ESCAPE = {0xDC00 + byte: _BASE + byte for byte in range(0x80, 0x100)}
_UNESCAPE = {_BASE + byte: 0xDC00 + byte for byte in range(0x80, 0x100)}

# Controls, separators of lines, escaped bytes, and all that a terminal shows as nothing or turns the text by: Unicode's
# Default_Ignorable_Code_Point.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff\uef80-\uefff\ufff9-\ufffb]"
    "|[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]"
    "|[\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def decode(raw: bytes) -> str:
    """Return `raw` as text without surrogates; `encode` gives the same bytes back, whatever they were."""
    if raw.isascii():
        return raw.decode("ascii")
    text = raw.decode("utf-8", "surrogateescape")
    if _GENUINE.search(text):
        text = _GENUINE.sub(_escape_genuine, text)
    return text.translate(_ESCAPE) if _SURROGATE.search(text) else text


def encode(text: str) -> bytes:
    """Return the bytes that `decode` made `text` from."""
    return text.translate(_UNESCAPE).encode("utf-8", "surrogateescape")


def printable(text: str) -> str:
    r"""Return `text` safe for a terminal or a log line: one line, no control, escape or direction characters.

    What can't be shown is written as `\n`, `\x1b` or `\u202e`; an escaped byte is shown as the byte it stands for.
    """
    return _UNPRINTABLE.sub(_visible, text)


def _escape_genuine(match: re.Match[str]) -> str:
    return "".join(chr(_BASE + byte) for byte in match[0].encode())


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if _BASE + 0x80 <= code <= _BASE + 0xFF:
        return f"\\x{code - _BASE:02x}"
    return match[0].encode("unicode_escape").decode("ascii")
