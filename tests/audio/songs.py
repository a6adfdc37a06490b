"""Small songs in every format, with tags where the format has them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import soundfile

Make = Callable[..., Path]

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6260000000000500010d0a2db4"
    "0000000049454e44ae426082"
)
_CONTAINERS = {".mp3": "MP3", ".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".aiff": "AIFF"}


def write_song(path: Path, seconds: float = 0.2, **tags: str) -> Path:
    """Write a song whose format and sound follow its name; `.m4a` has no real sound, but says how long it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower()
    if suffix == ".m4a":
        path.write_bytes(_mp4(seconds, path.name))
    else:
        frames = int(8000 * seconds)
        sound = 0.2 * np.sin(np.arange(frames) / (8 + crc32(path.name.encode("utf-8", "replace")) % 9999 / 1000))
        with path.open("wb") as file:
            soundfile.write(file, np.stack((sound, sound), axis=1), 8000, format=_CONTAINERS.get(suffix, "WAV"))
    if tags:
        write_plain_tags(path, **tags)
    settle(path)
    return path


def settle(path: Path) -> None:
    """Make a file a minute older: one that was written just now is waited for."""
    entry = path.stat()
    os.utime(path, ns=(entry.st_atime_ns, entry.st_mtime_ns - 60 * 10**9))


def write_plain_tags(path: Path, *, cover: bool = False, **texts: str) -> None:
    """Tag a file with mutagen alone, the way a tagger would."""
    import mutagen
    from mutagen import id3
    from mutagen.mp4 import MP4Cover

    from mvsep_async.audio.tags import ID3_FRAMES, MP4_ATOMS

    file: Any = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    for name, text in texts.items():
        match path.suffix:
            case ".mp3" | ".wav" | ".aiff":
                file.tags.add(getattr(id3, ID3_FRAMES[name])(encoding=3, text=[text]))
            case ".m4a" if name in ("tracknumber", "discnumber"):
                number, _, total = text.partition("/")
                file.tags[MP4_ATOMS[name]] = [(int(number), int(total or 0))]
            case ".m4a":
                file.tags[MP4_ATOMS[name]] = [text]
            case _:
                file.tags[name] = text
    if cover:
        match path.suffix:
            case ".mp3" | ".wav" | ".aiff":
                file.tags.add(id3.APIC(encoding=3, mime="image/png", type=3, desc="", data=PNG))
            case ".m4a":
                file.tags["covr"] = [MP4Cover(PNG, imageformat=MP4Cover.FORMAT_PNG)]
            case ".flac":
                from mutagen.flac import Picture

                picture = Picture()
                picture.type, picture.mime, picture.data = 3, "image/png", PNG
                file.add_picture(picture)
    file.save()


def _atom(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def _mp4(seconds: float, name: str) -> bytes:
    header = _atom(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 1000, int(1000 * seconds), 0, 0))
    handler = _atom(b"hdlr", struct.pack(">II4s12xx", 0, 0, b"soun"))
    media = _atom(b"mdia", header, handler)
    sound = _atom(b"mdat", name.encode("utf-8", "replace").ljust(64, b"\0"))
    return _atom(b"ftyp", b"M4A \0\0\0\0M4A isom") + _atom(b"moov", _atom(b"trak", media)) + sound
