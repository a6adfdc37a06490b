"""What a file of a music library is, judged by its first bytes; its name only says what to expect."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final

from attrs import frozen

from mvsep_async.catalogue.estimate import AUDIO_SUFFIXES
from mvsep_async.download.content_type import ENOUGH, detect_wrong_content, kind_of

__all__ = ["ENOUGH", "Wrong", "detect_format", "never_audio"]

_TAKEN: Final = frozenset({"wav", "flac", "m4a", "ogg", "aiff", "webm", "mp3"})
"""Contents that the service takes (its API page); `mp3` stands for AAC frames too, which begin like MPEG's."""

_SURE: Final = frozenset({"wav", "flac", "ogg", "aiff"})
"""Contents that are believed whatever the name says. Two sync bytes of MPEG, or the box of an MP4 or a Matroska file,
also begin other things than songs."""

_OTHER_AUDIO: Final = frozenset(
    {".ape", ".wma", ".wv", ".mpc", ".tta", ".dsf", ".dff", ".mka", ".ac3", ".dts", ".amr", ".ra", ".shn"}
)
"""Songs all the same, which the service does not take: they are not passed over in silence."""

_NEVER: Final = re.compile(
    r"""(?xi) .* [.] (?:
        jpe?g | png | gif | webp | bmp | tiff? | heic | avif | svg | ico | psd
        | pdf | txt | rtf | docx? | md | html? | url | xml | json | csv | nfo | log | cue | m3u8? | pls | lrc | srt
        | ini | sfv | md5 | ffp | st5 | accurip | db | sqlite | plist | torrent | part | tmp | crdownload
        | midi? | als | asd | reapeaks | pek | zip | rar | 7z | gz | tar | exe | dll | py
        | mp4 | m4v | mov | mkv | avi | mpe?g | wmv | flv | vob | ogv | 3gp | ts
    )"""
)
"""Names of what lies beside music and is none of it: not worth opening. Films are left alone, too."""


@frozen
class Wrong:
    """A file that looks like a song by its name, and is none."""

    why: str


def never_audio(name: str) -> bool:
    """Tell whether a file need not even be opened: hidden, or of a kind that is known to be no song."""
    return name.startswith(".") or _NEVER.fullmatch(name) is not None


def detect_format(name: str, head: bytes) -> str | Wrong | None:
    """Return the format of a song, what is wrong with what should be one, or `None` for what is no song at all.

    `head`: the first `ENOUGH` bytes, fewer only if there are no more.
    """
    suffix = PurePath(name).suffix.lower()
    kind = kind_of(head)
    if suffix in AUDIO_SUFFIXES:
        if not head:
            return Wrong("is empty")
        if kind in _TAKEN:
            return kind
        if kind is not None:
            return Wrong(f"is {kind}, not audio, whatever its name says")
        impostor = detect_wrong_content(head, name)
        return Wrong("is text, not audio, whatever its name says" if impostor else "is of no audio format that we know")
    if suffix in _OTHER_AUDIO:
        return Wrong(f"the service does not take {suffix} files: convert it, to FLAC for example")
    if kind in _SURE or head[:3] == b"ID3" or (kind == "m4a" and head[8:11] in (b"M4A", b"M4B")):
        return kind
    return None
