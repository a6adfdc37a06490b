"""What holds for a command: flags before the environment before the configuration file before the defaults."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

from attrs import define, frozen
from cyclopts import Group, Parameter

from mvsep_async.cli import config_file
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.terminal import enable_debug_log, terminal
from mvsep_async.client import MVSepClient
from mvsep_async.http.hosts import DEFAULT_BASE_URL, Host
from mvsep_async.http.token import Token
from mvsep_async.observe.events import Event, Retried

__all__ = [
    "COMMON",
    "TOKEN_VARIABLE",
    "URL_VARIABLE",
    "CommandConfig",
    "CommonOptions",
    "ConfigValue",
    "connect",
    "load_config",
]

TOKEN_VARIABLE: Final = "MVSEP_API_TOKEN"  # noqa: S105 -- a name
URL_VARIABLE: Final = "MVSEP_BASE_URL"

_EVERYWHERE: Final = Group("Everywhere", sort_key=100)
_SAYING: Final = 60.0
"""Seconds before it is said again that the service does not answer."""

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@Parameter(name="*", group=_EVERYWHERE)
@frozen(kw_only=True)
class CommonOptions:
    """What every command takes."""

    base_url: str | None = None
    """Address of the service, by default MVSEP_BASE_URL, else https://mvsep.com."""
    json: bool = False
    """Write JSON to standard output, and nothing else."""
    verbose: Annotated[bool, Parameter(alias="-v")] = False
    """Show what happens on the wire, on standard error; the token is left out."""


COMMON: Final = CommonOptions()


@frozen
class ConfigValue:
    """One setting, and where it comes from; `value` is `None` where nothing gives it."""

    value: str | None
    origin: str


@frozen
class CommandConfig:
    """Everything that is configured, resolved."""

    path: Path
    base_url: ConfigValue
    out: ConfigValue
    format: ConfigValue
    algorithm: ConfigValue
    token: Token | None = None
    token_origin: str = ""

    @property
    def host(self) -> Host:
        """The service's address, read; raises `ConfigurationError` for what is none."""
        return Host.parse(self.base_url.value or DEFAULT_BASE_URL)


def load_config(common: CommonOptions, environ: Mapping[str, str] = os.environ) -> CommandConfig:
    """Resolve all settings; raises `UsageProblem` for a configuration file that cannot be used."""
    if common.verbose:
        enable_debug_log()
    path = config_file.config_path(environ)
    filed = config_file.read(path)
    holds_token = "token" in filed
    token, origin = _token(environ, filed, path)
    if holds_token and config_file.exposed(path):
        terminal().note(f"warning: others may read the token in {path}: chmod 600 {path}")
    return CommandConfig(
        path=path,
        base_url=_first(
            (common.base_url, "--base-url"),
            (environ.get(URL_VARIABLE), URL_VARIABLE),
            (filed.get("base_url"), str(path)),
            (DEFAULT_BASE_URL, "default"),
        ),
        out=_first((filed.get("out"), str(path)), ("stems", "default")),
        format=_first((filed.get("format"), str(path)), ("mp3", "default")),
        algorithm=_first((filed.get("algorithm"), str(path))),
        token=token,
        token_origin=origin,
    )


def connect(
    config: CommandConfig,
    *,
    needs_token: bool = False,
    concurrency: int | None = None,
    journal: Path | None = None,
    poll_interval: float | None = None,
) -> MVSepClient:
    """Return a client with these settings; raises `UsageProblem` without a token that is needed."""
    if needs_token and config.token is None:
        raise UsageProblem(
            f"no API token: run `mvsep-async login`, or set {TOKEN_VARIABLE} (it stands on the account page of the "
            "service)"
        )
    local = config.host.name in _LOOPBACK  # a sandbox: its port is another one every time
    return MVSepClient(
        "" if config.token is None else config.token.reveal(),
        base_url=config.base_url.value,
        concurrency=concurrency,
        journal=journal,
        poll_interval=poll_interval,
        cache=None if local else config_file.cache_folder(),
        on_event=_Waiting(),
    )


@define
class _Waiting:
    """Says why nothing happens while the service does not answer, once a minute at the most."""

    clock: Callable[[], float] = time.monotonic
    _said: float = float("-inf")

    def __call__(self, event: Event) -> None:
        if isinstance(event, Retried) and event.job is None and self.clock() >= self._said + _SAYING:
            self._said = self.clock()
            terminal().note(f"asking again: {event.error}")


def _token(environ: Mapping[str, str], filed: dict[str, str], path: Path) -> tuple[Token | None, str]:
    for given, origin in ((environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE), (filed.pop("token", None), str(path))):
        if given and given.strip():
            return Token(given.strip()), origin
    return None, "not set"


def _first(*candidates: tuple[str | None, str]) -> ConfigValue:
    return next((ConfigValue(value, origin) for value, origin in candidates if value), ConfigValue(None, "not set"))
