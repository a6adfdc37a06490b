"""The dispatcher: begins a create whenever there is a slot and a queued job for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from mvsep_async.concurrency import Wakeup, Yielder
from mvsep_async.errors import MVSepError
from mvsep_async.jobs.coordinator import Coordinator
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.failures import resumes_later
from mvsep_async.jobs.lifecycle import AT_SERVICE, HOLDS_SLOT, JobEvent, JobState
from mvsep_async.jobs.registry import Change, JobRegistry
from mvsep_async.models.user import User
from mvsep_async.observe.events import SlotFreed, SlotTaken
from mvsep_async.scheduling.account import AccountWatch
from mvsep_async.scheduling.admission import Admission
from mvsep_async.scheduling.ahead import AheadUploads
from mvsep_async.scheduling.ahead_policy import AheadPolicy
from mvsep_async.scheduling.outcomes import CreateOutcomes
from mvsep_async.scheduling.pauses import QueuePause, Wait, WaitReason
from mvsep_async.scheduling.queue import FairQueue
from mvsep_async.scheduling.queue_progress import QueueProgress
from mvsep_async.scheduling.slots import Slots, allowed, count_listed
from mvsep_async.submission.create import Fate, Launcher
from mvsep_async.submission.upload_queue import UploadQueue

__all__ = ["Dispatcher"]


@define(eq=False)
class Dispatcher:
    """Begins creates for queued jobs while there are free slots.

    `concurrency`: most unfinished jobs at one time, `None` for the account's limit. `group_cap`: most of one group.
    `account`: what is known of the account. `uploads`: the upload queue of the launcher, which sets `wake` when it is
    idle. `coordinator`: grants the slots, since other clients may share the account.

    `run` is one loop. Each round begins the creates that may begin, then sleeps until something changes: a submit, a
    freed slot, an update of the account, or the end of a pause. `wait` tells what the queue waits for.
    """

    registry: JobRegistry
    coordinator: Coordinator
    launcher: Launcher
    account: AccountWatch
    concurrency: int | None
    patience: float
    time_scale: float
    group_cap: int | None
    clock: Callable[[], float]
    uploads: UploadQueue
    wake: Wakeup = field(factory=Wakeup)
    queue_progress: QueueProgress = field(init=False)
    cancelling: set[str] = field(factory=set)
    """Ids of jobs that a caller is cancelling: they are not queued again."""
    _queue: FairQueue[JobEntry] = field(factory=lambda: FairQueue(_group_and_priority), init=False)
    _slots: Slots = field(init=False)
    _pause: QueuePause = field(init=False)
    _admission: Admission = field(init=False)
    _outcomes: CreateOutcomes = field(init=False)
    _ahead: AheadUploads = field(init=False)
    _in_flight: set[str] = field(factory=set)
    """Ids of jobs that have a slot and whose creates have not ended."""
    _denied: bool = False
    """Whether the coordinator granted no slot, and nothing has changed since."""

    def __attrs_post_init__(self) -> None:
        self._slots = Slots(self.concurrency or allowed(None), self.time_scale, self.group_cap)
        self._pause = QueuePause(self.patience, self.time_scale)
        self._admission = Admission(
            self.account,
            self._slots,
            self._pause,
            self.concurrency is not None,
            self.clock,
            self.update_account,
            self._fail_queue,
        )
        self._outcomes = CreateOutcomes(
            self.registry,
            self._admission,
            self.patience,
            self.time_scale,
            self.clock,
            self._holders,
            self._queue_again,
            self._release_slot,
        )
        self._ahead = AheadUploads(self.uploads, AheadPolicy(self.time_scale), self.wake.set)
        self.queue_progress = QueueProgress(self._queue, self._slots, self._pause_message, self.time_scale, self.clock)

    async def run(self, tasks: TaskGroup) -> None:
        """Begin creates, each as one of `tasks`, until cancelled."""
        tasks.start_soon(self.queue_progress.run)
        if self.concurrency is None:
            tasks.start_soon(self.account.refresh, self.time_scale, lambda: bool(self._queue), self.update_account)
        while True:
            self._ahead.check_at, self._denied = inf, False
            may_begin = self.wait().reason in (WaitReason.NO_SLOT, WaitReason.GROUP_CAP)
            if may_begin and await self._admission.granted(job_waits=self._next() is not None):
                await self._begin_creates(tasks)
                self._begin_ahead(tasks)
            self.queue_progress.queue_changed()
            with anyio.move_on_after(min(self.wait().until, self._ahead.check_at) - self.clock()):
                await self.wake.wait()

    def wait(self) -> Wait:
        """Return why no create begins at the moment, and the time at which that may end without an event.

        Events that may end it (a submit, a freed slot, an update of the account) wake `run`.
        """
        now = self.clock()
        if not self._queue and not self._ahead:
            return Wait(WaitReason.NOTHING_QUEUED)
        if (pause := self._pause.current(now)) is not None:
            return pause
        if self._admission.asking:
            return Wait(WaitReason.ASKING)
        if self._pause.probing and self._in_flight:
            return Wait(WaitReason.PROBING)
        if self._slots.free(now) > 0:
            return Wait(WaitReason.NOT_OUR_TURN if self._denied else WaitReason.GROUP_CAP)
        return Wait(WaitReason.NO_SLOT, self._slots.next_change(now))

    async def _begin_creates(self, tasks: TaskGroup) -> None:
        """Give the free slots to the next jobs; after an outage, to a single one."""
        while self._slots.free(now := self.clock()) > 0 and not (self._pause.probing and self._in_flight):
            first = self._next()
            job = None if first is None else await self._claim(first, now)
            if job is None:
                return
            ahead = job.state is JobState.UPLOADING
            if not ahead:
                self._queue.take(job)
            self.acquire_slot(job)
            self.queue_progress.slot_acquired(job)
            self.registry.apply(
                job, JobEvent.SLOT_TAKEN, attempts=job.facts.attempts + 1, intent_at=self.registry.stamp()
            )
            self.registry.emit(SlotTaken(job.id, len(self._slots.held), self._slots.limit, job.facts.attempts))
            self._in_flight.add(job.id)
            if ahead:
                self._ahead.policy.used()
                self.launcher.slot_acquired(job)
            else:
                tasks.start_soon(self._create, job)

    def _next(self) -> JobEntry | None:
        """Return the job that gets the next slot: one whose song is sent ahead, else the first of the queue."""
        return self._ahead.first(self._slots.group_has_room) or self._first_queued()

    def _first_queued(self) -> JobEntry | None:
        return self._queue.peek(self._slots.group_has_room)

    async def _claim(self, first: JobEntry, now: float) -> JobEntry | None:
        """Take a slot for the next job of this client, usually `first`; `None` if it is not this client's turn."""
        limit = self._slots.claimable(now)
        id = await self.coordinator.claim(first, limit=limit, group_cap=self.group_cap)
        job = None if id is None else self.registry.jobs.get(id)
        if id is None:
            self._denied = True
            if self._slots.is_probe(now):
                self._slots.postpone(now)  # otherwise the account would be asked again at once
        elif job is None or job.state not in (JobState.QUEUED, JobState.UPLOADING) or job.id in self.cancelling:
            self.coordinator.unclaim(id)
            return None
        return job

    def _begin_ahead(self, tasks: TaskGroup) -> None:
        """Begin to upload the next song ahead, if all slots are in use and no other upload runs."""
        now = self.clock()
        job = self._first_queued()
        if job is None or self._slots.free(now) > 0 or self._pause.probing:
            return
        if not self._ahead.is_due(job, self._holders(), now, tasks):
            return
        self._queue.take(job)
        self._ahead.add(job)
        self.registry.apply(job, JobEvent.UPLOAD_BEGAN)
        tasks.start_soon(self._create, job)

    async def _create(self, job: JobEntry) -> None:
        """Send the create of a job, and handle its outcome."""
        try:
            result = await self.launcher.launch(job, partial(self._known_user, job))
            if result.fate is Fate.GIVEN_UP:
                return
            if job.id in self._slots.held:
                await self._outcomes.handle(job, result)
            else:
                self._ahead.policy.failed(self.clock())
                self._outcomes.handle_ahead(job, result)
        finally:
            self._in_flight.discard(job.id)
            if job.state not in HOLDS_SLOT:
                self._release_slot(job)
            self.wake.set()

    async def _known_user(self, job: JobEntry, *, fresh: bool = False) -> User | None:
        """Return the account before a create; with `fresh`, request it."""
        if fresh:
            self.update_account(await self.account.request())
        elif not job.request.uploads:
            await self._outcomes.refused.create_begins(job)
        elif await self.account.plan() is not None:
            self._pause.token_accepted()
        return self.account.user

    @property
    def limit(self) -> int:
        """Most unfinished jobs at one time; while the account is unknown, the limit of a free account."""
        return self.concurrency or allowed(self.account.user)

    @property
    def paused_by(self) -> MVSepError | None:
        """The error because of which no create begins at the moment."""
        return self._pause.error

    def submit(self, job: JobEntry) -> None:
        """Queue a new job, unless it was cancelled while it was written to the journal."""
        if job.state is not JobState.QUEUED:
            return
        if not self._queue and not self._slots.held:
            self._pause.idle()
        self._queue.push(job)
        self.wake.set()

    def remove(self, job: JobEntry) -> None:
        """Remove a job from the queue."""
        self._queue.remove(job)
        self.wake.set()

    def give_up(self, job: JobEntry) -> None:
        """Stop working on a job that is another client's now."""
        if not self._queue.remove(job):
            self.launcher.give_up(job)
        self._ahead.remove(job)
        self._release_slot(job)
        self._outcomes.forget(job)

    def acquire_slot(self, job: JobEntry) -> None:
        """Give a slot to a job whose turn it is, or that is already at the service."""
        self._slots.acquire(job.id, job.request.group)

    def slots_changed(self) -> None:
        """React to a slot of another client, taken or freed."""
        self._slots.elsewhere = len(self.coordinator.slots_elsewhere)
        self._denied = False
        self.wake.set()

    def on_change(self, change: Change) -> None:
        """React to a change of a job: free its slot, or queue it again if the service does not have it."""
        job, before, after = change.job, change.before, change.after
        if before is JobState.UPLOADING:
            self._ahead.remove(job)
            if after is JobState.CREATING and job.id not in self._slots.held:
                self.acquire_slot(job)
                self._in_flight.add(job.id)
        # The slot of a create is freed by its own task, which knows why it ended; an attached job has no slot.
        if before in HOLDS_SLOT and before is not JobState.CREATING and after not in HOLDS_SLOT:
            remains = before is JobState.LOST or resumes_later(job.facts.error)
            if after is JobState.FAILED and remains:
                self._admission.ask_first = True
            self._release_slot(job)
        elif before is JobState.LOST and after in AT_SERVICE and job.id not in self._slots.held:
            self.acquire_slot(job)  # it was freed while the job was searched for
        if after in AT_SERVICE and before not in AT_SERVICE:
            self._pause.ended()
            self._slots.accepted(self.clock())
            self._outcomes.accepted(job)
            self.wake.set()  # the next song may be sent ahead
        elif before is JobState.LOST and after is JobState.QUEUED:
            self._outcomes.handle_absent(job, cancelling=job.id in self.cancelling)
        if job.done():
            self._outcomes.forget(job)

    def update_account(self, user: User) -> None:
        """Update the slots from the account's plan and its number of unfinished jobs."""
        self.account.learned(user)
        self._pause.token_accepted()
        self._slots.relimit(self.concurrency or allowed(user))
        if user.is_premium:
            self._pause.limit_ended()
        if user.current_queue.count is not None:
            ours = count_listed(self._holders(), user.current_queue, self.coordinator.slots_elsewhere)
            self._slots.account_reported(user.current_queue.count, self.clock(), ours=ours)
        self.wake.set()

    def _queue_again(self, job: JobEntry) -> None:
        """Put a job that the service does not have at the front of the queue."""
        if self.registry.is_elsewhere(job):
            return
        if job.id in self.cancelling:
            self.registry.cancel(job, "before it was accepted")
            return
        if not self.coordinator.can_continue(job):
            return
        self._queue.push_first(job)
        if job.has_subscribers:
            self.queue_progress.queued_again(job)
        self.wake.set()

    def _release_slot(self, job: JobEntry) -> None:
        if job.id not in self._slots.held:
            return
        self._ahead.policy.slot_freed()
        self.queue_progress.slot_released(job, served=job.facts.separation is not None)
        self._slots.release(job.id)
        self.registry.emit(SlotFreed(job.id, len(self._slots.held), self._slots.limit))
        self.wake.set()

    async def _fail_queue(self, error: MVSepError) -> None:
        yielder = Yielder()
        for job in self._queue.drain():  # 100,000 jobs take seconds, so other tasks run in between
            if job.state is JobState.QUEUED:
                self._outcomes.fail(job, error)
            await yielder.maybe_yield()

    def _pause_message(self) -> str | None:
        """Return why no create begins, as the message of queued jobs; `None` if nothing is wrong."""
        if self.coordinator.problem is not None:
            return self.coordinator.problem
        return None if self._pause.error is None else self._pause.error.message

    def _holders(self) -> list[JobEntry]:
        return [job for job in map(self.registry.jobs.get, self._slots.held) if job is not None]


def _group_and_priority(job: JobEntry) -> tuple[str | None, int]:
    return job.request.group, job.request.priority
