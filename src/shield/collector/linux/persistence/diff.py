"""What changed in a text, as a unified diff of one hunk: from the first line that differs to the last.

Its cost grows with the length of the texts alone, whatever is in them; a shortest diff would let a hostile file cost a
second. Of a diff that is too long the added lines are kept first: they are what an attacker brings.
"""

_CONTEXT = 3
_WORD = 24  # room for the word on what was cut


def unified(old: str, new: str, most: int) -> str:
    """Return what leads from `old` to `new`, `""` if nothing; at most `most` characters."""
    before, after = old.splitlines(), new.splitlines()
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    gone, come = before[start : len(before) - end], after[start : len(after) - end]
    if not gone and not come:
        return ""
    first = max(0, start - _CONTEXT)
    above, below = before[first:start], before[len(before) - end :][:_CONTEXT]
    around = len(above) + len(below)
    hunk = f"@@ {_range(first, len(gone) + around)} {_range(first, len(come) + around, '+')} @@"
    added = _cut([f"+{line}" for line in come], most * 2 // 3)
    removed = _cut([f"-{line}" for line in gone], most - len(hunk) - sum(len(line) + 1 for line in added))
    lines = [hunk, *(f" {line}" for line in above), *removed, *added, *(f" {line}" for line in below)]
    return "\n".join(lines)[:most]


def _common(one: list[str], other: list[str]) -> int:
    """Return how many lines the two have in common from their beginning."""
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def _range(start: int, length: int, sign: str = "-") -> str:
    return f"{sign}{start + 1 if length else start},{length}"


def _cut(lines: list[str], most: int) -> list[str]:
    """Return the lines that fit into `most` characters, with a word on how many did not."""
    if sum(len(line) + 1 for line in lines) <= most:
        return lines
    room, kept = most - _WORD, list[str]()
    for line in lines:
        if len(line) >= room:
            kept += [line[: room - 1]] if room > 1 else []
            break
        room -= len(line) + 1
        kept.append(line)
    return [*kept, f"({len(lines) - len(kept)} more lines)"]
