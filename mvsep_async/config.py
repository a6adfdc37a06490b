"""The settings of a client, checked before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from importlib.util import find_spec
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import Attribute, evolve, field, frozen
from attrs.converters import optional

from mvsep_async.errors import ConfigurationError
from mvsep_async.http.hosts import DEFAULT_BASE_URL, REGIONS, Host
from mvsep_async.http.token import Token
from mvsep_async.postgres_url import PostgresURL
from mvsep_async.transport.compat import Timeouts

if TYPE_CHECKING:
    import httpx
    import httpx2

    from mvsep_async.jobs.coordinator import OpenedJournal
    from mvsep_async.observe.events import Listener

__all__ = [
    "PATIENCE",
    "POLL_INTERVAL",
    "TIMEOUT",
    "ClientConfig",
    "base_of",
    "default_poll_interval",
    "time_scale_of",
    "token_of",
]

TIMEOUT: Final = 30.0
"""Seconds for each network operation: a service silent for longer has lost the call."""

PATIENCE: Final = 1800.0
"""Seconds that the service may be out of reach before a job gives up: a deployment or a night's reboot."""

LEASE: Final = 30.0
"""Seconds for which a process keeps its jobs after the shared journal last heard of it: longer than a
restart of the database, and short enough that the jobs of a process that has ended are continued soon."""

POLL_INTERVAL: Final = 2.0
"""Shortest interval between two polls of one job, in seconds: separations take minutes."""

default_poll_interval: ContextVar[float] = ContextVar("default_poll_interval", default=POLL_INTERVAL)
"""The interval of clients that are created without one; tests make it small (`mvsep_async.testing.no_waiting`)."""

_SHORTEST: Final = 0.001
"""The least value in seconds of an interval or a timeout."""


def time_scale_of(poll_interval: float, *, local: bool) -> float:
    """Return the factor for all pauses: 1, and less for a service on this machine that is polled more often.

    Only there: the time that the real service may need to list an accepted job does not depend on the poll interval.
    """
    return min(1.0, poll_interval / POLL_INTERVAL) if local else 1.0


def _lease(given: float | None) -> float:
    return LEASE if given is None else given


def _poll_interval(given: float | None) -> float:
    return default_poll_interval.get() if given is None else given


def _timeouts(given: float | httpx.Timeout | httpx2.Timeout | None) -> Timeouts:
    if isinstance(given, int | float) and not given >= _SHORTEST:  # also rejects NaN
        raise ConfigurationError(f"timeout must be at least {_SHORTEST:g}, not {given}")
    return Timeouts.of(TIMEOUT if given is None else given)


def _patience(given: float | None) -> float:
    return PATIENCE if given is None else given


def _at_least(least: float) -> Callable[[object, Attribute[Any], Any], None]:
    def check(_: object, attribute: Attribute[Any], value: float | None) -> None:
        if value is not None and not value >= least:  # also rejects NaN
            raise ConfigurationError(f"{attribute.name} must be at least {least:g}, not {value}")

    return check


def _check_journal(_: object, __: Attribute[Any], journal: Path | PostgresURL | None) -> None:
    if isinstance(journal, PostgresURL):
        journal.check()


def _check_encoder(_: object, __: Attribute[Any], compress: bool) -> None:
    if compress and find_spec("soundfile") is None:
        raise ConfigurationError(
            "compress_uploads needs the package soundfile: install it with `pip install 'mvsep-async[compress]'`"
        )


def _check_listener(_: object, __: Attribute[Any], listener: Listener | None) -> None:
    if iscoroutinefunction(listener):
        raise ConfigurationError("on_event is called, not awaited: give a plain function, which may start a task")


@frozen(kw_only=True)
class ClientConfig:
    """A client's settings, checked; `None` stands for the default."""

    base: Host
    token: Token | None
    concurrency: int | None = field(default=None, validator=_at_least(1))
    journal: Path | PostgresURL | None = field(default=None, validator=_check_journal)
    shared_files: bool = False
    lease: float = field(default=None, converter=_lease, validator=_at_least(1.0))
    requests_per_minute: int | None = field(default=None, validator=_at_least(1))
    poll_interval: float = field(default=None, converter=_poll_interval, validator=_at_least(_SHORTEST))
    timeout: Timeouts = field(default=None, converter=_timeouts)
    patience: float = field(default=None, converter=_patience, validator=_at_least(0))
    group_cap: int | None = field(default=None, validator=_at_least(1))
    cache: Path | None = field(default=None, converter=optional(Path))
    limit_rate: float | None = field(default=None, validator=_at_least(1024.0))
    compress_uploads: bool = field(default=False, validator=_check_encoder)
    on_event: Listener | None = field(default=None, validator=_check_listener)
    open_journal: Callable[[ClientConfig], OpenedJournal] | None = None
    """Opens the journal of a client, with the coordinator that uses it; by default that of `journal`."""

    @property
    def time_scale(self) -> float:
        """What all pauses are multiplied by."""
        return time_scale_of(self.poll_interval, local=self.base.is_loopback)

    def may_be_private(self, url: str) -> bool:
        """Tell whether a download may connect to a private address: the service's own host, and any host of a service
        that is itself in a private network, or where `MVSEP_ALLOW_PRIVATE_DOWNLOADS` is set."""
        allowed = os.environ.get("MVSEP_ALLOW_PRIVATE_DOWNLOADS", "0") not in ("", "0")
        return allowed or not self.base.is_public or Host.of_link(url, base=self.base) is not None


def base_of(base_url: str | None, region: str | None) -> Host:
    """Return the host of a base URL or of a region. Raises `ConfigurationError` for both, or for an unknown one."""
    if region is None:
        return Host.parse(base_url or os.environ.get("MVSEP_BASE_URL") or DEFAULT_BASE_URL)
    if base_url is not None:
        raise ConfigurationError(f"give base_url={base_url!r} or region={region!r}, not both")
    if region not in REGIONS:
        raise ConfigurationError(f"unknown region {region!r}: use one of {', '.join(REGIONS)}, or base_url")
    default = Host.parse(DEFAULT_BASE_URL)
    return evolve(default, name=f"{region}.{default.name}")


def token_of(given: str | None) -> Token | None:
    """Return the token given, or that of the environment. Raises `ConfigurationError` for what is not a token."""
    value = (given if given is not None else os.environ.get("MVSEP_API_TOKEN", "")).strip()
    if not value:
        return None
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError("the API token has invalid characters: copy it again from the account page")
    return Token(value)
