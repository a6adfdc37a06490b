"""File sizes in the service's text form."""

import re
from typing import Final

__all__ = ["parse_size"]

_SIZE: Final = re.compile(r"\s*(\d{1,15}(?:[.,]\d{1,6})?)\s*([kmgt]?)i?(?:b|bytes?)?\s*", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str | None) -> int | None:
    """Return the number of bytes of a text such as `5.70 MB`, `None` if it has no size.

    The service rounds to a hundredth of the unit, so this is precise enough for a progress bar, not for a check. A
    megabyte is 1024 × 1024 bytes, as PHP programs usually count.
    """
    match = _SIZE.fullmatch(text or "")
    if match is None:
        return None
    number, unit = match.groups()
    scale: int = 1024 ** _POWERS[unit.lower()]
    return round(float(number.replace(",", ".")) * scale)
