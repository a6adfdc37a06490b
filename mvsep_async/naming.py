"""Safe file names: of songs and stems, by layouts, and of uploads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePath, PurePosixPath
from string import Formatter
from typing import Final
from urllib.parse import unquote, urlsplit

from mvsep_async.errors import InvalidRequestError

__all__ = [
    "NAME_LIMIT",
    "UPLOAD_NAME_LIMIT",
    "caseless",
    "check_layout",
    "distinct",
    "escaped",
    "fill",
    "placeholders",
    "safe_name",
    "song_name",
    "stem_path",
    "tag_in",
    "upload_name",
]

NAME_LIMIT: Final = 200
"""Bytes of UTF-8 that a name may have. Most file systems allow 255; the rest is for ` (2)`, `.part` and the like."""

UPLOAD_NAME_LIMIT: Final = 100
"""Characters that an uploaded file's name may have: how much of it the service keeps is not known."""

_SEPARATORS: Final = re.compile(r'[/\\<>:"|?*]')
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
"""Control, format (right-to-left overrides among them), lone surrogate, unassigned, line and paragraph separator."""

_RESERVED: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}
    | {device + digit for device in ("COM", "LPT") for digit in "0123456789¹²³"}
)
"""https://learn.microsoft.com/windows/win32/fileio/naming-a-file: device names, with any extension too."""

_EXTENSION: Final = re.compile(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,8}\Z")
_TRIMMED: Final = ". "


def safe_name(text: str, *, fallback: str = "unnamed", limit: int = NAME_LIMIT) -> str:
    """Return the text as one path component that every common file system accepts and that stays in its folder.

    The result is NFC, has at most `limit` bytes of UTF-8 (a short extension is kept), and is neither hidden nor a
    Windows device name. If nothing is left of the text, it is `fallback`.
    """
    text = "".join(
        " " if char.isspace() else char
        for char in unicodedata.normalize("NFC", text)
        if char.isspace() or unicodedata.category(char) not in _UNPRINTABLE
    )
    text = _SEPARATORS.sub("_", unicodedata.normalize("NFC", text))
    name = _cut(" ".join(text.split()).strip(_TRIMMED), limit)
    if name.split(".")[0].rstrip().upper() in _RESERVED:
        stem, dot, rest = name.partition(".")
        name = _cut(f"{stem.rstrip()}_{dot}{rest}", limit)
    return name or safe_name(fallback, fallback="_", limit=limit)


def distinct(names: Iterable[str], *, taken: Collection[str] = ()) -> list[str]:
    """Number names that a file system may take for the same, or for one of `taken`: `a.mp3`, `A (2).mp3`.

    Names are compared without case and Unicode composition, as on Windows and macOS. A number never makes a name that
    is also in `names`.
    """
    wanted = list(names)
    used = {caseless(name) for name in taken}
    reserved = {caseless(name) for name in wanted}
    result = []
    for name in wanted:
        chosen, number = name, 1
        while caseless(chosen) in used or (number > 1 and caseless(chosen) in reserved):
            number += 1
            chosen = _numbered(name, number)
        used.add(caseless(chosen))
        result.append(chosen)
    return result


def caseless(name: str | PurePath) -> str:
    """Return a key that is equal for names or paths that a file system without case may take for the same.

    It follows Unicode's canonical caseless matching.
    """
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", str(name)).casefold())


def upload_name(tag: str, filename: str, *, limit: int = UPLOAD_NAME_LIMIT) -> str:
    """Return `<tag>-<slug>.<ext>` for `filename`, in lower-case ASCII; if it is shortened, the tag remains."""
    base = _base(filename)
    extension = _extension(base)
    slug = _slug(base.removesuffix(extension))
    room = max(0, limit - len(tag) - len(extension) - 1)
    slug = slug[:room].strip("-")
    return (f"{tag}-{slug}" if slug else tag) + extension.lower()


