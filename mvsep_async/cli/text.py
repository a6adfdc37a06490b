"""Formats numbers and foreign text for a terminal. Pure."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser
from typing import Final

__all__ = ["age_text", "amount", "ordinal", "plain", "seconds_text", "size_text", "visible"]

_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
"""They reorder what follows: a name with one can seem to end in another way than it does."""

_BREAKING: Final = frozenset({"p", "br", "div", "li", "ul", "ol", "tr", "h1", "h2", "h3", "h4", "h5", "h6"})


def visible(text: str) -> str:
    """Escape what a terminal would interpret: control characters, line ends, bidirectional overrides, surrogates."""
    if text.isascii() and text.isprintable():
        return text
    interpreted = ("Cc", "Cs", "Zl", "Zp")
    return "".join(
        _escaped(char) if char in _BIDI or unicodedata.category(char) in interpreted else char for char in text
    )


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte of a file name that is not UTF-8
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char, f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def size_text(count: float) -> str:
    """Return a number of bytes in decimal units: `5.7 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def seconds_text(seconds: float) -> str:
    """Return a length of time: `0:07`, `12:03`, `1:02:03`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def age_text(seconds: float) -> str:
    """Return a length of time in one unit: `5 s`, `5 min`, `3 h`, `2 days`."""
    for unit, size, most in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{max(0, int(seconds // size))} {unit}"
    return f"{int(seconds // 86400)} days"


def amount(count: int, one: str, many: str | None = None) -> str:
    """Return `1 song`, `2 songs`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd`, `11th`."""
    teens = 10 <= number % 100 < 20
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def plain(html: str) -> str:
    """Return the text of a piece of HTML, a line a paragraph."""
    reader = _Text()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in ("script", "style")
        if tag in _BREAKING:
            self.parts.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._silent = max(0, self._silent - 1)
        elif tag in _BREAKING:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data.replace("\n", " "))
