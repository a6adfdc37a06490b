"""`config`: what is configured, and where it comes from."""

from __future__ import annotations

import os
from typing import Final

from attrs import frozen

from mvsep_async.cli.listings import Column, list_rows
from mvsep_async.cli.settings import COMMON, TOKEN_VARIABLE, URL_VARIABLE, Common, settings
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


def config(*, common: Common = COMMON) -> int:
    """Show the configuration, and where each value comes from.

    Flags go before the environment, and the environment before the file. The file is TOML: `token`, `base_url`, `out`,
    `format` and `algorithm`, each a text.
    """
    known = settings(common)
    exists = known.path.exists()
    rows = [
        _Row("token", None if known.token is None else Token.MASK, known.token_origin),
        _Row("base_url", known.base_url.value, known.base_url.origin),
        _Row("out", known.out.value, known.out.origin),
        _Row("format", known.format.value, known.format.origin),
        _Row("algorithm", known.algorithm.value, known.algorithm.origin),
        _Row("configuration file", str(known.path), "there" if exists else "not there"),
        *(_Row(name, "set" if os.environ.get(name) else "not set", "environment") for name in _VARIABLES),
    ]
    list_rows(rows, _COLUMNS, json=common.json)
    if not common.json and known.token is None:
        terminal().note(f"no token yet: run `mvsep-async login`, or set {TOKEN_VARIABLE}")
    return 0
