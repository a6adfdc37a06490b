"""Read the tags, the cover and the length of a song of any format. Everything here blocks."""

from __future__ import annotations

import base64
import binascii
import os
import struct
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from attrs import frozen

__all__ = ["DAMAGED", "NOTHING", "Cover", "Tags", "read_tags"]


@frozen
class Cover:
    """The front cover: a JPEG or PNG picture."""

    data: bytes
    mime: str


@frozen
class Tags:
    """`texts` by names as in Vorbis comments, several values of one joined; `seconds`: `None` where it is not known."""

    texts: Mapping[str, str] = MappingProxyType({})
    seconds: float | None = None
    cover: Cover | None = None

    def get(self, *names: str) -> str:
        """Return the first of these that is there, else nothing."""
        return next((self.texts[name] for name in names if self.texts.get(name)), "")


NOTHING: Final = Tags()

_ID3, _MP4 = "ID3", "MP4Tags"
_FRONT: Final = 3
"""The type of a picture that is the cover, in ID3 and FLAC."""

ID3_FRAMES: Final = MappingProxyType(
    {
        "title": "TIT2",
        "artist": "TPE1",
        "albumartist": "TPE2",
        "album": "TALB",
        "tracknumber": "TRCK",
        "discnumber": "TPOS",
        "date": "TDRC",
        "genre": "TCON",
        "composer": "TCOM",
        "bpm": "TBPM",
        "isrc": "TSRC",
        "copyright": "TCOP",
    }
)
"""https://id3.org/id3v2.4.0-frames"""

MP4_ATOMS: Final = MappingProxyType(
    {
        "title": "©nam",
        "artist": "©ART",
        "albumartist": "aART",
        "album": "©alb",
        "tracknumber": "trkn",
        "discnumber": "disk",
        "date": "©day",
        "genre": "©gen",
        "composer": "©wrt",
        "bpm": "tmpo",
        "copyright": "cprt",
    }
)
"""As iTunes writes them; https://mutagen.readthedocs.io/en/latest/api/mp4.html"""


_READERS: Final = MappingProxyType(
    {
        "flac": ("mutagen.flac", "FLAC"),
        "wav": ("mutagen.wave", "WAVE"),
        "m4a": ("mutagen.mp4", "MP4"),
        "aiff": ("mutagen.aiff", "AIFF"),
    }
)


_WAV_HEADER: Final = 44
"""Bytes before the sound of a WAV file without further chunks."""

DAMAGED: Final = (OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, EOFError, struct.error)
"""Errors that mutagen raises for damaged files besides its own."""


def read_tags(path: str | BinaryIO, kind: str, *, cover: bool = False) -> Tags:
    """Return the tags of a song, empty for one that cannot be read.

    `path`: the path of a file, or an open file; `kind`: the format of its content, empty if it is not known.
    """
    import mutagen

    try:
        file = _reader(kind)(path)
        if file is None:
            return NOTHING
        seconds = _seconds(file, path)
        if file.tags is None:
            return Tags(seconds=seconds)
        return Tags(MappingProxyType(_texts(file.tags)), seconds, _cover(file) if cover else None)
    except (mutagen.MutagenError, *DAMAGED):
        return NOTHING


def _seconds(file: Any, path: str | BinaryIO) -> float | None:
    """Return the length of a song. A WAV whose header has none, since it was streamed, is as long as its file."""
    seconds = float(getattr(file.info, "length", 0) or 0)
    bitrate = file.info.bitrate if type(file).__name__ == "WAVE" else 0
    if bitrate:
        longest = max(0, _size(path) - _WAV_HEADER) * 8 / bitrate
        if not 0 < seconds <= longest + 1:
            seconds = longest
    return seconds or None


def _size(path: str | BinaryIO) -> int:
    return os.stat(path).st_size if isinstance(path, str) else path.seek(0, os.SEEK_END)  # noqa: PTH116


def _reader(kind: str) -> Callable[[str | BinaryIO], Any]:
    """Return mutagen's class for a format: asking it to guess would open each file some twenty times."""
    module, name = _READERS.get(kind, ("mutagen", "File"))
    found: Callable[[str | BinaryIO], Any] = getattr(import_module(module), name)
    return found


def _texts(tags: Any) -> dict[str, str]:
    if _ID3 in _named(tags):
        pairs = ((name, tags.get(frame)) for name, frame in ID3_FRAMES.items())
        return {name: _joined(frame.text) for name, frame in pairs if frame is not None}
    if _MP4 in _named(tags):
        return {name: _joined(tags[atom]) for name, atom in MP4_ATOMS.items() if atom in tags}
    texts = {name: _joined(tags[name]) for name in ID3_FRAMES if name in tags}
    for number, total in (("tracknumber", "tracktotal"), ("discnumber", "disctotal")):
        if number in texts and "/" not in texts[number] and total in tags:
            texts[number] = f"{texts[number]}/{_joined(tags[total])}"
    return texts


def _joined(values: Any) -> str:
    """Join several values; MP4 has numbers as pairs of number and total."""
    if isinstance(values, str):
        return values
    texts = (
        "/".join(str(part) for part in value if part) if isinstance(value, tuple) else str(value) for value in values
    )
    return "; ".join(text.strip() for text in texts if text.strip())


def _cover(file: Any) -> Cover | None:
    if _ID3 in _named(file.tags):
        found = sorted(file.tags.getall("APIC"), key=lambda frame: bool(frame.type != _FRONT))
        return Cover(found[0].data, found[0].mime) if found else None
    if _MP4 in _named(file.tags):
        for picture in file.tags.get("covr", ()):
            png = picture.imageformat == picture.FORMAT_PNG
            return Cover(bytes(picture), "image/png" if png else "image/jpeg")
        return None
    pictures = sorted(_pictures(file), key=lambda picture: bool(picture.type != _FRONT))
    return Cover(pictures[0].data, pictures[0].mime) if pictures else None


def _pictures(file: Any) -> list[Any]:
    flac: Any = import_module("mutagen.flac")
    pictures = list(getattr(file, "pictures", ()))
    for encoded in () if pictures else file.tags.get("metadata_block_picture", ()):
        try:
            pictures.append(flac.Picture(base64.b64decode(encoded)))
        except (flac.error, binascii.Error, ValueError):
            continue
    return pictures


def _named(tags: Any) -> frozenset[str]:
    """Return the classes of some tags, by name: those of WAV and AIFF files are kinds of ID3."""
    return frozenset(kind.__name__ for kind in type(tags).__mro__)
