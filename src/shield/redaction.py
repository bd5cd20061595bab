"""Secrets taken out of text before it leaves this host or is kept: command lines, configuration, differences.

What is taken out is found by the name that stands before it (`password`, `--token`, `api_key`), by where it stands (a
header, a URL, the input of chpasswd) or by its own shape (private keys, tokens of known services, password hashes). All
the rest stays as it was:

>>> redact("mysql --user=app --password=hunter2 shop")
'mysql --user=app --password=[redacted] shop'

A name that often stands before harmless things too (`key`, `session`) makes a secret only of what looks like one: long
hexadecimal or base64. Values end where a shell's word does, so that a command behind a secret stays visible.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

MARK = "[redacted]"
"""What stands in a secret's place."""

_AHEAD = 8192  # so that a secret that begins just before the limit is seen whole

_NAME = re.compile(
    r"""(?:(?<![\w/.-])(?P<name>[\w.-]++)\\?["']?\]?[ \t]*(?:=>|:=|=|:)[ \t]*"""
    r"""(?i:(?:bearer|basic|token|negotiate|apikey)[ \t]+)?"""
    r"""|(?<![\w/.-])(?P<option>--?[A-Za-z][\w.-]*+)["']?,?[ \t]+(?!-))"""
)
_VALUE = re.compile(
    r"""(?P<quote>\\")(?P<escaped>(?:(?!\\")[^\n])*+)|"(?P<double>(?:[^"\\\n]|\\.)*+)|'(?P<single>[^'\n]*+)"""
    r"""|(?P<bare>(?:\\[^\n"]|[^\s"'\\;|&<>])++)"""
)
_ALWAYS = re.compile(
    r"passw(?:or)?d|passwort|passphrase|passcode|secret|credential|(?:^|[-_.])(?:pass|creds?|otp|jwt)$|[a-z]pass$"
    r"|(?<!old)pwd$|token(?![a-z])|(?:api|access|private|encryption|master|account|shared|signing)[-_.]?key"
    r"|^(?:proxy-)?authorization$|^x-auth"
)
_NEVER = re.compile(
    r"(?:file|path|dir|directory|url|uri|length|policy|type|name|count|expiry|expires|ttl|authentication|prompt|store"
    r"|manager|age|days|bypass|compass|user|id)$"
)
_PERHAPS = re.compile(r"(?:key|auth|sig|signature|session|sid|salt|psk)$")
_LIKE_A_SECRET = re.compile(
    r"""\\?["']?(?P<like>(?!/)(?=[A-Za-z+/_-]*\d)(?:[0-9a-fA-F]{16,}+|[A-Za-z0-9+/_-]{20,}+={0,2}))(?![\w.@:])"""
)
_UP_TO = {quote: re.compile(rf"(?P<quoted>(?:[^{quote}\\\n]|\\.)++)") for quote in "\"'"}
_SHELL = re.compile(r"(?<!\S)-[a-z]*c[ \t]+\Z")


def _patterns(*patterns: str) -> list[re.Pattern[str]]:
    return [re.compile(pattern) for pattern in patterns]


