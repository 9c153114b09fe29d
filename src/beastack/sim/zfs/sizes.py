"""Sizes in bytes as zfs(8) reads and prints them."""

import re

from beastack.sim.zfs.errors import Refused

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([bkmgtpe]?)(?:i?b)?", re.I)
_UNITS = "bkmgtpe"


def parse(text: str) -> int:
    """`64m`, `1.5G`, `1024`; raises Refused when it is none."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Refused(f"bad numeric value '{text}'")
    unit = _UNITS.index(found[2].lower() or "b")
    return int(float(found[1]) * 1024**unit) if "." in found[1] else int(found[1]) << (10 * unit)


def human(number: int) -> str:
    """Three significant digits, as zfs_nicenum() does it: 1.50G, 64M, 603M."""
    value, unit = float(number), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    suffix = "BKMGTPE"[unit]
    if unit == 0:
        return f"{number}B" if number else "0B"
    if number % 1024**unit == 0:
        return f"{int(value)}{suffix}"
    for digits in (2, 1, 0):
        text = f"{value:.{digits}f}{suffix}"
        if len(text) <= 5:
            return text
    return text
