"""Keeping the account's slots full: whose turn it is, and what follows when a create brings no job."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from mvsep_async.concurrency import Yielder
from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    MVSepError,
    NoFreeSlotError,
)
from mvsep_async.http.call import Priority
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.lifecycle import HOLDS_SLOT, JobEvent, JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.models.user import User
from mvsep_async.observe.events import Retried, SlotFreed, SlotTaken
from mvsep_async.scheduling.cancel import cancelled
from mvsep_async.scheduling.census import listed, there
from mvsep_async.scheduling.plan import refresh_account
from mvsep_async.scheduling.queue import FairQueue
from mvsep_async.scheduling.queue_progress import QueueProgress
from mvsep_async.scheduling.refusals import Verdict, classify_refusal, needs_account
from mvsep_async.scheduling.slots import Slots, allowed
from mvsep_async.submission.create import Launcher

__all__ = ["Dispatcher"]

logger = logging.getLogger("mvsep_async")


@define(eq=False)
class Dispatcher:
    """Begins a create whenever there is a slot and a job for it.

    `concurrency`: most unfinished jobs at one time, `None` to ask the account. `group_cap`: most of one group.
    """

    registry: JobRegistry
    launcher: Launcher
    account: AccountAPI
    concurrency: int | None
    patience: float
    time_scale: float = 1.0
    group_cap: int | None = None
    clock: Callable[[], float] = anyio.current_time
    user: User | None = None
    account_known: anyio.Event = field(factory=anyio.Event)
    """Set when `user` is known for the first time."""
    queue_progress: QueueProgress = field(init=False)
    cancelling: set[str] = field(factory=set)
    """Jobs that somebody is cancelling: they are not put back in line."""
    _queue: FairQueue[Job] = field(factory=FairQueue)
    _slots: Slots = field(init=False)
    _groups: Counter[str | None] = field(factory=Counter)
    _outage: Outage = field(init=False)
    _rest_until: float = float("-inf")
    _slots_unfilled: bool = False
    """Whether there are slots that none of those in line may take."""
    _unexplained: Counter[str] = field(factory=Counter)
    _losses: dict[str, tuple[float, MVSepError]] = field(factory=dict)
    """Jobs whose creates bring no answer: since when, and the last error."""
    _wake: anyio.Event = field(factory=anyio.Event)

    def __attrs_post_init__(self) -> None:
        self._slots = Slots(self.concurrency or allowed(None), self.time_scale)
        self._outage = Outage(self.patience, self.time_scale)
        self.queue_progress = QueueProgress(
            self._queue, self._slots, self._groups, self.group_cap, self.time_scale, self.clock
        )

    def submit(self, job: Job) -> None:
        """Put a new job in line."""
        first = not self._queue
        if first and not self._slots.held:
            # Nobody waited meanwhile, so nobody knows: patience begins anew.
            self._outage.ended()
            self._rest_until = float("-inf")
        self._queue.push(job, group=job.request.group, priority=job.request.priority)
        self.queue_progress.queue_changed()
        if first or self._slots_unfilled:
            self._wake.set()

    def remove(self, job: Job) -> None:
        """Take a job out of the line."""
        self._queue.remove(job, group=job.request.group, priority=job.request.priority)
        self.queue_progress.queue_changed()

    def acquire_slot(self, job: Job) -> None:
        """Have a job take a slot: its turn came, or it is at the service already."""
        self._slots.acquire(job.id)
        self._groups[job.request.group] += 1

    def has_slot(self, job: Job) -> bool:
        """Tell whether a job has a slot: one that was made elsewhere has none."""
        return job.id in self._slots.held

    def release_slot(self, job: Job) -> None:
        """Give back the slot of a job, which has left the service or never got there."""
        self.queue_progress.slot_released(job, served=job.facts.separation is not None)
        self._slots.release(job.id)
        self._groups[job.request.group] -= 1
        if not self._groups[job.request.group]:
            del self._groups[job.request.group]
        self.registry.emit(SlotFreed(job.id, len(self._slots.held), self._slots.limit))
        self._wake.set()

    def accepted(self, job: Job) -> None:
        """Note that the service has a job."""
        self._outage.ended()
        self._slots.accepted(self.clock())
        self._losses.pop(job.id, None)

    def begin_again(self, job: Job) -> None:
        """Send a job again that the service has not got, unless its creates have brought no answer for too long."""
        since, error = self._losses.get(job.id, (float("inf"), None))
        if error is not None and self.clock() - since >= self.patience and job.id not in self.cancelling:
            self._fail(job, error)
        else:
            self._put_back(job)

    def over(self, job: Job) -> None:
        """Forget what was remembered of a job."""
        self._unexplained.pop(job.id, None)
        self._losses.pop(job.id, None)

    def take_account(self, user: User) -> None:
        """Learn from what the account says: its plan, and how many unfinished jobs it has in all."""
        self.user = user
        self.account_known.set()
        self._slots.relimit(self.concurrency or allowed(user))
        if user.current_queue.count is not None:
            self._slots.observed(user.current_queue.count, self.clock(), ours=listed(self._held(), user))
        self._wake.set()

    async def run(self, tasks: TaskGroup) -> None:
        """Begin creates, each as one of `tasks`, and tell those who wait how the line moves, until cancelled."""
        tasks.start_soon(self.queue_progress.run)
        if self.concurrency is None:
            tasks.start_soon(
                refresh_account, self.account, lambda: bool(self._queue), self.take_account, self.time_scale
            )
        while True:
            self._wake = anyio.Event()
            self._slots_unfilled = False
            if self._queue and self.clock() >= self._rest_until and await self._know_limit():
                self._fill(tasks)
                self._slots_unfilled = self._slots.free(self.clock()) > 0
            self.queue_progress.queue_changed()
            with anyio.move_on_after(self._pause()):
                await self._wake.wait()

    def _fill(self, tasks: TaskGroup) -> None:
        now = self.clock()
        while self._slots.free(now) > 0:
            job = self._queue.pop(busy=self._groups, cap=self.group_cap)
            if job is None:
                return
            self.acquire_slot(job)
            self.queue_progress.slot_acquired(job)
            self.registry.apply(job, JobEvent.SLOT_TAKEN, attempts=job.facts.attempts + 1, intent_at=time.time())
            self.registry.emit(SlotTaken(job.id, len(self._slots.held), self._slots.limit, job.facts.attempts))
            tasks.start_soon(self._launch, job)

    def _pause(self) -> float:
        """Return the seconds after which a slot may be free without any event."""
        if not self._queue:
            return float("inf")
        now = self.clock()
        changes = (self._slots.next_change(now), self._rest_until)
        return min((at - now for at in changes if at is not None and at > now), default=float("inf"))

    async def _know_limit(self) -> bool:
        """Ask the account how many unfinished jobs it may have, before the first create."""
        if self.concurrency is not None or self.user is not None:
            return True
        try:
            self.take_account(await self.account.user(priority=Priority.CREATE))
        except (AuthenticationError, ConfigurationError) as error:
            await self._fail_queue(error)
            return False
        except MVSepError as error:
            logger.info("the account's limit is not known yet: %s", error)
            if self._trouble(error):
                await self._fail_queue(error)
            return False
        self._outage.ended()
        return True

    async def _launch(self, job: Job) -> None:
        try:
            await self._create(job)
        finally:
            if job.state not in HOLDS_SLOT:
                self.release_slot(job)

    async def _create(self, job: Job) -> None:
        try:
            error = await self.launcher.launch(job, self.user)
        except MVSepError as final:
            self._fail(job, final)
            return
        if job.state is JobState.LOST and error is not None:
            since, _ = self._losses.get(job.id, (self.clock(), error))
            self._losses[job.id] = since, error
        if job.state is not JobState.QUEUED:
            return
        if error is not None:
            self.registry.emit(Retried("create", str(error), job.id))
        if isinstance(error, InvalidRequestError | NoFreeSlotError):
            self._outage.ended()  # a refusal is an answer
            verdict = await self._classify_refusal(job, error)
            if job.done():
                return  # cancelled while the account was asked
            if verdict is Verdict.CALLERS_MISTAKE:
                self._fail(job, error)
                return
        elif error is not None and self._trouble(error):
            self._fail(job, error)
            await self._fail_queue(error)  # they wait for the same service, and have done so as long
            return
        self._put_back(job)

    async def _classify_refusal(self, job: Job, error: InvalidRequestError | NoFreeSlotError) -> Verdict:
        """Tell a refusal for want of a slot from one of the request itself."""
        user = None
        if needs_account(error):
            try:
                user = await self.account.user(priority=Priority.CREATE)
            except MVSepError as unanswered:
                logger.info("the account could not be asked why a job was refused: %s", unanswered)
        verdict = classify_refusal(
            error,
            unfinished=None if user is None else user.current_queue.count,
            ours=there(self._held()),
            limit=self._slots.limit,
            earlier_unexplained=self._unexplained[job.id],
        )
        if verdict is not Verdict.CALLERS_MISTAKE:
            self._slots.refused(job.id, self.clock())
        if verdict is Verdict.TRY_ONCE_MORE:
            self._unexplained[job.id] += 1
        if user is not None:
            self.take_account(user)
        return verdict

    def _put_back(self, job: Job) -> None:
        """Let a job that the service has not got be the next one again."""
        if job.id in self.cancelling:
            cancelled(job, self.registry, "before it was accepted")
            return
        self._queue.push_first(job, group=job.request.group, priority=job.request.priority)
        if job.has_subscribers:
            self.queue_progress.follow(job)
        self._wake.set()

    def _trouble(self, error: MVSepError) -> bool:
        """Note that the service cannot be reached; tell whether patience is at its end."""
        now = self.clock()
        ended = self._outage.failed(now)
        self._rest_until = now + self._outage.rest
        return ended

    def _fail(self, job: Job, error: MVSepError) -> None:
        if job.state is JobState.CREATING:
            # The service has not got it: so says the journal too, in case the error is one that passes.
            self.registry.apply(job, JobEvent.NOT_ACCEPTED)
        self.registry.apply(job, JobEvent.FAILED, error=error.of(job.id, job.hash))

    async def _fail_queue(self, error: MVSepError) -> None:
        """Fail all that wait now: for 100,000 of them it takes seconds, in which others run."""
        yielder = Yielder()
        for _ in range(len(self._queue)):
            if (job := self._queue.pop()) is not None:
                self._fail(job, error)
            await yielder.maybe_yield()

    def _held(self) -> list[Job]:
        return [job for job in map(self.registry.jobs.get, self._slots.held) if job is not None]