_WITHIN = r"[^\n|;&]{0,256}?[ \t]"
_WORD = r"""(?P<value>(?:\\.|[^\s"';|&<>\\])+)"""
_PLACES = _patterns(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?P<value>(?:(?!-----)[\s\S])+(?=-----END )|[A-Za-z0-9+/=\s\\]+)",
    r"""\b[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s/:@"'<>?#]*+:(?P<value>[^\s/"'<>]+)(?=@)""",
    r"""(?i:(?<![\w-])(?:proxy-)?authorization["']?[ \t]*[:=][ \t]*["']?(?:[a-z][\w-]*[ \t]+)?)(?P<value>[^\s"']+)""",
    r"""(?i:(?<![\w-])(?:set-)?cookie[ \t]*:[ \t]*)(?P<value>[^"'\n]+)""",
    rf"""\bcurl\b{_WITHIN}(?:-u|-U|--user|--proxy-user)[ \t=]*["']?[^\s:"']{{1,256}}:(?P<value>[^\s"']+)""",
    rf"""\b(?:sshpass|useradd|usermod)\b{_WITHIN}-p[ \t]*["']?{_WORD}""",
    rf"""\b(?:mysql|mariadb)\w*\b{_WITHIN}-p["']?{_WORD}""",
    r"""(?<![\w/])pass:(?P<value>[^\s"']+)""",
    r"\blogin[ \t]+\S{1,256}\s{1,9}password[ \t]+(?P<value>\S+)",
    r"""\becho[ \t]+(?:-[neE]+[ \t]+)*+["']?(?:[\w.-]{1,64}:)?(?P<value>[^"'\n|]{1,256}?)"""
    r"""(?=["']?[ \t]*\|[ \t]*(?:sudo[ \t]+)?(?:\S{0,64}/)?(?:chpasswd|passwd[^\n]{0,64}--stdin|sudo[ \t]+-S)\b)""",
)
_SHAPES = _patterns(
    r"(?<![A-Za-z0-9])(?P<value>(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])|gh[pousr]_[A-Za-z0-9]{30,}"
    r"|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abeprs]-[\w-]{10,}|sk-[\w-]{20,}|[sr]k_(?:live|test)_\w{16,}"
    r"|AIza[\w-]{35}|ya29\.[\w-]{20,}|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}"
    r"|SG\.[\w-]{16,}\.[\w-]{16,}|eyJ[\w-]{10,}\.[\w-]{10,}(?:\.[\w-]*)?)",
    r"(?P<value>\$(?:1|2[abxy]?|5|6|7|y|gy|argon2(?:id?|d))\$[./A-Za-z0-9$=,+-]{8,})",
)


def redact(text: str, limit: int | None = None) -> str:
    """Return `text` with `MARK` in the place of each secret, cut to `limit` characters where one is given."""
    if limit is not None:
        text = text[: limit + _AHEAD]
    for pattern in _PLACES:
        text = pattern.sub(_marked, text)
    text = "".join(_without_named(text))
    for pattern in _SHAPES:
        text = pattern.sub(_marked, text)
    return text if limit is None else text[:limit]


def redact_args(args: Sequence[str]) -> tuple[str, ...]:
    """Return a program's arguments without secrets; what follows an argument `--password` is one."""
    options = ("", *args)
    return tuple(
        MARK if _announces(before) and not arg.startswith("-") else redact(arg)
        for before, arg in zip(options, args, strict=False)
    )


def _announces(arg: str) -> bool:
    return arg.startswith("-") and "=" not in arg and _meaning(arg) == "secret"


def _without_named(text: str) -> Iterator[str]:
    """Yield the pieces of `text`, what a name makes a secret replaced."""
    kept = at = 0
    while name := _NAME.search(text, at):
        at = name.end()
        value = _value(text, name)
        if value is None or value.lastgroup is None or not value[value.lastgroup]:
            continue
        start, end = value.span(value.lastgroup)
        yield text[kept:start]
        yield MARK
        kept = at = end
    yield text[kept:]


def _value(text: str, name: re.Match[str]) -> re.Match[str] | None:
    """Return the secret that stands behind `name`, None where there is none."""
    called, at = name["name"] or name["option"], name.end()
    meaning = _meaning(called)
    if meaning == "perhaps":
        return _LIKE_A_SECRET.match(text, at)
    if meaning == "harmless" or (called in {"PWD", "pwd"} and text[at : at + 1] == "/"):  # where a shell is
        return None
    before = text[name.start() - 1 : name.start()]
    if (
        before in _UP_TO
        and before not in name[0]
        and not _SHELL.search(text[max(0, name.start() - 17) : name.start() - 1])
    ):
        return _UP_TO[before].match(text, at)
    return _VALUE.match(text, at)


@lru_cache(maxsize=4096)
def _meaning(name: str) -> str:
    """Return what the value of a setting or option called `name` is: a `secret`, `perhaps` one, or `harmless`."""
    plain = name.lstrip("-").lower()
    if _ALWAYS.search(plain) and not _NEVER.search(plain):
        return "secret"
    return "perhaps" if _PERHAPS.search(plain) else "harmless"


def _marked(match: re.Match[str]) -> str:
    start, end = match.span("value")
    start, end = start - match.start(), end - match.start()
    return f"{match[0][:start]}{MARK}{match[0][end:]}"
