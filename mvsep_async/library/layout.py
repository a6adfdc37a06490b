"""Layouts: the paths of a song's stems, as a pattern that is filled in for each song. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

from attrs import frozen

from mvsep_async.audio.tags import Tags
from mvsep_async.errors import InvalidRequestError
from mvsep_async.naming import check_layout, escaped, fill, placeholders, safe_name, song_name

__all__ = ["PLACEHOLDERS", "Layout", "mirror", "values_of"]

_LATE: Final = ("stem", "step", "algorithm")
"""Placeholders that are filled in for each stem."""

_FROM_TAGS: Final = ("albumartist", "artist", "album", "title", "track", "disc", "year", "genre", "composer")

PLACEHOLDERS: Final = ("folder", "song", *_FROM_TAGS, *_LATE)
"""All placeholders of a layout, besides `.{ext}` at its end."""

_OF_THE_SONG: Final = frozenset({"folder", "song", *_FROM_TAGS})

_UNKNOWN: Final = MappingProxyType(
    {"artist": "Unknown artist", "albumartist": "Unknown artist", "album": "Unknown album"}
)


@frozen
class Layout:
    """A checked pattern of paths below the target folder."""

    text: str

    @classmethod
    def parse(cls, text: str, *, several: bool = False) -> Layout:
        """Check a layout such as `{albumartist}/{album}/{track} {title}/{stem}.{ext}`; the extension may be left out.

        `several`: more than one separation of a song keeps stems, so the layout must keep them apart. Raises
        `InvalidRequestError` for an unknown placeholder, and for a layout that gives many stems one name.
        """
        pattern = text.removesuffix(".{ext}")
        check_layout(pattern, known=PLACEHOLDERS)
        layout = cls(pattern)
        if "stem" not in layout.names:
            raise InvalidRequestError(f"the layout {text!r} needs {{stem}}, or all stems of a song have one name")
        if several and not layout.names & {"step", "algorithm"}:
            raise InvalidRequestError(
                f"the layout {text!r} needs {{algorithm}} or {{step}}: a song gets stems from more than one separation"
            )
        return layout

    @property
    def names(self) -> frozenset[str]:
        """The placeholders that it has."""
        return placeholders(self.text)

    def place(self, values: Mapping[str, str]) -> str:
        """Return the place of one song: this layout with all placeholders of the song filled in."""
        segments = []
        for segment in self.text.split("/"):
            if segment == "{folder}":
                segments += [escaped(safe_name(part)) for part in values["folder"].split("/") if part]
            else:
                segments.append(_trimmed(fill(segment, values)))
        return "/".join(segments)

    def numbered(self, place: str, number: int) -> str:
        """Return the place for the `number`th song of the same place."""
        segments = place.split("/")
        # The number goes into the last segment that depends on the song; counted from the end, because `{folder}` may
        # have become several segments.
        behind = [bool(placeholders(segment) & _OF_THE_SONG) for segment in reversed(self.text.split("/"))]
        index = -1 - behind.index(True) if True in behind else -1
        index = max(index, -len(segments))  # `{folder}` is empty and was the only placeholder of the song
        segments[index] += f" ({number})"
        return "/".join(segments)


def mirror(*, several: bool) -> Layout:
    """Return the layout that mirrors the folders of the source."""
    return Layout("{folder}/{song}/{step}/{stem}" if several else "{folder}/{song}/{stem}")


def values_of(name: str, tags: Tags) -> dict[str, str]:
    """Return what a layout is filled with for the song `name`, a path below the source folder, and its tags.

    A missing title is the file's name, a missing album artist the artist; numbers have two digits.
    """
    path = PurePosixPath(os.fsencode(name).decode("utf-8", "replace"))
    artist = tags.get("artist", "albumartist")
    values = {
        "folder": "" if str(path.parent) == "." else str(path.parent),
        "song": song_name(path.name),
        "title": tags.get("title") or song_name(path.name),
        "artist": artist,
        "albumartist": tags.get("albumartist") or artist,
        "album": tags.get("album"),
        "track": _number(tags.get("tracknumber")),
        "disc": _number(tags.get("discnumber")),
        "year": next(iter(re.findall(r"\d{4}", tags.get("date"))), ""),
        "genre": tags.get("genre"),
        "composer": tags.get("composer"),
    }
    return {key: value or _UNKNOWN.get(key, "") for key, value in values.items()}


def _number(text: str) -> str:
    found = re.match(r"\s*(\d{1,4})", text)
    return f"{int(found[1]):02d}" if found else ""


def _trimmed(segment: str) -> str:
    return " ".join(segment.split()).strip(". ") or "unnamed"
