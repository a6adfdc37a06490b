"""Write the tags and cover of a song to its stems. Everything here blocks."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from mvsep_async.audio.formats import HEAD, detect_format
from mvsep_async.audio.tags import DAMAGED, ID3_FRAMES, MP4_ATOMS, Cover, Tags

__all__ = ["write_tags"]

_FLAC_COVER: Final = (1 << 24) - 1024
"""Most bytes of a cover in FLAC, whose blocks have a length of 24 bits, with room for the other fields of the block."""

_SUFFIX: Final = ".tags"
"""Suffix of the copy that is tagged; a copy that a killed run left is overwritten."""


def write_tags(path: Path, tags: Tags, stem: str) -> str | None:
    """Give the stem at `path` the song's tags, its title followed by the stem's name; return why not, or `None`.

    The tags are written into a copy that takes the stem's place when it is complete and on disk. MP3, FLAC, M4A and WAV
    can be tagged; other results are left as they are. The sound is not touched. A cover that is too large for the
    format is left out.
    """
    import mutagen

    with path.open("rb") as file:
        kind = detect_format(file.read(HEAD))
    if kind not in ("mp3", "flac", "m4a", "wav"):
        return None
    title = tags.get("title")
    texts = {**tags.texts, "title": f"{title} ({stem})" if title else stem}
    cover = tags.cover
    left_out = None
    if kind == "flac" and cover is not None and len(cover.data) > _FLAC_COVER:
        left_out = f"its cover of {len(cover.data) / 1024**2:.0f} MiB was left out: FLAC takes at most 16 MiB"
        cover = None
    copy = path.with_name(f".{path.name}{_SUFFIX}")
    try:
        shutil.copyfile(path, copy)
        _write(copy, kind, texts, cover)
        with copy.open("rb+") as file:
            os.fsync(file.fileno())
        copy.replace(path)
    except (mutagen.MutagenError, *DAMAGED) as error:
        copy.unlink(missing_ok=True)
        return f"its tags could not be written: {str(error)[:150] or type(error).__name__}"
    return left_out


def _write(path: Path, kind: str, texts: dict[str, str], cover: Cover | None) -> None:
    module, name, write = {
        "flac": ("mutagen.flac", "FLAC", _fill_comments),
        "m4a": ("mutagen.mp4", "MP4", _fill_atoms),
        "wav": ("mutagen.wave", "WAVE", _fill_frames),
        "mp3": ("mutagen.mp3", "MP3", _fill_frames),
    }[kind]
    file: Any = getattr(import_module(module), name)(path)
    if file.tags is None:
        file.add_tags()
    write(file, texts, cover)
    file.save()


def _fill_frames(file: Any, texts: dict[str, str], cover: Cover | None) -> None:
    id3: Any = import_module("mutagen.id3")
    for name, text in texts.items():
        file.tags.setall(ID3_FRAMES[name], [getattr(id3, ID3_FRAMES[name])(encoding=3, text=[text])])
    if cover is not None:
        file.tags.setall("APIC", [id3.APIC(encoding=3, mime=cover.mime, type=3, desc="Cover", data=cover.data)])


def _fill_comments(file: Any, texts: dict[str, str], cover: Cover | None) -> None:
    for name, text in texts.items():
        file.tags[name] = text
    for number, total in (("tracknumber", "tracktotal"), ("discnumber", "disctotal")):
        if "/" in texts.get(number, ""):
            file.tags[number], file.tags[total] = texts[number].split("/", 1)
    if cover is not None:
        picture: Any = import_module("mutagen.flac").Picture()
        picture.type, picture.mime, picture.data = 3, cover.mime, cover.data
        file.clear_pictures()
        file.add_picture(picture)


def _fill_atoms(file: Any, texts: dict[str, str], cover: Cover | None) -> None:
    for name, text in texts.items():
        atom = MP4_ATOMS.get(name)
        if atom in ("trkn", "disk"):
            number, _, total = text.partition("/")
            file.tags[atom] = [(_int(number), _int(total))]
        elif atom == "tmpo":
            file.tags[atom] = [_int(text)]
        elif atom is not None:
            file.tags[atom] = [text]
    if cover is not None:
        made: Any = import_module("mutagen.mp4").MP4Cover
        kind = made.FORMAT_PNG if cover.mime == "image/png" else made.FORMAT_JPEG
        file.tags["covr"] = [made(cover.data, imageformat=kind)]


def _int(text: str) -> int:
    """Return the number that a tag begins with, at most what the atom holds; 0 where there is none."""
    digits = text.strip().split(".")[0]
    return min(int(digits[:6]), 0xFFFF) if digits.isascii() and digits[:6].isdigit() else 0
