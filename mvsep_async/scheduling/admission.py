"""Admission of creates: pauses after errors, and the requests for the account that have to precede a create."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from attrs import define, field

from mvsep_async.errors import DailyLimitError, MVSepError
from mvsep_async.models.user import User
from mvsep_async.scheduling.account import AccountWatch
from mvsep_async.scheduling.pauses import QueuePause
from mvsep_async.scheduling.slots import Slots

__all__ = ["Admission"]

logger = logging.getLogger("mvsep_async")


@define(eq=False)
class Admission:
    """Decides whether creates may begin, as far as the service has to be asked for that, and pauses the queue.

    `limit_known`: whether the caller has set the most unfinished jobs, so that the account's limit is not needed.
    `update_account` is called with each answer for the account, `fail_queue` to fail all queued jobs.
    """

    account: AccountWatch
    slots: Slots
    pause: QueuePause
    limit_known: bool
    clock: Callable[[], float]
    update_account: Callable[[User], None]
    fail_queue: Callable[[MVSepError], Awaitable[None]]
    asking: bool = field(default=False, init=False)
    """Whether the account is being asked. Until it answers, no create begins."""
    ask_first: bool = field(default=False, init=False)
    """Whether to ask the account before the next create, since a job ended here that the service may still have."""

    async def granted(self, *, job_waits: bool) -> bool:
        """Return whether creates may begin. `job_waits`: whether there is a job that may use a free slot."""
        self.asking = True
        try:
            return await self._knows_limit() and await self._has_quota() and (not job_waits or await self._has_room())
        finally:
            self.asking = False

    async def pause_queue(self, error: MVSepError) -> None:
        """Begin no create for a while. When `patience` is exceeded, all jobs queued so far fail with the error."""
        if self.pause.failed(error, self.clock()):
            await self.fail_queue(error)

    async def pause_for_quota(self, error: DailyLimitError) -> None:
        """Begin no create until free separations are available; if `patience` is 0, all jobs queued so far fail."""
        if self.pause.limited(error, self.clock()):
            await self.fail_queue(error)

    async def _knows_limit(self) -> bool:
        """Request the account's limit before the first create; return whether the limit is known."""
        if self.limit_known or self.account.user is not None:
            return True
        try:
            self.update_account(await self.account.request())
        except MVSepError as error:
            logger.info("the account's limit is not known yet: %s", error)
            await self.pause_queue(error)
            return False
        self.pause.answered()
        return True

    async def _has_quota(self) -> bool:
        """Return whether free separations are left; they are requested only after a refusal by the daily limit."""
        error = self.pause.daily_limit
        if error is None:
            return True
        try:
            free = await self.account.free_separations()
        except MVSepError as unanswered:
            logger.info("the free separations that are left are not known: %s", unanswered)
            await self.pause_for_quota(error)
            return False
        if free is not None and free.left == 0:
            await self.pause_for_quota(error)
            return False
        self.pause.limit_ended()
        return True

    async def _has_room(self) -> bool:
        """Return whether a create may begin.

        Before a probe, and once after a job that the service may still have, the account is asked: a refusal may cost a
        whole upload.
        """
        is_probe = self.slots.is_probe(self.clock())
        ask_first, self.ask_first = self.ask_first, False
        if not is_probe and not ask_first:
            return True
        try:
            self.update_account(await self.account.request())
        except MVSepError as error:
            logger.info("the account could not be asked whether it has a free slot: %s", error)
            if is_probe:
                self.slots.postpone(self.clock())
            return not is_probe
        return True
