"""The settings of a client, checked before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from importlib.util import find_spec
from inspect import iscoroutinefunction
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

from attrs import evolve, frozen

from mvsep_async.errors import ConfigurationError
from mvsep_async.http.hosts import DEFAULT_BASE_URL, REGIONS, Host
from mvsep_async.http.token import Token
from mvsep_async.postgres_url import PostgresURL
from mvsep_async.transport.compat import Timeouts

if TYPE_CHECKING:
    import httpx
    import httpx2

    from mvsep_async.jobs.coordinator import Coordinator
    from mvsep_async.observe.events import Listener

__all__ = ["PATIENCE", "POLL_INTERVAL", "TIMEOUT", "ClientConfig", "default_poll_interval", "time_scale_of"]

TIMEOUT: Final = 30.0
"""Seconds for each network operation, our choice: a service silent for longer has lost the call."""

PATIENCE: Final = 1800.0
"""Seconds that the service may be out of reach before a job gives up, our choice: a deployment or a night's reboot."""

LEASE: Final = 30.0
"""Seconds for which a process keeps its jobs after the shared journal last heard of it, our choice: longer than a
restart of the database, and short enough that nobody waits for the jobs of a process that has ended."""

POLL_INTERVAL: Final = 2.0
"""Shortest interval between two polls of one job, in seconds, our choice: separations take minutes."""

default_poll_interval: ContextVar[float] = ContextVar("default_poll_interval", default=POLL_INTERVAL)
"""The interval of clients that are created without one; tests make it small (`mvsep_async.testing.no_waiting`)."""

_Number = TypeVar("_Number", int, float)


def time_scale_of(poll_interval: float, *, local: bool) -> float:
    """Return the factor for all pauses: 1, and less for a service on this machine that is polled more often.

    Only there: the time that the real service may need to list an accepted job does not depend on the poll interval.
    """
    return min(1.0, poll_interval / POLL_INTERVAL) if local else 1.0


@frozen(kw_only=True)
class ClientConfig:
    """A client's settings, checked."""

    token: Token | None
    base: Host
    concurrency: int | None
    journal: Path | PostgresURL | None
    shared_files: bool
    lease: float
    requests_per_minute: int | None
    poll_interval: float
    timeout: Timeouts
    patience: float
    group_cap: int | None
    cache: Path | None
    limit_rate: float | None
    compress_uploads: bool
    on_event: Listener | None
    coordinator: Callable[[ClientConfig], Coordinator] | None = None
    """Makes the coordinator of a client; by default, `journal` decides which one it is."""

    @property
    def time_scale(self) -> float:
        """What all pauses are multiplied by."""
        return time_scale_of(self.poll_interval, local=self.base.is_loopback)

    def may_be_private(self, url: str) -> bool:
        """Tell whether a download may connect to a private address: the service's own host, and any host of a service
        that is itself in a private network, or where `MVSEP_ALLOW_PRIVATE_DOWNLOADS` is set."""
        allowed = os.environ.get("MVSEP_ALLOW_PRIVATE_DOWNLOADS", "0") not in ("", "0")
        return allowed or not self.base.is_public or Host.of_link(url, base=self.base) is not None

    @classmethod
    def of(
        cls,
        *,
        api_token: str | None,
        base_url: str | None,
        region: str | None,
        concurrency: int | None,
        journal: Path | PostgresURL | None,
        shared_files: bool,
        lease: float | None,
        requests_per_minute: int | None,
        poll_interval: float | None,
        timeout: float | httpx.Timeout | httpx2.Timeout | None,
        patience: float | None,
        group_cap: int | None,
        cache: str | PathLike[str] | None,
        limit_rate: float | None,
        compress_uploads: bool,
        on_event: Listener | None,
    ) -> Self:
        """Check what a client was made with, and fill in what it was not, from the environment where it says so."""
        if isinstance(journal, PostgresURL):
            journal.check()
        if compress_uploads and find_spec("soundfile") is None:
            raise ConfigurationError(
                "compress_uploads needs the package soundfile: install it with `pip install 'mvsep-async[compress]'`"
            )
        pause = default_poll_interval.get() if poll_interval is None else poll_interval
        return cls(
            token=_token(api_token),
            base=_base(base_url, region),
            concurrency=_limit("concurrency", concurrency),
            journal=journal,
            shared_files=shared_files,
            lease=_at_least("lease", LEASE if lease is None else lease, 1.0),
            requests_per_minute=_limit("requests_per_minute", requests_per_minute),
            poll_interval=_at_least("poll_interval", pause, 0.001),
            timeout=_timeout(timeout),
            patience=_at_least("patience", PATIENCE if patience is None else patience, 0),
            group_cap=_limit("group_cap", group_cap),
            cache=None if cache is None else Path(cache),
            limit_rate=None if limit_rate is None else _at_least("limit_rate", float(limit_rate), 1024.0),
            compress_uploads=compress_uploads,
            on_event=_plain(on_event),
        )


def _base(base_url: str | None, region: str | None) -> Host:
    if region is None:
        return Host.parse(base_url or os.environ.get("MVSEP_BASE_URL") or DEFAULT_BASE_URL)
    if base_url is not None:
        raise ConfigurationError(f"give base_url={base_url!r} or region={region!r}, not both")
    if region not in REGIONS:
        raise ConfigurationError(f"unknown region {region!r}: use one of {', '.join(REGIONS)}, or base_url")
    default = Host.parse(DEFAULT_BASE_URL)
    return evolve(default, name=f"{region}.{default.name}")


def _token(given: str | None) -> Token | None:
    value = (given if given is not None else os.environ.get("MVSEP_API_TOKEN", "")).strip()
    if not value:
        return None
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError("the API token has characters that no token has: copy it again from the account page")
    return Token(value)


def _plain(listener: Listener | None) -> Listener | None:
    if iscoroutinefunction(listener):
        raise ConfigurationError("on_event is called, not awaited: give a plain function, which may start a task")
    return listener


def _timeout(given: float | httpx.Timeout | httpx2.Timeout | None) -> Timeouts:
    if given is None or isinstance(given, int | float):
        return Timeouts.of(_at_least("timeout", TIMEOUT if given is None else given, 0.001))
    return Timeouts.of(given)


def _at_least(name: str, value: _Number, least: float) -> _Number:
    if not value >= least:  # as a NaN is not
        raise ConfigurationError(f"{name} must be at least {least:g}, not {value}")
    return value


def _limit(name: str, value: int | None) -> int | None:
    return None if value is None else _at_least(name, value, 1)
