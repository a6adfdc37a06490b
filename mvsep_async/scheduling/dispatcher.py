"""The dispatcher: begins a create whenever there is a slot and a queued job for it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from math import inf

import anyio
from anyio.abc import TaskGroup
from attrs import Factory, define, field

from mvsep_async.concurrency import Yielder
from mvsep_async.errors import (
    DailyLimitError,
    InvalidRequestError,
    MVSepError,
    NoFreeSlotError,
)
from mvsep_async.jobs.coordinator import Coordinator
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import AT_SERVICE, HOLDS_SLOT, JobEvent, JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.registry import Change, JobRegistry
from mvsep_async.models.user import User
from mvsep_async.observe.events import Retried, SlotFreed, SlotTaken
from mvsep_async.scheduling.account import AccountWatch
from mvsep_async.scheduling.ahead import AheadUploads
from mvsep_async.scheduling.cancel import mark_cancelled
from mvsep_async.scheduling.groups import GroupSlots
from mvsep_async.scheduling.pauses import QueuePause, Wait, WaitReason
from mvsep_async.scheduling.queue import FairQueue
from mvsep_async.scheduling.queue_progress import QueueProgress
from mvsep_async.scheduling.refusals import Verdict, classify_refusal, needs_account
from mvsep_async.scheduling.send_ahead import SendAhead
from mvsep_async.scheduling.slots import Slots, allowed, count_accepted, count_listed
from mvsep_async.submission.create import CreateResult, Fate, Launcher
from mvsep_async.submission.upload_queue import UploadQueue

__all__ = ["Dispatcher"]

logger = logging.getLogger("mvsep_async")


@define(eq=False)
class Dispatcher:
    """Begins creates for queued jobs while there are free slots.

    `concurrency`: most unfinished jobs at one time, `None` for the account's limit. `group_cap`: most of one group.
    `account`: what is known of the account. `uploads`: the upload queue of the launcher.
    `coordinator`: grants the slots, since other clients may share the account.
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
    uploads: UploadQueue = field(default=Factory(lambda self: UploadQueue(self.clock), takes_self=True))
    queue_progress: QueueProgress = field(init=False)
    cancelling: set[str] = field(factory=set)
    """Ids of jobs that a caller is cancelling: they are not queued again."""
    _queue: FairQueue[JobEntry] = field(factory=FairQueue)
    _slots: Slots = field(init=False)
    _groups: GroupSlots = field(init=False)
    _pause: QueuePause = field(init=False)
    _ahead: AheadUploads = field(init=False)
    _asking: bool = False
    _in_flight: set[str] = field(factory=set)
    """Ids of jobs that have a slot and whose creates have not ended."""
    _denied: bool = False
    """Whether the coordinator granted no slot, and nothing has changed since."""
    _unexplained: Counter[str] = field(factory=Counter)
    _lost: dict[str, tuple[Outage, MVSepError]] = field(factory=dict)
    """Jobs whose creates get no response: how long that has lasted, and the last error."""
    _wake: anyio.Event = field(factory=anyio.Event)

    def __attrs_post_init__(self) -> None:
        self._slots = Slots(self.concurrency or allowed(None), self.time_scale)
        self._groups = GroupSlots(self.group_cap)
        self._pause = QueuePause(self.patience, self.time_scale)
        self._ahead = AheadUploads(self.uploads, SendAhead(self.time_scale), self._wake_up)
        self.uploads.on_idle = self._wake_up
        self.queue_progress = QueueProgress(
            self._queue, self._slots, self._groups, self._pause_message, self.time_scale, self.clock
        )

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
        self._queue.push(job, group=job.request.group, priority=job.request.priority)
        self._wake.set()

    def remove(self, job: JobEntry) -> None:
        """Remove a job from the queue."""
        self._queue.remove(job, group=job.request.group, priority=job.request.priority)
        self._wake.set()

    def slots_changed(self) -> None:
        """React to a slot of another client, taken or freed."""
        self._slots.elsewhere = len(self.coordinator.slots_elsewhere)
        self._denied = False
        self._wake.set()

    def give_up(self, job: JobEntry) -> None:
        """Stop working on a job that is another client's now."""
        if not self._queue.remove(job, group=job.request.group, priority=job.request.priority):
            self.launcher.withdraw(job)
        self._ahead.remove(job)
        self._release_slot(job)
        self._unexplained.pop(job.id, None)
        self._lost.pop(job.id, None)

    def acquire_slot(self, job: JobEntry) -> None:
        """Give a slot to a job whose turn it is, or that is already at the service."""
        self._slots.acquire(job.id)
        self._groups.acquire(job)

    def on_change(self, change: Change) -> None:
        """React to a change of a job: free its slot, or queue it again if the service does not have it."""
        job, before, after = change.job, change.before, change.after
        if before is JobState.UPLOADING:
            self._ahead.remove(job)
            if after is JobState.CREATING and job.id not in self._slots.held:
                self.acquire_slot(job)
                self._in_flight.add(job.id)
        # The slot of a create is freed by its own task, which knows why it ended; an attached job has no slot.
        freed = before in HOLDS_SLOT and before is not JobState.CREATING and after not in HOLDS_SLOT
        if freed and job.id in self._slots.held:
            self._release_slot(job)
        if after in AT_SERVICE and before not in AT_SERVICE:
            self._pause.ended()
            self._slots.accepted(self.clock())
            self._lost.pop(job.id, None)
            self._wake.set()  # the next song may be sent ahead
        elif before is JobState.LOST and after is JobState.QUEUED:
            self._create_again(job)
        if job.done():
            self._unexplained.pop(job.id, None)
            self._lost.pop(job.id, None)

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
        self._wake.set()

    async def run(self, tasks: TaskGroup) -> None:
        """Begin creates, each as one of `tasks`, until cancelled."""
        tasks.start_soon(self.queue_progress.run)
        if self.concurrency is None:
            tasks.start_soon(self.account.refresh, self.time_scale, lambda: bool(self._queue), self.update_account)
        while True:
            self._wake, self._ahead.check_at = anyio.Event(), inf
            self._denied = False
            may_begin = self.wait().reason in (WaitReason.NO_SLOT, WaitReason.GROUP_CAP)
            if may_begin and await self._account_allows():
                await self._begin_creates(tasks)
                self._begin_ahead(tasks)
            self.queue_progress.queue_changed()
            with anyio.move_on_after(min(self.wait().until, self._ahead.check_at) - self.clock()):
                await self._wake.wait()

    def wait(self) -> Wait:
        """Return why no create begins at the moment, and the time at which that may end without an event.

        Events that may end it (a submit, a freed slot, an update of the account) wake `run`.
        """
        now = self.clock()
        if not self._queue and not self._ahead:
            return Wait(WaitReason.NOTHING_QUEUED)
        if (pause := self._pause.current(now)) is not None:
            return pause
        if self._asking:
            return Wait(WaitReason.ASKING)
        if self._pause.probing and self._in_flight:
            return Wait(WaitReason.PROBING)
        if self._slots.free(now) > 0:
            return Wait(WaitReason.NOT_OUR_TURN if self._denied else WaitReason.GROUP_CAP)
        return Wait(WaitReason.NO_SLOT, self._slots.next_change(now))

    async def _begin_creates(self, tasks: TaskGroup) -> None:
        while self._slots.free(now := self.clock()) > 0 and not (self._pause.probing and self._in_flight):
            first = self._ahead.first(self._groups) or self._queue.peek(busy=self._groups.held, cap=self.group_cap)
            if first is None:
                return
            job = await self._claim(first, now)
            if job is None:
                return
            ahead = job.state is JobState.UPLOADING
            if not ahead:
                self._queue.take(job, group=job.request.group, priority=job.request.priority)
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
        job = self._queue.peek(busy=self._groups.held, cap=self.group_cap)
        if job is None or self._slots.free(now) > 0 or self._pause.probing:
            return
        if not self._ahead.is_due(job, self._holders(), now, tasks):
            return
        self._queue.pop(busy=self._groups.held, cap=self.group_cap)
        self._ahead.add(job)
        self.registry.apply(job, JobEvent.UPLOAD_BEGAN)
        tasks.start_soon(self._create, job)

    def _wake_up(self) -> None:
        self._wake.set()

    async def _account_allows(self) -> bool:
        """Tell whether creates may begin, as far as the account has to be asked."""
        self._asking = True
        try:
            return await self._know_limit() and await self._has_quota() and await self._has_room()
        finally:
            self._asking = False

    async def _know_limit(self) -> bool:
        """Request the account's limit before the first create; return whether the limit is known."""
        if self.concurrency is not None or self.account.user is not None:
            return True
        try:
            self.update_account(await self.account.request())
        except MVSepError as error:
            logger.info("the account's limit is not known yet: %s", error)
            await self._pause_queue(error)
            return False
        self._pause.answered()
        return True

    async def _create(self, job: JobEntry) -> None:
        try:
            result = await self.launcher.launch(job, self.account.plan)
            if job.id in self._slots.held:
                await self._handle_result(job, result)
            else:
                await self._handle_ahead(job, result)
        finally:
            self._in_flight.discard(job.id)
            if job.state not in HOLDS_SLOT:
                self._release_slot(job)
            self._wake.set()

    async def _handle_ahead(self, job: JobEntry, result: CreateResult) -> None:
        """Queue a job again that was sent ahead and got no slot. Only the uploaded bytes are lost."""
        self._ahead.policy.failed(self.clock())
        if result.fate is Fate.REJECTED and result.error is not None:
            self._fail(job, result.error)
            return
        if result.error is not None:
            self.registry.emit(Retried("upload", str(result.error), job.id))
        if result.fate is Fate.REFUSED:
            # The service refused it before the body was complete. It is sent again only when a slot is free.
            logger.info("job %s was refused before it was sent: %s", job.id, result.error)
        self._queue_again(job)

    async def _handle_result(self, job: JobEntry, result: CreateResult) -> None:
        error = result.error
        match result.fate:
            case Fate.LOST if error is not None:
                outage, _ = self._lost.get(job.id, (Outage(self.patience, self.time_scale), error))
                outage.failed(self.clock())
                self._lost[job.id] = outage, error
            case Fate.WITHDRAWN:
                self._queue_again(job)
            case Fate.REJECTED if error is not None:
                self._fail(job, error)
            case Fate.REFUSED if isinstance(error, InvalidRequestError | NoFreeSlotError):
                await self._refused(job, error)
            case Fate.REFUSED if isinstance(error, DailyLimitError):
                self._pause.answered()
                self.registry.emit(Retried("create", str(error), job.id))
                self._queue_again(job)
                await self._pause_for_quota(error)
            case Fate.NOT_ACCEPTED if error is not None:
                self.registry.emit(Retried("create", str(error), job.id))
                self._queue_again(job)
                await self._pause_queue(error)

    async def _refused(self, job: JobEntry, error: InvalidRequestError | NoFreeSlotError) -> None:
        self._pause.answered()
        self.registry.emit(Retried("create", str(error), job.id))
        verdict = await self._classify_refusal(job, error)
        if job.done():
            return  # cancelled during the request for the account
        if verdict is Verdict.INVALID_REQUEST:
            self._fail(job, error)
        else:
            self._queue_again(job)

    async def _classify_refusal(self, job: JobEntry, error: InvalidRequestError | NoFreeSlotError) -> Verdict:
        """Decide whether a create was refused for lack of a slot or is invalid, by the account's jobs if needed."""
        user = None
        if needs_account(error):
            try:
                user = await self.account.request()
            except MVSepError as unanswered:
                logger.info("the account could not be asked why a job was refused: %s", unanswered)
        verdict = classify_refusal(
            error,
            unfinished=None if user is None else user.current_queue.count,
            ours=count_accepted(self._holders()),
            limit=self._slots.limit,
            earlier_unexplained=self._unexplained[job.id],
        )
        if verdict is not Verdict.INVALID_REQUEST:
            stated = isinstance(error, NoFreeSlotError) and error.stated
            self._slots.refused(job.id, self.clock(), stated=stated)
        if verdict is Verdict.TRY_ONCE_MORE:
            self._unexplained[job.id] += 1
        if user is not None:
            self.update_account(user)
        return verdict

    def _create_again(self, job: JobEntry) -> None:
        """Queue a job again whose lost create did not reach the service, or fail it when `patience` is exceeded."""
        self.registry.emit(Retried("create", "its answer was lost, and the service does not have the job", job.id))
        outage, error = self._lost.get(job.id, (None, None))
        over = outage is not None and outage.failed(self.clock())
        if error is not None and over and job.id not in self.cancelling:
            self._fail(job, error)
        else:
            self._queue_again(job)

    def _queue_again(self, job: JobEntry) -> None:
        """Put a job that the service does not have at the front of the queue."""
        if self.registry.is_elsewhere(job):
            return
        if job.id in self.cancelling:
            mark_cancelled(job, self.registry, "before it was accepted")
            return
        if not self.coordinator.can_continue(job):
            return
        self._queue.push_first(job, group=job.request.group, priority=job.request.priority)
        if job.has_subscribers:
            self.queue_progress.queued_again(job)
        self._wake.set()

    def _release_slot(self, job: JobEntry) -> None:
        if not self._groups.release(job):
            return
        self._ahead.policy.slot_freed()
        self.queue_progress.slot_released(job, served=job.facts.separation is not None)
        self._slots.release(job.id)
        self.registry.emit(SlotFreed(job.id, len(self._slots.held), self._slots.limit))
        self._wake.set()

    async def _pause_queue(self, error: MVSepError) -> None:
        """Begin no create for a while. When `patience` is exceeded, all jobs queued so far fail with the error."""
        if self._pause.failed(error, self.clock()):
            await self._fail_queue(error)
        self._wake.set()

    async def _pause_for_quota(self, error: DailyLimitError) -> None:
        """Begin no create until free separations are available; if `patience` is 0, all jobs queued so far fail."""
        if self._pause.limited(error, self.clock()):
            await self._fail_queue(error)
        self._wake.set()

    async def _has_quota(self) -> bool:
        """Return whether a create may begin; after a refusal by the daily limit, request the separations left first."""
        error = self._pause.daily_limit
        if error is None:
            return True
        try:
            free = await self.account.free_separations()
        except MVSepError as unanswered:
            logger.info("the free separations that are left are not known: %s", unanswered)
            await self._pause_for_quota(error)
            return False
        if free is not None and free.left == 0:
            await self._pause_for_quota(error)
            return False
        self._pause.limit_ended()
        return True

    async def _has_room(self) -> bool:
        """Return whether a create may begin. Before a probe, check the account: a refusal may cost a whole upload."""
        waits = self._ahead.first(self._groups) or self._queue.peek(busy=self._groups.held, cap=self.group_cap)
        if waits is None or not self._slots.is_probe(self.clock()):
            return True
        try:
            self.update_account(await self.account.request())
        except MVSepError as error:
            logger.info("the account could not be asked whether it has a free slot: %s", error)
            self._slots.postpone(self.clock())
            return False
        return True

    async def _fail_queue(self, error: MVSepError) -> None:
        yielder = Yielder()
        for job in self._queue.drain():  # 100,000 jobs take seconds, so other tasks run in between
            if job.state is JobState.QUEUED:
                self._fail(job, error)
            await yielder.maybe_yield()

    def _pause_message(self) -> str | None:
        """Return why no create begins, as the message of queued jobs; `None` if nothing is wrong."""
        if self.coordinator.problem is not None:
            return self.coordinator.problem
        return None if self._pause.error is None else self._pause.error.message

    def _fail(self, job: JobEntry, error: MVSepError) -> None:
        self.registry.apply(job, JobEvent.FAILED, error=error.of(job.id, job.hash))

    def _holders(self) -> list[JobEntry]:
        return [job for job in map(self.registry.jobs.get, self._slots.held) if job is not None]
