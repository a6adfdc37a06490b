"""Requests for the account: its plan, its unfinished jobs, and the free separations that are left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import anyio
from attrs import define, field

from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.endpoints.paging import MAX_PAGE
from mvsep_async.endpoints.site import SiteAPI
from mvsep_async.errors import MVSepError
from mvsep_async.http.call import Priority
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.site import FreeSeparations
from mvsep_async.models.user import User

__all__ = ["AccountWatch"]

logger = logging.getLogger("mvsep_async")

_REFRESH: Final = 300.0
"""Seconds between two requests for the account's plan while jobs are queued: a dozen an hour.

A refused create shows that a premium plan has ended, but only such a request shows that one has begun.
"""

_PLAN_SECONDS: Final = 2.0
"""Seconds that the first create waits for the account's plan: without it the song is sent unchecked."""


@define(eq=False)
class AccountWatch:
    """The account as the service last reported it. `site`: reports the free separations that are left."""

    api: AccountAPI
    site: SiteAPI
    user: User | None = None
    known: anyio.Event = field(factory=anyio.Event)
    """Set when `user` is known for the first time."""
    _plan_requested: bool = False
    _plan_lock: anyio.Lock = field(factory=anyio.Lock)

    def learned(self, user: User) -> None:
        """Record an answer of the service about the account."""
        self.user = user
        self.known.set()

    async def request(self) -> User:
        """Request the account with the priority of a create."""
        return await self.api.user(priority=Priority.CREATE)

    async def recent_jobs(self) -> Sequence[HistoryEntry]:
        """Request the newest page of the account's history with the priority of a create."""
        return (await self.api.history_page(0, MAX_PAGE, priority=Priority.CREATE)).entries

    async def free_separations(self) -> FreeSeparations | None:
        """Request how many free separations are left; `None` if the service does not say."""
        return (await self.site.queue(priority=Priority.CREATE)).free_separations

    async def plan(self) -> User | None:
        """Return the account, whose plan limits what may be sent; `None` if it is not known.

        If nothing else has needed it before the first create, it is requested here, once.
        """
        if self.user is None:
            async with self._plan_lock:
                if not self._plan_requested:
                    self._plan_requested = True
                    with anyio.move_on_after(_PLAN_SECONDS):
                        try:
                            self.user = await self.request()
                        except MVSepError as error:
                            logger.info("the account's plan could not be requested: %s", error)
        return self.user

    async def refresh(self, time_scale: float, needed: Callable[[], bool], update: Callable[[User], None]) -> None:
        """Request the account from time to time, while it is needed, until cancelled."""
        while True:
            await anyio.sleep(_REFRESH * time_scale)
            if needed():
                try:
                    update(await self.api.user())
                except MVSepError as error:
                    logger.info("the account's plan could not be requested: %s", error)
