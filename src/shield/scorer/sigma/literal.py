"""The text that whatever a regular expression matches must contain: looking for it first saves most searches.

The longest run of plain characters outside all groups and classes that no quantifier makes optional. Where an
expression has none, or is a choice at its top, there is no such text, and it has to be searched for every time.
"""

import re

_TOKEN = re.compile(
    r"(?P<escape>\\.)|(?P<class>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\()|(?P<close>\))"
    r"|(?P<optional>[*?]|\{,|\{0)|(?P<repeated>\+|\{)|(?P<break>[.^$|}])|(?P<plain>.)",
    re.DOTALL,
)
_VERBOSE = re.compile(r"\(\?[aiLmsu]*x")


def required_literal(expression: str) -> str:
    """Return a lower-case ASCII text contained in the lower-cased form of every ASCII text `expression` matches."""
    if _VERBOSE.search(expression):
        return ""
    runs = [""]
    depth = 0
    for token in _TOKEN.finditer(expression):
        kind, text = token.lastgroup, token[0]
        depth += (kind == "open") - (kind == "close")
        if depth or kind == "close":
            runs.append("")
        elif text == "|":
            return ""
        elif kind == "optional":
            runs[-1] = runs[-1][:-1]
            runs.append("")
        elif kind == "plain" or (kind == "escape" and not text[1].isalnum()):
            runs[-1] += text[-1]
        else:
            runs.append("")
    return max((run.lower() for run in runs if run.isascii()), key=len)