def tag_in(text: str, tag: str) -> bool:
    """Return whether a hash or file name of the service contains the tag as a word, in any case."""
    return bool(tag) and re.search(rf"(?<![a-z0-9]){re.escape(tag.lower())}(?![a-z0-9])", text.lower()) is not None


def song_name(filename_or_url: str) -> str:
    """Return a song's name for display and folders: the last part of a path or URL, without its extension."""
    text = filename_or_url
    if re.match(r"(?i)https?://", text):
        text = unquote(_url_path(text))
    base = _base(text)
    return safe_name(base.removesuffix(_extension(base)), fallback="song")


def check_layout(layout: str, *, known: Collection[str] = ("song", "stem")) -> None:
    """Raise `InvalidRequestError` unless `layout` is a relative path of text and `known` placeholders in braces."""
    names = ", ".join(f"{{{name}}}" for name in known)
    try:
        fields = list(Formatter().parse(layout))
    except ValueError as error:
        raise InvalidRequestError(
            f"the layout {layout!r} has unpaired braces ({error}); the placeholders are {names}"
        ) from None
    for _, name, spec, conversion in fields:
        if name is not None and (name not in known or spec or conversion):
            shown = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise InvalidRequestError(
                f"the layout {layout!r} has the unknown placeholder {{{shown}}}; the placeholders are {names}"
            )
    segments = layout.split("/")
    if "\\" in layout or any(not segment.strip(_TRIMMED) for segment in segments):
        raise InvalidRequestError(
            f"the layout {layout!r} must be a relative path such as '{{song}}/{{stem}}', without empty parts, '.', "
            "'..' and backslashes"
        )


def stem_path(layout: str, *, ext: str, limit: int = NAME_LIMIT, **values: str) -> PurePosixPath:
    """Fill in `layout` and add the extension, with or without its dot. Only the layout's own `/` separate folders.

    Each part has at most `limit` bytes. Raises `InvalidRequestError` like `check_layout` with the names of `values`.
    """
    check_layout(layout, known=values)
    parts = [safe_name(_filled(segment, values), limit=limit) for segment in layout.split("/")]
    extension = _slug(ext)[:8]
    if extension:
        parts[-1] = safe_name(parts[-1], limit=limit - len(extension) - 1) + f".{extension}"
    return PurePosixPath(*parts)


def fill(pattern: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders that have a value by it, made safe for file names; keep the others."""
    parts = []
    for text, name, _, _ in Formatter().parse(pattern):
        parts.append(escaped(text))
        if name is not None and name in values:
            parts.append(escaped(safe_name(values[name])) if values[name].strip() else "")
        elif name is not None:
            parts.append(f"{{{name}}}")
    return "".join(parts)


def escaped(text: str) -> str:
    """Return text for use in a layout, with its braces doubled."""
    return text.replace("{", "{{").replace("}", "}}")


def placeholders(pattern: str) -> frozenset[str]:
    """Return the names of the placeholders in a layout."""
    return frozenset(name for _, name, _, _ in Formatter().parse(pattern) if name is not None)


def _filled(segment: str, values: Mapping[str, str]) -> str:
    return "".join(
        text + ("" if name is None else safe_name(values[name])) for text, name, _, _ in Formatter().parse(segment)
    )


def _cut(name: str, limit: int) -> str:
    """Shorten to `limit` bytes of UTF-8, not between a letter and its combining accents."""
    if len(name.encode()) <= limit:
        return name
    extension = _extension(name)
    room = limit - len(extension)
    stem = name.removesuffix(extension)
    kept = stem.encode()[: max(0, room)].decode(errors="ignore")
    while kept and unicodedata.category(stem[len(kept)]).startswith("M"):
        kept = kept[:-1]
    kept = kept.rstrip(_TRIMMED)
    return kept + extension if kept else ""


def _numbered(name: str, number: int) -> str:
    extension = _extension(name)
    return f"{name.removesuffix(extension)} ({number}){extension}"


def _base(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _extension(name: str) -> str:
    found = _EXTENSION.search(name)
    return found.group() if found and found.start() > 0 else ""


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _url_path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return url
