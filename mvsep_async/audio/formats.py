"""Detect audio formats by the first bytes of a file. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import PurePath
from typing import Final

from attrs import frozen

__all__ = [
    "AUDIO_SUFFIXES",
    "HEAD",
    "LONG_HEAD",
    "Rejected",
    "classify_file",
    "detect_format",
    "find_mpeg_audio",
    "is_never_audio",
    "is_text",
]

HEAD: Final = 512
"""First bytes of a file that suffice to tell its format, in all cases but MPEG audio behind other data."""

LONG_HEAD: Final = 64 * 1024
"""First bytes in which MPEG audio is searched for where a file's name promises it and its start is something else."""

AUDIO_SUFFIXES: Final = frozenset({".mp3", ".wav", ".flac", ".m4a", ".aac", ".ogg", ".opus", ".webm", ".aiff", ".aif"})
"""File name extensions that the service accepts (its API page)."""

MPEG_SUFFIXES: Final = frozenset({".mp3", ".aac"})

_ACCEPTED: Final = frozenset({"wav", "flac", "m4a", "ogg", "aiff", "webm", "mp3", "aac"})
"""Formats that the service accepts (its API page)."""

_CERTAIN: Final = frozenset({"wav", "flac", "ogg", "aiff"})
"""Formats that are believed whatever the file's name. Two sync bytes of MPEG, or the first box of an MP4 or a Matroska
file, also begin other files than songs."""

_OTHER_AUDIO: Final = frozenset(
    {".ape", ".wma", ".wv", ".mpc", ".tta", ".dsf", ".dff", ".mka", ".ac3", ".dts", ".amr", ".ra", ".shn"}
)
"""Audio that the service does not accept: it is reported, not skipped."""

_NEVER: Final = re.compile(
    r"""(?xi) .* [.] (?:
        jpe?g | png | gif | webp | bmp | tiff? | heic | avif | svg | ico | psd
        | pdf | txt | rtf | docx? | md | html? | url | xml | json | csv | nfo | log | cue | m3u8? | pls | lrc | srt
        | ini | sfv | md5 | ffp | st5 | accurip | db | sqlite | plist | torrent | part | tmp | crdownload
        | midi? | als | asd | reapeaks | pek | zip | rar | 7z | gz | tar | exe | dll | py
        | mp4 | m4v | mov | mkv | avi | mpe?g | wmv | flv | vob | ogv | 3gp | ts
    )"""
)
"""Names of files that commonly lie beside music: they are not opened. Videos are skipped, too."""

_CONTROLS: Final = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")


@frozen
class Rejected:
    """A file that is named like a song and cannot be sent."""

    reason: str


def is_never_audio(name: str) -> bool:
    """Tell whether a file need not be opened: hidden, or of a kind that is known not to be a song."""
    return name.startswith(".") or _NEVER.fullmatch(name) is not None


def classify_file(name: str, head: bytes) -> str | Rejected | None:
    """Return the format of a song, why a file named like one is rejected, or `None` for any other file.

    `head`: the first `HEAD` bytes or more, fewer only if the file is shorter.
    """
    suffix = PurePath(name).suffix.lower()
    format = detect_format(head)
    if suffix in AUDIO_SUFFIXES:
        if not head:
            return Rejected("is empty")
        if format is None and suffix in MPEG_SUFFIXES:
            format = find_mpeg_audio(head)
        if format in _ACCEPTED:
            return format
        if format is not None:
            return Rejected(f"is {format}, not audio, whatever its name says")
        return Rejected(
            "is text, not audio, whatever its name says" if is_text(head) else "is of no known audio format"
        )
    if suffix in _OTHER_AUDIO:
        return Rejected(f"the service does not accept {suffix} files: convert it, to FLAC for example")
    if format in _CERTAIN or head[:3] == b"ID3" or (format == "m4a" and head[8:11] in (b"M4A", b"M4B")):
        return format
    return None


def detect_format(head: bytes) -> str | None:
    """Return the format that the first bytes of a file belong to, `None` for an unknown one."""
    return next((format for format, matches in _MAGIC if matches(head)), None)


def find_mpeg_audio(head: bytes) -> str | None:
    """Return the format of MPEG audio that begins behind zeros, a tag or other data, `None` if there is none.

    Several frames in a row are asked for: sync bytes alone occur in any data.
    """
    from mutagen.aac import AACError, AACInfo
    from mutagen.mp3 import HeaderNotFoundError, MPEGInfo

    with suppress(HeaderNotFoundError):
        if not MPEGInfo(BytesIO(head)).sketchy:
            return "mp3"
    with suppress(AACError):
        AACInfo(BytesIO(head))
        return "aac"
    return None


def is_text(head: bytes) -> bool:
    """Tell whether bytes read as text in any encoding: some of it ASCII or UTF-8, and no control characters."""
    return _CONTROLS.isdisjoint(head) and bool(head.decode(errors="ignore"))


def _adts(head: bytes) -> bool:
    """A frame of AAC: 12 sync bits, layer 0, one of 13 sample rates."""
    return len(head) >= 3 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and (head[2] >> 2) & 0xF <= 12


def _mpeg(head: bytes) -> bool:
    """An ID3 tag, or an MPEG audio frame: 11 sync bits, then a version, layer, bit rate and sample rate that exist."""
    if head[:3] == b"ID3":
        return True
    return (
        len(head) >= 3
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] != 0xFE  # layer I, which is not in use: text in UTF-16 begins like this
        and head[1] & 0x06 != 0x00
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
    ("aac", _adts),
    ("mp3", _mpeg),
)
"""First bytes of what the service accepts or sends, the most certain first."""
