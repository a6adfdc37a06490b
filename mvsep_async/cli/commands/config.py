"""`config`: show and change the configuration."""

from __future__ import annotations

import os
from typing import Final, Literal, TypeAlias

from anyio import to_thread
from attrs import asdict, frozen
from cyclopts import App

from mvsep_async.catalogue.presets import PRESETS
from mvsep_async.cli import config_file
from mvsep_async.cli.config import (
    COMMON,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    CommonOptions,
    address_of_region,
    load_config,
    parse_rate,
)
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.help import FLAGS
from mvsep_async.cli.library_options import library_settings
from mvsep_async.cli.tables import Column, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.http.hosts import Host
from mvsep_async.http.token import Token
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.postgres_url import PostgresURL, journal_address

__all__ = ["config"]

config = App(name="config", help="Show and change the configuration.", help_flags=FLAGS)

Key: TypeAlias = Literal["base_url", "region", "out", "format", "algorithm", "journal", "shared_files", "limit_rate"]

_PLAIN: Final = ("base_url", "out", "format", "algorithm", "shared_files", "limit_rate")
"""Settings that are shown as they are."""

_VARIABLES: Final = (TOKEN_VARIABLE, URL_VARIABLE)


@frozen
class _Row:
    setting: str
    value: str | None
    origin: str


_COLUMNS: Final[tuple[Column[_Row], ...]] = (
    Column("setting", lambda row: row.setting, style="bold"),
    Column("value", lambda row: row.value, wide="fold"),
    Column("from", lambda row: row.origin, wide="fold"),
)


@config.default
def show(*, common: CommonOptions = COMMON) -> int:
    """Show the configuration, and where each value comes from.

    Flags go before the environment, and the environment before the file. The file is TOML; its keys are `token`,
    `base_url`, `region`, `out`, `format`, `algorithm`, `journal`, `shared_files` and `limit_rate`, and again in each
    [profile.NAME]. [library] has the defaults of `mvsep-async library`.
    """
    found = load_config(common)
    rows = [
        _Row("token", None if found.token is None else Token.MASK, found.token_origin),
        *(_Row(name, value.value, value.origin) for name in _PLAIN for value in [getattr(found, name)]),
        _Row("journal", str(found.journal_path or "off"), found.journal.origin.replace("not set", "default")),
        *(
            _Row(f"library.{name}", ", ".join(value) if isinstance(value, tuple) else str(value), str(found.path))
            for name, value in asdict(library_settings(found), recurse=False).items()
            if value not in (None, (), False)
        ),
        _Row("configuration file", str(found.path), "exists" if found.path.exists() else "does not exist"),
        *(_Row(name, "set" if os.environ.get(name) else "not set", "environment") for name in _VARIABLES),
    ]
    print_rows(rows, _COLUMNS)
    if not common.json and found.token is None:
        terminal().note(f"no token yet: run `mvsep-async login`, or set {TOKEN_VARIABLE}")
    return 0


@config.command(name="set")
async def set_value(key: Key, value: str, /, *, common: CommonOptions = COMMON) -> int:
    """Set a value in the configuration file, or in a profile of it with --profile.

    Parameters
    ----------
    key
        The setting. The token is set by `mvsep-async login`.
    value
        The value. For journal: a file, a postgresql:// URL, or `off` for none.
    """
    path = config_file.config_path()
    if key == "journal" and isinstance(place := journal_address(value), PostgresURL):
        place.check()
        value, known = place.reveal(), str(place)
    else:
        _check(key, value)
        known = value
    await to_thread.run_sync(config_file.write, path, key, value, common.profile)
    shown = load_config(common)
    terminal().answer({"key": key, "value": known, "path": str(shown.path)}, f"{key} is {known} in {shown.path}")
    return 0


def _check(key: Key, value: str) -> None:
    """Raise an error for a value that every command would refuse."""
    match key:
        case "format":
            OutputFormat.parse(value)
        case "limit_rate":
            parse_rate(value)
        case "base_url":
            Host.parse(value)
        case "region":
            address_of_region(value)
        case "algorithm" if (preset := PRESETS.get(value.strip().lower())) is not None:
            raise UsageProblem(
                f"{value!r} is a preset, not an algorithm: `mvsep-async config set algorithm {preset.algorithm}` "
                "sets its algorithm"
            )
        case "shared_files" if value not in ("true", "false"):
            raise UsageProblem(f"shared_files is true or false, not {value!r}")


@config.command
async def unset(key: Key, /, *, common: CommonOptions = COMMON) -> int:
    """Remove a value from the configuration file, or from a profile of it with --profile.

    Parameters
    ----------
    key
        The setting to remove.
    """
    path = config_file.config_path()
    removed = await to_thread.run_sync(config_file.remove, path, key, common.profile)
    text = f"{key} was removed from {path}" if removed else f"{path} has no {key}"
    terminal().answer({"key": key, "removed": removed, "path": str(path)}, text)
    return 0
