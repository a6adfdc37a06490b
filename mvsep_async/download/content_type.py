"""Is it the file, or a page about why there is no file? Decided from the first bytes and the expected name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Final

from attrs import frozen

__all__ = ["ENOUGH", "WrongContent", "detect_wrong_content", "kind_of"]

ENOUGH: Final = 512
"""First bytes that suffice to decide; fewer are judged when there are no more."""

_HTML: Final = re.compile(
    rb"(?is)\s*(?:<!--.*?-->\s*|<\?xml[^>]*>\s*)*<(?:!doctype\s+html|html|head|body|title|meta|script|h1|center|pre)\b"
)
_TEXTUAL: Final = frozenset({".txt", ".json", ".srt", ".vtt", ".csv", ".lrc", ".xml", ".musicxml", ".md", ".lab"})
"""Results that are text by right: transcriptions, subtitles, chords, beats."""

_CONTROLS: Final = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")
_WIDE_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_GZIP: Final = b"\x1f\x8b\x08"
_GZIPPED: Final = frozenset({".gz", ".tgz"})

_JSON_START: Final = re.compile(rb'\s*[{\[]\s*["{\[\]}\-0-9tfn]')


def _mpeg(head: bytes) -> bool:
    """An ID3 tag, or an MPEG audio frame: 11 sync bits, then a version, layer, bit rate and sample rate that exist."""
    if head[:3] == b"ID3":
        return True
    return (
        len(head) >= 3
        and head[0] == 0xFF
        and head[1] != 0xFE  # layer I, which nobody makes: this is how text in UTF-16 begins
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x18 != 0x08
        and head[2] & 0xF0 != 0xF0
        and head[2] & 0x0C != 0x0C
    )


_MAGIC: Final[tuple[tuple[str, Callable[[bytes], bool]], ...]] = (
    ("wav", lambda head: head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE"),
    ("flac", lambda head: head[:4] == b"fLaC"),
    ("m4a", lambda head: head[4:8] == b"ftyp"),
    ("ogg", lambda head: head[:4] == b"OggS"),
    ("aiff", lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")),
    ("webm", lambda head: head[:4] == b"\x1a\x45\xdf\xa3"),
    ("midi", lambda head: head[:4] == b"MThd"),
    ("zip", lambda head: head[:4] in (b"PK\x03\x04", b"PK\x05\x06")),
    ("mp3", _mpeg),
)
"""First bytes of what the service gives or takes, the sure ones first."""


def kind_of(head: bytes) -> str | None:
    """Name the format that the first bytes belong to, `None` if it is none we know."""
    return next((kind for kind, matches in _MAGIC if matches(head)), None)


@frozen
class WrongContent:
    """Something else in place of the file. `page`: an HTML page, as the service's edge sends when it is busy."""

    why: str
    page: bool = False


def detect_wrong_content(head: bytes, name: str, *, content_type: str = "") -> WrongContent | None:
    """Return what the first bytes are if they cannot be the file `name`, `None` if they can.

    A format we know is always welcome, whatever the name says; unknown binary data too: new formats come. An HTML page
    never is, and JSON or other text only where the name expects text.
    """
    if not head:
        return WrongContent("the server sent an empty file")
    if kind_of(head) is not None:
        return None
    if head.startswith(_WIDE_BOMS):
        head = head.decode("utf-16", "replace").encode()
    head = head.removeprefix(b"\xef\xbb\xbf")
    kind = content_type.split(";")[0].strip().lower()
    textual = PurePath(name).suffix.lower() in _TEXTUAL
    if _HTML.match(head) or (kind == "text/html" and not textual):
        return WrongContent("the server sent an HTML page instead of the file", page=True)
    if head.startswith(_GZIP) and PurePath(name).suffix.lower() not in _GZIPPED:
        return WrongContent("the server sent something compressed instead of the file", page=True)
    if textual:
        return None
    if kind == "application/json" or kind.endswith("+json") or _JSON_START.match(head):
        return WrongContent("the server sent a JSON message instead of the file")
    if _is_text(head):
        return WrongContent("the server sent text instead of the file")
    return None


def _is_text(head: bytes) -> bool:
    """Tell whether this reads as text, in whatever encoding: ASCII or UTF-8 somewhere, and no control characters."""
    return _CONTROLS.isdisjoint(head) and bool(head.decode(errors="ignore"))
