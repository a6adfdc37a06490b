"""How a library is separated: by the command line, the configuration file, and what is remembered of its last run."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

from attrs import asdict, evolve, frozen
from cyclopts import Parameter, validators

from mvsep_async.cli import config_file
from mvsep_async.cli.complete import AlgorithmName, FormatName, GivenJournal, PresetName
from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.help import ADVANCED
from mvsep_async.http.call import Json
from mvsep_async.postgres_url import JournalAddress, PostgresURL, journal_address

__all__ = ["LIBRARY", "LibraryOptions", "LibrarySettings", "library_settings", "read_settings"]

_Order = Literal["as-found", "shortest-first"]


@Parameter(name="*")
@frozen(kw_only=True)
class LibraryOptions:
    """The options that the configuration file may set too; `None` or empty where nothing is said."""

    algorithm: Annotated[tuple[AlgorithmName, ...], Parameter(alias="-a", metavar="NAME")] = ()
    """Name or number, see `mvsep-async algorithms`. Repeatable: with several, each song is separated by each."""
    preset: Annotated[tuple[PresetName, ...], Parameter(metavar="NAME")] = ()
    """A preset in place of an algorithm; repeatable. `mvsep-async algorithms` lists the presets."""
    recipe: Annotated[Path | None, Parameter(group=ADVANCED)] = None
    """A TOML file with a chain of separations in place of an algorithm."""
    opt: Annotated[tuple[str, ...], Parameter(alias="-p", metavar="NAME=VALUE", group=ADVANCED)] = ()
    """An option of the algorithm; repeatable. NAME is its label or add_optN, VALUE one of its choices; `mvsep-async
    algorithms show` lists them."""
    format: Annotated[FormatName | None, Parameter(alias="-f", metavar="FORMAT")] = None
    """mp3 (the default), wav, flac, m4a, wav32 or flac24. wav is wav16, flac is flac16."""
    stems: Annotated[tuple[str, ...], Parameter(metavar="STEM")] = ()
    """Keep only this stem, such as Vocals; repeatable."""
    layout: Annotated[str | None, Parameter(metavar="PATTERN")] = None
    """File names from tags; by default as in SOURCE. For example "{artist}/{album}/{track} {title}/{stem}.{ext}"."""
    include: Annotated[tuple[str, ...], Parameter(metavar="PATTERN")] = ()
    """Only songs like this, such as "*.flac"; repeatable. A pattern with a slash, such as "live/*", is for paths below
    SOURCE."""
    exclude: Annotated[tuple[str, ...], Parameter(metavar="PATTERN")] = ()
    """No songs like this; repeatable."""
    max_credits: Annotated[int | None, Parameter(metavar="N", validator=validators.Number(gte=0))] = None
    """Spend at most N credits, by estimate."""
    copy_tags: Annotated[bool | None, Parameter(negative="--no-copy-tags", group=ADVANCED)] = None
    """Write each song's tags and cover into its stems."""
    report: Annotated[Path | None, Parameter(metavar="FILE")] = None
    """Write a page that plays the stems, as HTML."""
    journal: Annotated[GivenJournal | None, Parameter(group=ADVANCED)] = None
    """File that records the jobs, so that nothing is paid twice, or a postgresql:// URL; by default a file in
    TARGET."""
    order: Annotated[_Order | None, Parameter(group=ADVANCED)] = None
    """Which songs are sent first: as-found, the default, or shortest-first."""

    def over(self, default: LibrarySettings, source: Path | None, target: Path | None) -> LibrarySettings:
        """Return these options and folders, with the settings of `default` for what they do not say."""
        given = asdict(self, recurse=False) | {"source": source, "target": target}
        said = {name: value for name, value in given.items() if value not in (None, ())}
        if said.keys() & {"algorithm", "preset", "recipe"}:
            default = evolve(default, algorithm=(), preset=(), recipe=None, opt=())
        return evolve(default, **said)


LIBRARY: Final = LibraryOptions()


@frozen(kw_only=True)
class LibrarySettings(LibraryOptions):
    """All that the table `[library]` of the configuration file sets, or the command line in its place."""

    source: Path | None = None
    target: Path | None = None

    def document(self) -> dict[str, Json]:
        """Return what is needed to finish the songs of the library later, in a form that can be stored."""
        kept = ("source", "algorithm", "preset", "recipe", "opt", "format", "stems", "layout", "copy_tags")
        said = {name: value for name in kept if (value := getattr(self, name)) not in (None, ())}
        return {
            name: str(value.absolute())
            if isinstance(value, Path)
            else list(value)
            if isinstance(value, tuple)
            else value
            for name, value in said.items()
        }


def library_settings(config: CommandConfig) -> LibrarySettings:
    """Return the settings of the configuration file, those of the profile first.

    Raises `UsageProblem` for an unknown setting, or one of the wrong type.
    """
    table = config_file.read_table(config.path, "library", config.profile)
    return LibrarySettings(**read_settings(table, f"[library] of {config.path}"))


def read_settings(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return settings as `LibrarySettings` takes them; raises `UsageProblem` as `library_settings` does."""
    return {key: _read(key, value, where) for key, value in table.items()}


def _read(key: str, value: object, where: str) -> object:
    if key not in _READERS:
        near = difflib.get_close_matches(key, _READERS, 1)
        hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(_READERS)}"
        raise UsageProblem(f"{where} has the unknown setting {key!r}: {hint}")
    read, wanted = _READERS[key]
    found = read(value)
    if found is None:
        raise UsageProblem(f"{where} sets {key} to {value!r}: {key} has to be {wanted}")
    return found


def _journal(value: object) -> JournalAddress | None:
    place = journal_address(value) if isinstance(value, str) and value else None
    return config_file.expand_home(str(place)) if isinstance(place, Path) else place


def _texts(value: object) -> tuple[str, ...] | None:
    items = value if isinstance(value, list) else [value]
    if all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
        return tuple(map(str, items))
    return None


_BY_TYPE: Final[Mapping[object, tuple[Callable[[object], object], str]]] = {
    str | None: (lambda value: value if isinstance(value, str) and value else None, "text"),
    Path | None: (lambda value: config_file.expand_home(value) if isinstance(value, str) and value else None, "a path"),
    tuple[str, ...]: (_texts, 'text, or a list such as ["a", "b"]'),
    _Order | None: (lambda value: value if value in get_args(_Order) else None, " or ".join(get_args(_Order))),
    int | None: (
        lambda value: value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None,
        "a number",
    ),
    bool | None: (lambda value: value if isinstance(value, bool) else None, "true or false"),
    Path | PostgresURL | None: (_journal, "a path or a postgresql:// URL"),
}
_READERS: Final = {name: _BY_TYPE[kind] for name, kind in get_type_hints(LibrarySettings).items()}
