"""File sizes as the service writes them."""

import re
from typing import Final

__all__ = ["parse_size"]

_SIZE: Final = re.compile(r"\s*(\d{1,15}(?:[.,]\d{1,6})?)\s*([kmgt]?)i?(?:b|bytes?)?\s*", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str | None) -> int | None:
    """Return the bytes that a text such as `5.70 MB` stands for, `None` where it says nothing.

    Rounded by the service to a hundredth of its unit, so good for a progress bar and never for a check. A megabyte is
    taken as 1024 × 1024 bytes, the habit of PHP programs.
    """
    match = _SIZE.fullmatch(text or "")
    if match is None:
        return None
    number, unit = match.groups()
    scale: int = 1024 ** _POWERS[unit.lower()]
    return round(float(number.replace(",", ".")) * scale)
