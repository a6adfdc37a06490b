"""Keeping the account's slots full: which job goes next, and what follows from each change of a job."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from mvsep_async.creating.finder import Finder
from mvsep_async.creating.launch import Launcher
from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    JobCancelledError,
    MVSepError,
    NoFreeSlotError,
)
from mvsep_async.http.call import Priority
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.ledger import Ledger, goes_on_later
from mvsep_async.jobs.lifecycle import AT_SERVICE, HOLDS_SLOT, OVER, Event, State
from mvsep_async.jobs.order import Target
from mvsep_async.jobs.outage import Outage
from mvsep_async.models.user import User
from mvsep_async.observe.events import Answered, Left, Retried, SlotFreed, SlotTaken, Uploaded
from mvsep_async.results.fetcher import Fetcher
from mvsep_async.scheduling.census import listed, there
from mvsep_async.scheduling.leftovers import Leftovers
from mvsep_async.scheduling.line import Line
from mvsep_async.scheduling.queue import FairQueue
from mvsep_async.scheduling.refusals import Verdict, judge
from mvsep_async.scheduling.slots import Slots, allowed
from mvsep_async.scheduling.withdrawal import left, withdraw
from mvsep_async.sources import Spooled
from mvsep_async.watching.watcher import Watcher

__all__ = ["Scheduler"]

logger = logging.getLogger("mvsep_async")


@define(eq=False)
class Scheduler:
    """Moves jobs from the local queue to the service as slots come free.

    `concurrency`: most unfinished jobs at one time, `None` to ask the account. `separations` is what it cancels with.
    Its parts know nothing of each other: what a change of one job means for them is decided in `react` alone.
    """

    ledger: Ledger
    launcher: Launcher
    watcher: Watcher
    finder: Finder
    fetcher: Fetcher
    separations: SeparationsAPI
    account: AccountAPI
    concurrency: int | None
    patience: float
    pace: float = 1.0
    group_cap: int | None = None
    clock: Callable[[], float] = anyio.current_time
    closed: bool = False
    user: User | None = None
    introduced: anyio.Event = field(factory=anyio.Event)
    """Set when `user` is known for the first time."""
    line: Line = field(init=False)
    _queue: FairQueue[Job] = field(factory=FairQueue)
    _slots: Slots = field(init=False)
    _groups: Counter[str | None] = field(factory=Counter)
    _outage: Outage = field(init=False)
    _rest_until: float = float("-inf")
    _hungry: bool = False
    """Whether there are slots that none of those in line may take."""
    _unexplained: Counter[str] = field(factory=Counter)
    _losses: dict[str, tuple[float, MVSepError]] = field(factory=dict)
    """Jobs whose creates bring no answer: since when, and the last error."""
    _cancelling: set[str] = field(factory=set)
    _leftovers: Leftovers = field(factory=Leftovers)
    _wake: anyio.Event = field(factory=anyio.Event)

    def __attrs_post_init__(self) -> None:
        self._slots = Slots(self.concurrency or allowed(None), self.pace)
        self._outage = Outage(self.patience, self.pace)
        self.line = Line(self._queue, self._slots, self._groups, self.group_cap, self.pace, self.clock)

    def submit(self, job: Job) -> None:
        """Put a new job in line."""
        first = not self._queue
        if first and not self._slots.held:
            # Nobody waited meanwhile, so nobody knows: patience begins anew.
            self._outage.ended()
            self._rest_until = float("-inf")
        self._queue.push(job, group=job.order.group, priority=job.order.priority)
        self.line.moved()
        if first or self._hungry:
            self._wake.set()

    def resume(self, job: Job) -> None:
        """Take up a job of an earlier run where it stood."""
        self.fetcher.reclaim(job)
        if job.state in HOLDS_SLOT:
            self._hold(job)
        match job.state:
            case State.QUEUED:
                self.submit(job)
            case State.CREATING:
                self.ledger.apply(job, Event.ANSWER_LOST)
            case State.LOST:
                self.finder.begin(job)
            case State.DOWNLOADING:
                self.ledger.apply(job, Event.DOWNLOAD_STOPPED)
            case State.DONE if job.order.target is not None:
                self.fetcher.put(job)
            case state if state in AT_SERVICE:
                self.watcher.watch(job)
            case _ if job.done():
                self._over(job)

    async def run(self) -> None:
        """Schedule until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.watcher.run)
            tasks.start_soon(self.finder.run)
            tasks.start_soon(self.fetcher.run)
            tasks.start_soon(self.ledger.journal.run)
            tasks.start_soon(self.line.run)
            tasks.start_soon(self._leftovers.run)
            await self._dispatch(tasks)

    def close(self) -> None:
        """Begin no more jobs; creates that are sent whole have a moment left to be answered."""
        self.closed = True
        self.launcher.close()

    def leave(self) -> None:
        """Say of each job that was begun, and that the service is not through with, that it is left as it stands."""
        for job in self.ledger.jobs.values():
            if job.state in HOLDS_SLOT or (job.state is State.QUEUED and job.facts.attempts):
                self.ledger.tell(Left(job.id, job.hash, job.stage))

    def react(self, job: Job, before: State) -> None:
        """Draw the consequences of a change: the one place where the parts of the scheduler meet."""
        state = job.state
        if before in HOLDS_SLOT and state not in HOLDS_SLOT and before is not State.CREATING:
            self._release(job)  # a slot of a create is let go by the task that made it, once it knows why it ended
        if state in AT_SERVICE and before not in AT_SERVICE:
            self._accepted()
            self._losses.pop(job.id, None)
            self.watcher.watch(job)
        elif before in AT_SERVICE and state not in AT_SERVICE:
            self._answered(job, self.watcher.forget(job))
        elif state in OVER and before in (State.QUEUED, State.CREATING, State.LOST):
            self._answered(job, None)
        if state is State.LOST:
            self.finder.begin(job)
        elif before is State.LOST:
            self.finder.end(job)
            if state is State.QUEUED:
                self.ledger.tell(Retried("create", "its answer was lost, and the service has not got it", job.id))
                self._begin_again(job)
            elif state in AT_SERVICE:
                seconds = time.time() - (job.facts.intent_at or time.time())
                self.ledger.tell(Uploaded(job.id, job.facts.hash or "", job._progress.bytes_total or 0, seconds))
        if state is State.DONE and job.order.target is not None and not self.closed:
            self.fetcher.put(job)
        if job.done():
            self._over(job)

    def take_account(self, user: User) -> None:
        """Learn from what the account says: its plan, and how many unfinished jobs it has in all."""
        self.user = user
        self.introduced.set()
        self._slots.relimit(self.concurrency or allowed(user))
        if user.current_queue.count is not None:
            self._slots.observed(user.current_queue.count, self.clock(), ours=listed(self._held(), user))
        self._wake.set()

    async def cancel(self, job: Job) -> bool:
        """Cancel `job` wherever it is; see `Job.cancel`."""
        self._cancelling.add(job.id)
        try:
            while True:
                match job.state:
                    case State.QUEUED:
                        self._queue.remove(job, group=job.order.group, priority=job.order.priority)
                        self.line.moved()
                        self._cancelled(job, "before it was sent")
                    case State.CREATING | State.LOST:
                        self.launcher.withdraw(job)
                        await left(job, job.state)
                    case state if state in AT_SERVICE:
                        if await withdraw(job, self.separations, self.watcher) and job.state in AT_SERVICE:
                            self._cancelled(job, "at the service")
                        if job.state is not State.CANCELLED:
                            return False
                    case State.CANCELLED:
                        # Or a crash would bring it back, and pay for it.
                        await self.ledger.journal.settle()
                        return True
                    case _:
                        return False
        finally:
            self._cancelling.discard(job.id)

    async def download(self, job: Job, target: Target) -> list[Path]:
        """Fetch the stems of `job` once it is done; see `Job.download`."""
        failed_at_download = job.state is State.FAILED and job.facts.separation is not None
        if job.facts.separation is None:
            await job
        elif job.facts.error is not None and not failed_at_download:
            raise job.facts.error.with_traceback(None)
        return await self.fetcher.download(job, target)

    def _cancelled(self, job: Job, where: str) -> None:
        error = JobCancelledError(f"job {job.id} was cancelled {where}", job=job.id, hash=job.hash)
        self.ledger.apply(job, Event.CANCELLED, error=error)

    async def _dispatch(self, tasks: TaskGroup) -> None:
        """Begin a create whenever there is a slot and a job for it."""
        while True:
            self._wake = anyio.Event()
            self._hungry = False
            if self._queue and self.clock() >= self._rest_until and await self._know_limit():
                self._fill(tasks)
                self._hungry = self._slots.free(self.clock()) > 0
            self.line.moved()
            with anyio.move_on_after(self._pause()):
                await self._wake.wait()

    def _fill(self, tasks: TaskGroup) -> None:
        now = self.clock()
        while self._slots.free(now) > 0:
            job = self._queue.pop(busy=self._groups, cap=self.group_cap)
            if job is None:
                return
            self._hold(job)
            self.line.took(job)
            self.ledger.apply(job, Event.SLOT_TAKEN, attempts=job.facts.attempts + 1, intent_at=time.time())
            self.ledger.tell(SlotTaken(job.id, len(self._slots.held), self._slots.limit, job.facts.attempts))
            tasks.start_soon(self._launch, job)

    def _pause(self) -> float:
        """Return the seconds after which a slot may be free without any event."""
        if not self._queue:
            return float("inf")
        now = self.clock()
        probe = self._slots.next_change(now)
        pauses = [at - now for at in (probe, self._rest_until) if at is not None and at > now]
        return max(min(pauses, default=float("inf")), 0.0)

    async def _know_limit(self) -> bool:
        """Ask the account how many unfinished jobs it may have, before the first create."""
        if self.concurrency is not None or self.user is not None:
            return True
        try:
            self.take_account(await self.account.user(priority=Priority.CREATE))
        except (AuthenticationError, ConfigurationError) as error:
            self._fail_queue(error)
            return False
        except MVSepError as error:
            logger.info("the account's limit is not known yet: %s", error)
            if self._trouble(error):
                self._fail_queue(error)
            return False
        self._outage.ended()
        return True

    async def _launch(self, job: Job) -> None:
        try:
            await self._create(job)
        finally:
            if job.state not in HOLDS_SLOT:
                self._release(job)

    async def _create(self, job: Job) -> None:
        try:
            error = await self.launcher.launch(job)
        except MVSepError as final:
            self._fail(job, final)
            return
        if job.state is State.LOST and error is not None:
            since, _ = self._losses.get(job.id, (self.clock(), error))
            self._losses[job.id] = since, error
        if job.state is not State.QUEUED:
            return
        if error is not None:
            self.ledger.tell(Retried("create", str(error), job.id))
        if isinstance(error, InvalidRequestError | NoFreeSlotError):
            verdict = await self._judge(job, error)
            if job.done():
                return  # cancelled while the account was asked
            if verdict is Verdict.CALLERS_MISTAKE:
                self._fail(job, error)
                return
        elif error is not None and self._trouble(error):
            self._fail(job, error)
            self._fail_queue(error)  # they wait for the same service, and have done so as long
            return
        self._put_back(job)

    async def _judge(self, job: Job, error: InvalidRequestError | NoFreeSlotError) -> Verdict:
        """Tell a refusal for want of a slot from one of the request itself."""
        user = None
        if isinstance(error, NoFreeSlotError) or not error.fields:
            try:
                user = await self.account.user(priority=Priority.CREATE)
            except MVSepError as unanswered:
                logger.info("the account could not be asked why a job was refused: %s", unanswered)
        verdict = judge(
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

    def _over(self, job: Job) -> None:
        self._unexplained.pop(job.id, None)
        self._losses.pop(job.id, None)
        # The only copy of a song stays where the next process takes the job up again.
        if isinstance(job.order.source, Spooled) and not goes_on_later(job.facts.error):
            self._leftovers.put(job.order.source.path)

    def _put_back(self, job: Job) -> None:
        """Let a job that the service has not got be the next one again."""
        if job.id in self._cancelling:
            self._cancelled(job, "before it was accepted")
            return
        self._queue.push_first(job, group=job.order.group, priority=job.order.priority)
        if job.watched:
            self.line.follow(job)
        self._wake.set()

    def _begin_again(self, job: Job) -> None:
        """Send a job again that the service has not got, unless its creates have brought no answer for too long."""
        since, error = self._losses.get(job.id, (float("inf"), None))
        if error is not None and self.clock() - since >= self.patience and job.id not in self._cancelling:
            self._fail(job, error)
        else:
            self._put_back(job)

    def _trouble(self, error: MVSepError) -> bool:
        """Note that the service cannot be reached; tell whether patience is at its end."""
        now = self.clock()
        ended = self._outage.failed(now)
        self._rest_until = now + self._outage.rest
        return ended

    def _answered(self, job: Job, seconds: float | None) -> None:
        error = None if job.facts.error is None else str(job.facts.error)
        self.ledger.tell(Answered(job.id, job.hash, job.stage, seconds, error))

    def _accepted(self) -> None:
        self._outage.ended()
        self._slots.accepted(self.clock())

    def _fail(self, job: Job, error: MVSepError) -> None:
        if job.state is State.CREATING:
            # The service has not got it: so says the journal too, in case the error is one that passes.
            self.ledger.apply(job, Event.NOT_ACCEPTED)
        self.ledger.apply(job, Event.FAILED, error=error.of(job.id, job.hash))

    def _fail_queue(self, error: MVSepError) -> None:
        while (job := self._queue.pop()) is not None:
            self._fail(job, error)

    def _held(self) -> list[Job]:
        return [job for job in map(self.ledger.jobs.get, self._slots.held) if job is not None]

    def _hold(self, job: Job) -> None:
        self._slots.take(job.id)
        self._groups[job.order.group] += 1

    def _release(self, job: Job) -> None:
        self.line.left(job, served=job.facts.separation is not None)
        self._slots.release(job.id)
        self._groups[job.order.group] -= 1
        if not self._groups[job.order.group]:
            del self._groups[job.order.group]
        self.ledger.tell(SlotFreed(job.id, len(self._slots.held), self._slots.limit))
        self._wake.set()
