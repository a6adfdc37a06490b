"""The one catalogue of a client: fetched once, kept in memory and, if wanted, on disk."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, Protocol

import anyio

from mvsep_async.catalogue.cache import DiskCache
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.errors import (
    InvalidRequestError,
    JobNotFoundError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    TransportError,
)

__all__ = ["SCOPES", "AlgorithmsCall", "CatalogueStore"]

SCOPES: Final = ("single_upload", "no_upload", "matchering_upload")
"""Every value of `scopes` that was seen; the first is the service's default."""

DAY: Final = 86_400.0


class AlgorithmsCall(Protocol):
    """What the store asks: `client.site.algorithms`."""

    async def __call__(self, scopes: str | None = None, /) -> Catalogue:
        """Return the algorithms of one scope."""
        ...


class CatalogueStore:
    """Gives every caller the same catalogue; many at once cause one fetch.

    `max_age`: seconds that a catalogue on disk is good for, our choice of a day: the service changes its algorithms
    every few days. When the service cannot be reached, one of any age is better than none.
    """

    def __init__(
        self,
        algorithms: AlgorithmsCall,
        *,
        cache: DiskCache | None = None,
        max_age: float = DAY,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._algorithms = algorithms
        self._cache = cache
        self._max_age = max_age
        self._now = now
        self._held: Catalogue | None = None
        self._lock = anyio.Lock()

    async def get(self, *, refresh: bool = False) -> Catalogue:
        """Return the catalogue, from memory, disk or the service in this order; with `refresh` from the service.

        Raises what the calls do when there is none anywhere.
        """
        before = self._held
        async with self._lock:
            if self._held is not None and (not refresh or self._held is not before):
                return self._held
            self._held = (None if refresh else await self._kept(self._max_age)) or await self._fetch()
            return self._held

    async def _fetch(self) -> Catalogue:
        try:
            catalogue = await self._ask()
        except (ServiceUnavailableError, TransportError, RateLimitedError):
            kept = await self._kept(math.inf)
            if kept is None:
                raise
            return kept
        if self._cache is not None:
            await self._cache.save(catalogue, now=self._now())
        return catalogue

    async def _ask(self) -> Catalogue:
        default, *others = SCOPES
        found = [await self._algorithms(default)]
        for scope in others:
            try:
                found.append(await self._algorithms(scope))
            except (InvalidRequestError, JobNotFoundError, ProtocolError):
                # The scopes are not documented; a service without one has no algorithms there.
                continue
        return Catalogue(*(catalogue.entries for catalogue in found))

    async def _kept(self, max_age: float) -> Catalogue | None:
        return None if self._cache is None else await self._cache.load(now=self._now(), max_age=max_age)
