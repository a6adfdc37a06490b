"""The catalogue of one client: fetched once, cached in memory and optionally on disk."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from mvsep_async.errors import (
    InvalidRequestError,
    JobNotFoundError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    TransportError,
)

if TYPE_CHECKING:
    from mvsep_async.catalogue.cache import DiskCache
    from mvsep_async.catalogue.catalogue import Catalogue

__all__ = ["SCOPES", "CatalogueStore"]

SCOPES: Final = ("single_upload", "no_upload", "matchering_upload")
"""The known values of `scopes`; the first is the service's default."""

DAY: Final = 86_400.0


@define(eq=False)
class CatalogueStore:
    """Fetches the catalogue once and shares it; concurrent callers cause one fetch.

    `algorithms`: returns the algorithms of a scope, as `client.site.algorithms` does.
    `max_age`: seconds that a catalogue on disk is valid, a day by default: the service changes its algorithms every
    few days. While the service cannot be reached, one of any age is used.
    """

    _algorithms: Callable[[str], Awaitable[Catalogue]]
    _cache: DiskCache | None = field(default=None, kw_only=True, alias="cache")
    _max_age: float = field(default=DAY, kw_only=True, alias="max_age")
    _now: Callable[[], float] = field(default=time.time, kw_only=True, alias="now")
    _cached: Catalogue | None = field(default=None, init=False)
    _lock: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def get(self, *, refresh: bool = False) -> Catalogue:
        """Return the catalogue from memory, disk or the service, in this order; with `refresh` from the service.

        Raises the errors of the calls if there is none.
        """
        before = self._cached
        async with self._lock:
            if self._cached is not None and (not refresh or self._cached is not before):
                return self._cached
            self._cached = (None if refresh else await self._from_disk(self._max_age)) or await self._fetch()
            return self._cached

    async def _fetch(self) -> Catalogue:
        try:
            catalogue = await self._ask()
        except (ServiceUnavailableError, TransportError, RateLimitedError):
            saved = await self._from_disk(math.inf)
            if saved is None:
                raise
            return saved
        if self._cache is not None:
            await self._cache.save(catalogue, now=self._now())
        return catalogue

    async def _ask(self) -> Catalogue:
        from mvsep_async.catalogue.catalogue import Catalogue

        default, *others = SCOPES
        found = [await self._algorithms(default)]
        for scope in others:
            try:
                found.append(await self._algorithms(scope))
            except (InvalidRequestError, JobNotFoundError, ProtocolError):
                # The scopes are not documented: a service that rejects one has no algorithms there.
                continue
        return Catalogue(*(catalogue.entries for catalogue in found))

    async def _from_disk(self, max_age: float) -> Catalogue | None:
        return None if self._cache is None else await self._cache.load(now=self._now(), max_age=max_age)
