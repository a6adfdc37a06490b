"""Detect error pages and messages sent in place of a file, from the first bytes and the expected name."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final

from attrs import frozen

from mvsep_async.audio.formats import detect_format, is_text

__all__ = ["WrongContent", "detect_wrong_content"]

_HTML: Final = re.compile(
    rb"(?is)\s*(?:<!--.*?-->\s*|<\?xml[^>]*>\s*)*<(?:!doctype\s+html|html|head|body|title|meta|script|h1|center|pre)\b"
)
_TEXTUAL: Final = frozenset({".txt", ".json", ".srt", ".vtt", ".csv", ".lrc", ".xml", ".musicxml", ".md", ".lab"})
"""Results that are text: transcriptions, subtitles, chords, beats."""

_WIDE_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_GZIP: Final = b"\x1f\x8b\x08"
_GZIPPED: Final = frozenset({".gz", ".tgz"})

_JSON_START: Final = re.compile(rb'\s*[{\[]\s*["{\[\]}\-0-9tfn]')


@frozen
class WrongContent:
    """Other content in place of the file. `page`: an HTML page, as the service's edge sends when it is busy."""

    why: str
    page: bool = False


def detect_wrong_content(head: bytes, name: str, *, content_type: str = "") -> WrongContent | None:
    """Return what the first bytes are if they are not the file `name`, else `None`.

    Every known format and unknown binary data is accepted, whatever the name. An HTML page is not accepted; JSON and
    other text only if the name is that of a text file.
    """
    if not head:
        return WrongContent("the server sent an empty file")
    if detect_format(head) is not None:
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
    if is_text(head):
        return WrongContent("the server sent text instead of the file")
    return None
