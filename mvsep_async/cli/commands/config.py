"""`config`: what is configured, and where it comes from."""

from __future__ import annotations

import os
from typing import Final

from attrs import frozen

from mvsep_async.cli.config import COMMON, TOKEN_VARIABLE, URL_VARIABLE, CommonOptions, load_config
from mvsep_async.cli.tables import Column, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.http.token import Token

__all__ = ["config"]

_VARIABLES: Final = (TOKEN_VARIABLE, URL_VARIABLE)


@frozen
class _Row:
    setting: str
    value: str | None
    origin: str


_COLUMNS: Final[tuple[Column[_Row], ...]] = (
    Column("setting", lambda row: row.setting, style="bold"),
    Column("value", lambda row: row.value),
    Column("from", lambda row: row.origin),
)


def config(*, common: CommonOptions = COMMON) -> int:
    """Show the configuration, and where each value comes from.

    Flags go before the environment, and the environment before the file. The file is TOML: `token`, `base_url`, `out`,
    `format` and `algorithm`, each a text.
    """
    found = load_config(common)
    exists = found.path.exists()
    rows = [
        _Row("token", None if found.token is None else Token.MASK, found.token_origin),
        _Row("base_url", found.base_url.value, found.base_url.origin),
        _Row("out", found.out.value, found.out.origin),
        _Row("format", found.format.value, found.format.origin),
        _Row("algorithm", found.algorithm.value, found.algorithm.origin),
        _Row("configuration file", str(found.path), "there" if exists else "not there"),
        *(_Row(name, "set" if os.environ.get(name) else "not set", "environment") for name in _VARIABLES),
    ]
    print_rows(rows, _COLUMNS, json=common.json)
    if not common.json and found.token is None:
        terminal().note(f"no token yet: run `mvsep-async login`, or set {TOKEN_VARIABLE}")
    return 0
