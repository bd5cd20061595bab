"""Numbers, sizes and lengths of time as people write them."""

_SIZE_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")


def some(number: int, what: str) -> str:
    """Return a number of things: `1 rule`, `2,000 rules`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """Return a length of time with its two largest units: `2 h 5 min`, `1.25 s`, `18 µs`."""
    if 0 < seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.3g} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def size(number: int) -> str:
    """Return a number of bytes in the largest unit that fits, in powers of 1,000: `512 B`, `3.4 MB`."""
    if number < 1000:
        return f"{number} B"
    value, unit = number / 1000, 0
    while value >= 999.5 and unit < len(_SIZE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    shown = f"{value:.1f}".removesuffix(".0") if value < 9.95 else f"{value:,.0f}"
    return f"{shown} {_SIZE_UNITS[unit]}"


def permissions(mode: int) -> str:
    """Return the permission bits of an st_mode as chmod(1) takes them: `0644`, `4755`."""
    return f"{mode & 0o7777:04o}"
