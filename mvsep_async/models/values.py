"""Lenient reading of single JSON values: text, numbers, flags, URLs, JSON inside JSON."""

import json
import math
import re
from typing import Final, cast

from mvsep_async.http.call import Json
from mvsep_async.http.token import Token

__all__ = [
    "DROPPED_KEYS",
    "Unfit",
    "cleaned",
    "flat_text",
    "json_text",
    "name_in",
    "parse_size",
    "read_bool",
    "read_float",
    "read_int",
    "read_size",
    "read_text",
    "read_token",
    "url_text",
]

DROPPED_KEYS: Final = frozenset({"peaks", "api_token", "token", "password"})
"""Keys whose values are dropped: waveforms (megabytes) and secrets."""

_DEEPEST: Final = 60
"""Levels of nesting that are kept. Audio tags have about five; Python's recursion ends near a thousand."""
_DEEPEST_TEXT: Final = 4
"""Levels of fields in a message; one was seen."""


class Unfit(Exception):
    """A value does not fit a field; `path` leads to it from the outermost object.

    Internal: `decode` turns it into a `ProtocolError`.
    """

    def __init__(self, expected: str, value: Json, path: tuple[str, ...] = ()) -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = value
        self.path = path

    def inside(self, key: str) -> "Unfit":
        """Return the same error with `key` in front of its path."""
        return Unfit(self.expected, self.value, (key, *self.path))


def cleaned(value: Json, *, depth: int = 0) -> Json:
    """Return a JSON value without waveform peaks and secrets; raises `Unfit` if it is nested too deeply."""
    if depth > _DEEPEST:
        raise Unfit(f"nested less than {_DEEPEST} deep", None)
    if isinstance(value, dict):
        return {key: cleaned(item, depth=depth + 1) for key, item in value.items() if key not in DROPPED_KEYS}
    if isinstance(value, list):
        return [cleaned(item, depth=depth + 1) for item in value]
    return value


def url_text(value: Json) -> str:
    """Read a URL: undo PHP's leftover `\\/` escapes, and remove an API token in its query."""
    text = read_text(value).strip().replace("\\/", "/")
    if not text:
        raise Unfit("an address", value)
    return re.sub(r"api_token=[^&#\s]*&?", "", text)


def json_text(value: Json) -> Json:
    """Decode JSON that was sent as text inside JSON; other values are returned unchanged."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return cast("Json", json.loads(value))
    except (ValueError, RecursionError):
        pass
    raise Unfit("JSON text", value)


def flat_text(value: Json, *, depth: int = 0) -> str | None:
    """Join a message in any of its shapes (a text, a list, a mapping of fields to lists) into one line.

    Levels deeper than such messages have are left out.
    """
    if depth > _DEEPEST_TEXT:
        return None
    if isinstance(value, dict):
        said = ((key, flat_text(item, depth=depth + 1)) for key, item in list(value.items())[:20])
        texts = [f"{key}: {text}" for key, text in said if text]
    elif isinstance(value, list):
        texts = [text for item in value[:20] if not isinstance(item, dict | list) and (text := flat_text(item))]
    elif value is None or isinstance(value, bool):
        return None
    else:
        texts = [" ".join(read_text(value).split())]
    return "; ".join(texts) or None


def name_in(value: Json) -> str:
    """Read a name, sent as a text or as an object with a `name`."""
    return read_text(value.get("name") if isinstance(value, dict) else value)


def read_text(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise Unfit("a text", value)


def read_float(value: Json) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if math.isfinite(number):
        return number
    raise Unfit("a number", value)


def read_int(value: Json) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,30}\s*", value):
        return int(value)
    number = read_float(value)
    if number.is_integer():
        return int(number)
    raise Unfit("a whole number", value)


def read_size(value: Json) -> int:
    """Read an exact number of bytes; raises `Unfit` for a negative one."""
    size = read_int(value)
    if size < 0:
        raise Unfit("a number of bytes", value)
    return size


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


_FLAGS: Final = {"true": True, "1": True, "yes": True, "on": True} | dict.fromkeys(("false", "0", "no", "off"), False)


def read_bool(value: Json) -> bool:
    flag = _FLAGS.get(str(value).strip().lower()) if isinstance(value, str | bool | int) else None
    if flag is None:
        raise Unfit("true or false", value)
    return flag


def read_token(value: Json) -> Token:
    if isinstance(value, str) and value.strip():
        return Token(value.strip())
    raise Unfit("a token", value)
