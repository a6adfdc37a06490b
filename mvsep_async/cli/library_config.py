"""The `[library]` table of the configuration file: defaults of `mvsep-async library`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from attrs import frozen

from mvsep_async.cli import config_file
from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.postgres_url import JournalAddress, journal_address

__all__ = ["LibrarySettings", "Order", "library_settings"]

Order = Literal["as-found", "shortest-first"]


@frozen(kw_only=True)
class LibrarySettings:
    """What the table sets; `None` or empty where it sets nothing. The names are those of the options."""

    source: Path | None = None
    target: Path | None = None
    algorithm: tuple[str, ...] = ()
    preset: tuple[str, ...] = ()
    recipe: Path | None = None
    opt: tuple[str, ...] = ()
    format: str | None = None
    stems: tuple[str, ...] = ()
    layout: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    order: Order | None = None
    max_credits: int | None = None
    copy_tags: bool = False
    report: Path | None = None
    journal: JournalAddress | None = None


def library_settings(config: CommandConfig) -> LibrarySettings:
    """Return the settings of the configuration file, those of the profile first.

    Raises `UsageProblem` for an unknown setting, or one of the wrong type.
    """
    table = config_file.read_table(config.path, "library", config.profile)
    return LibrarySettings(**{key: _read(key, value, config.path) for key, value in table.items()})


def _read(key: str, value: Any, path: Path) -> Any:
    if key not in _READERS:
        near = difflib.get_close_matches(key, _READERS, 1)
        hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(_READERS)}"
        raise UsageProblem(f"[library] of {path} has the unknown setting {key!r}: {hint}")
    read, wanted = _READERS[key]
    found = read(value)
    if found is None:
        raise UsageProblem(f"[library] of {path} sets {key} to {value!r}: {key} has to be {wanted}")
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _path(value: object) -> Path | None:
    return config_file.expand_home(value) if isinstance(value, str) and value else None


def _journal(value: object) -> JournalAddress | None:
    place = journal_address(value) if isinstance(value, str) and value else None
    return config_file.expand_home(str(place)) if isinstance(place, Path) else place


def _texts(value: object) -> tuple[str, ...] | None:
    items = value if isinstance(value, list) else [value]
    if all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
        return tuple(map(str, items))
    return None


def _order(value: object) -> str | None:
    return value if value in get_args(Order) and isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


_TEXT: Final = (_text, "text")
_PATH: Final = (_path, "a path")
_LIST: Final = (_texts, 'text, or a list such as ["a", "b"]')
_READERS: Final[Mapping[str, tuple[Callable[[object], object], str]]] = {
    "source": _PATH,
    "target": _PATH,
    "algorithm": _LIST,
    "preset": _LIST,
    "recipe": _PATH,
    "opt": _LIST,
    "format": _TEXT,
    "stems": _LIST,
    "layout": _TEXT,
    "include": _LIST,
    "exclude": _LIST,
    "order": (_order, " or ".join(get_args(Order))),
    "max_credits": (_count, "a number"),
    "copy_tags": (_flag, "true or false"),
    "report": _PATH,
    "journal": (_journal, "a path or a postgresql:// URL"),
}
