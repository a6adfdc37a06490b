"""The registry of a client's jobs: the only place that changes a job, in memory, in the journal and for its handles."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from math import inf, nextafter
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

from anyio import CancelScope
from attrs import define, evolve, field, frozen

from mvsep_async.errors import JobCancelledError, MVSepError
from mvsep_async.jobs.entry import JobEntry, LookupKey
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.failures import resumes_later
from mvsep_async.jobs.journal import Journal, Record
from mvsep_async.jobs.lifecycle import BEFORE_SERVICE, JobEvent, JobState, next_state, stage_of
from mvsep_async.jobs.progress import QUEUED, Progress, fraction
from mvsep_async.jobs.request import JobRequest
from mvsep_async.models.stage import Stage
from mvsep_async.observe.events import Listener, emitter
from mvsep_async.sources import Data, Spooled

__all__ = ["Change", "JobRegistry"]

logger = logging.getLogger("mvsep_async")

_LOCAL: Final = ("planned", "paths")
"""The facts that describe files on this machine."""


@frozen
class Change:
    """A change of a job's state."""

    job: JobEntry
    before: JobState
    after: JobState


Observer: TypeAlias = Callable[[Change], None]
"""Called after each change of state; it must not block. It may apply events, which are reported after it returns."""


@define(eq=False)
class JobRegistry:
    """All jobs of one client, and the only writer of their attributes.

    `emit` passes events to the caller's `on_event` listener. `wall` is the clock of the stamps, which all clients with
    the same journal share.

    With a shared journal, `elsewhere` has the jobs of other clients that have handles here. What this client still
    learns of them is not recorded: their own clients do that.
    """

    journal: Journal
    emit: Listener = field(factory=lambda: emitter(None))
    wall: Callable[[], float] = field(factory=lambda: time.time)
    elsewhere: WeakValueDictionary[str, JobEntry] = field(factory=WeakValueDictionary)
    jobs: dict[str, JobEntry] = field(factory=dict)
    _indexes: dict[LookupKey, dict[str, JobEntry]] = field(init=False)
    _unrecorded: set[str] = field(factory=set)
    """Ids of jobs that the journal does not record."""
    _interrupted: dict[str, JobState] = field(factory=dict)
    """The states, as in the journal, of jobs that an outage or the like ended only here."""
    _observers: list[Observer] = field(factory=list)
    _changes: deque[Change] = field(factory=deque)
    _draining: bool = False
    _last_stamp: float = 0.0

    def __attrs_post_init__(self) -> None:
        self._indexes = {"id": self.jobs, "hash": {}, "key": {}, "fingerprint": {}, "content": {}}

    def subscribe(self, observer: Observer) -> None:
        """Call `observer` after each change of state, in the order of the changes."""
        self._observers.append(observer)

    def add(self, request: JobRequest) -> JobEntry:
        """Add a queued job. Raises `JournalError` for a request that the journal cannot hold."""
        self.journal.add(request)  # first, since it may raise
        job = JobEntry(request)
        self._index(job)
        return job

    def add_unrecorded(self, request: JobRequest, state: JobState, facts: Facts) -> JobEntry:
        """Add a job that the journal does not record: one created by another program, or a rejected request."""
        job = JobEntry(request, state=state, facts=facts)
        self._unrecorded.add(request.id)
        self._publish(job, Progress(stage=stage_of(state, creating=job.create_stage)))
        self._index(job)
        return job

    def restore(self, record: Record) -> JobEntry:
        """Add a job from the journal, in the state in which the last process left it."""
        self._last_stamp = max(self._last_stamp, record.facts.intent_at or 0.0, record.facts.accepted_at or 0.0)
        id = record.request.id
        # The same entry as before, also if this client has got the job meanwhile: handles refer to it.
        job = self.elsewhere.pop(id, None) or self.jobs.get(id) or JobEntry(record.request)
        self._load(job, record, None)
        self._index(job)
        return job

    def resume(self, job: JobEntry) -> bool:
        """Put a job that failed temporarily back into the state that the journal has; `False` for any other job.

        One whose song was passed as bytes and may have to be sent again is not resumed if the bytes are gone.
        """
        state = self._interrupted.get(job.id)
        bytes_gone = isinstance(job.request.source, Data | Spooled) and self.journal.spool is None
        if job.state is not JobState.FAILED or state is None or (bytes_gone and state in BEFORE_SERVICE):
            return False
        del self._interrupted[job.id]
        job.state, job.facts = state, evolve(job.facts, error=None)
        stage = stage_of(state, creating=job.create_stage)
        self._publish(job, Progress(stage=stage, fraction=job.progress.fraction))
        return True

    def may_be_paid(self, job: JobEntry) -> bool:
        """Tell whether a job of the journal has failed only temporarily, and the service has or may have it."""
        if job.state is not JobState.FAILED or not self.is_recorded(job) or not resumes_later(job.facts.error):
            return False
        before = self._interrupted.get(job.id, JobState.LOST)
        sent = job.facts.attempts > 0 and before in (JobState.CREATING, JobState.LOST)
        return job.hash is not None or sent

    def acquire(self, record: Record) -> JobEntry:
        """Add a finished job of another client that is this client's from now on. One that was pruned is listed again.

        If that client ended during its download, the download is left to the caller.
        """
        state = JobState.DONE if record.state is JobState.DOWNLOADING else record.state
        return self.restore(evolve(record, state=state, facts=evolve(record.facts, archived=False)))

    def mirror(self, record: Record, progress: Progress | None = None) -> JobEntry:
        """Return the entry of a job of another client, with what the shared journal holds of it."""
        own = self.jobs.get(record.request.id)
        if own is not None:
            return own  # taken over since the journal was read
        job = self.elsewhere.get(record.request.id) or JobEntry(record.request)
        self.elsewhere[job.id] = job
        self._load(job, record, progress)
        return job

    def release(self, job: JobEntry) -> None:
        """Leave a job to another client; its handles stay valid."""
        self._drop(job)
        self.elsewhere[job.id] = job

    def stamp(self) -> float:
        """Return a Unix time that is later than every earlier stamp of the journal, even if the clock was set back.

        So stamps give the order of creates and acceptances, also across restarts.
        """
        self._last_stamp = max(self.wall(), nextafter(self._last_stamp, inf))
        return self._last_stamp

    def find(self, by: LookupKey, value: str | None) -> JobEntry | None:
        """Return the job of this client with this name; `None` if there is none, or no value."""
        return None if value is None else self._indexes[by].get(value)

    def song_moved(self, job: JobEntry, request: JobRequest) -> None:
        """Update a job whose song was moved or touched: its fingerprint, and its path if it is not sent yet."""
        changes: dict[str, Any] = {"fingerprint": request.fingerprint}
        if job.state in BEFORE_SERVICE:
            changes["source"] = request.source
        self._remove_names(job)
        job.request = evolve(job.request, **changes)
        self._index(job)
        self.journal.amend(job.request)

    def apply(self, job: JobEntry, event: JobEvent, *, progress: Progress | None = None, **changes: Any) -> None:
        """Apply an event to a job at once; the journal is written later. `changes` are fields of its `Facts`.

        Raises `IllegalEventError` for an event that is not allowed in the job's state.
        """
        recorded = self._record(job, event, changes)
        if recorded is not None:
            self._set(job, *recorded, progress)

    def cancel(self, job: JobEntry, where: str) -> None:
        """Apply `CANCELLED` to a job, with an error that says where it was cancelled."""
        error = JobCancelledError(f"job {job.id} was cancelled {where}", job=job.id, hash=job.hash)
        self.apply(job, JobEvent.CANCELLED, error=error)

    async def commit(self, job: JobEntry, event: JobEvent, *, progress: Progress | None = None, **changes: Any) -> None:
        """Apply an event to a job after the journal has it on disk, safe from a power loss; it is not cancellable.

        Raises `JournalError` if the journal could not be written. The event is applied nevertheless, since it happened
        at the service, and the journal retries the write.
        """
        recorded = self._record(job, event, changes)
        if recorded is None:
            return
        with CancelScope(shield=True):
            try:
                await self.journal.flush(synced=True)
            finally:
                self._set(job, *recorded, progress)

    def refine(self, job: JobEntry, **changes: Any) -> None:
        """Change facts of a job without changing its state."""
        recorded = self._record(job, None, changes)
        if recorded is not None:
            _, job.facts = recorded
            self._index_hashes(job)

    def answered_late(self, job: JobEntry, **named: Any) -> None:
        """Record the answer to a create of a job that was given up meanwhile, since its client may search for it."""
        if self.is_elsewhere(job):
            self.journal.update(job.id, JobState.WAITING, evolve(job.facts, **named))
        elif job.state is JobState.LOST:
            self.apply(job, JobEvent.FOUND, **named)

    def set_error(self, job: JobEntry, error: MVSepError) -> None:
        """Set the error of a job that is over, such as that of a later download; the journal does not record it."""
        job.facts = evolve(job.facts, error=error)

    def drop_data(self, job: JobEntry) -> None:
        """Free the memory of a song that was passed as bytes and is not sent again; the job itself stays."""
        if isinstance(job.request.source, Data):
            job.request = evolve(job.request, source=job.request.source.emptied())

    def show(self, job: JobEntry, progress: Progress) -> None:
        """Publish new progress of a job. The stage is set from the job's state, and the fraction never decreases."""
        if self.is_elsewhere(job):
            return
        old = job.progress
        stage = stage_of(job.state, creating=job.create_stage)
        if old is QUEUED and stage is Stage.QUEUED and progress.message is None:
            self._publish(job, QUEUED)
            return
        new = evolve(
            progress,
            stage=stage,
            bytes_sent=progress.bytes_sent if progress.bytes_sent is not None else old.bytes_sent,
            bytes_total=progress.bytes_total if progress.bytes_total is not None else old.bytes_total,
        )
        new = evolve(new, fraction=fraction(new, old.fraction, downloads=job.request.target is not None))
        if new != old:
            self._publish(job, new)

    def archive(self, jobs: Iterable[JobEntry]) -> None:
        """Remove jobs from `jobs`, but keep their fingerprints, so that their songs are still recognised."""
        for job in jobs:
            self.jobs.pop(job.id, None)
            self.refine(job, archived=True)

    def forget(self, jobs: Iterable[JobEntry]) -> None:
        """Remove jobs from memory and from the journal."""
        dropped = list(jobs)
        for job in dropped:
            self._drop(job)
        self.journal.forget([job.request for job in dropped])

    def is_recorded(self, job: JobEntry) -> bool:
        """Tell whether the journal has a job."""
        return job.id not in self._unrecorded

    def is_elsewhere(self, job: JobEntry) -> bool:
        """Tell whether a job belongs to another client of the shared journal."""
        return self.elsewhere.get(job.id) is job

    def _drop(self, job: JobEntry) -> None:
        self.jobs.pop(job.id, None)
        self._unrecorded.discard(job.id)
        self._interrupted.pop(job.id, None)
        self._remove_names(job)

    def _load(self, job: JobEntry, record: Record, progress: Progress | None) -> None:
        """Set everything of a job from the journal, and publish its progress."""
        job.request, job.state, job.facts = record.request, record.state, record.facts
        stage = stage_of(record.state, creating=job.create_stage)
        complete = stage is Stage.FINISHED or (stage is Stage.DONE and record.request.target is None)
        if progress is not None and not complete:
            # A client that takes over a job does not know how far the one before it had come.
            known = max((one for one in (job.progress.fraction, progress.fraction) if one is not None), default=None)
            shown = evolve(progress, stage=stage, fraction=known)
        elif record.state is JobState.QUEUED and not job.progress.fraction:
            shown = QUEUED
        else:
            shown = Progress(stage=stage, fraction=1.0 if complete else job.progress.fraction)
        if shown != job.progress:
            self._publish(job, shown)

    def _index(self, job: JobEntry) -> None:
        if not job.facts.archived:
            self.jobs[job.id] = job
        for by, name in _names(job):
            self._indexes[by][name] = job

    def _remove_names(self, job: JobEntry) -> None:
        for by, name in _names(job):
            if self._indexes[by].get(name) is job:  # not another job of the same name
                del self._indexes[by][name]

    def _index_hashes(self, job: JobEntry) -> None:
        """Index a job by its hashes, unless it was attached to and the journal has another job with the same hash."""
        hashes = self._indexes["hash"]
        for name in (job.facts.hash, job.facts.remote):
            if name is not None and (self.is_recorded(job) or not self.is_recorded(hashes.get(name, job))):
                hashes[name] = job

    def _record(self, job: JobEntry, event: JobEvent | None, changes: dict[str, Any]) -> tuple[JobState, Facts] | None:
        """Record a change in the journal, and return the state and facts that follow from it.

        Returns `None` for another client's job: only the files on this machine are noted, since that client records the
        rest.
        """
        if self.is_elsewhere(job):
            job.facts = evolve(job.facts, **{name: changes[name] for name in _LOCAL if name in changes})
            return None
        state = job.state if event is None else next_state(job.id, job.state, event)
        facts = evolve(job.facts, **changes) if changes else job.facts
        transient = state is JobState.FAILED and resumes_later(facts.error)
        if transient:
            self._interrupted[job.id] = job.state
        elif job.id not in self._unrecorded:
            self.journal.update(job.id, state, facts)
        return state, facts

    def _set(self, job: JobEntry, state: JobState, facts: Facts, progress: Progress | None) -> None:
        before = job.state
        job.state, job.facts = state, facts
        self._index_hashes(job)
        message = str(facts.error) if state in (JobState.FAILED, JobState.CANCELLED) and facts.error else None
        if state is not before or progress is not None:
            self.show(job, progress or Progress(stage=Stage.QUEUED, message=message))
        if state is not before:
            logger.debug("job %s: %s -> %s", job.id, before.value, state.value)
            self._changes.append(Change(job, before, state))
            self._drain()

    def _drain(self) -> None:
        """Report each change to all observers in order; a change made by an observer is reported after this one."""
        if self._draining:
            return
        self._draining = True
        try:
            while self._changes:
                change = self._changes.popleft()
                for observer in self._observers:
                    observer(change)
        finally:
            self._draining = False

    def _publish(self, job: JobEntry, progress: Progress) -> None:
        job.progress = progress
        job.publish(progress)


def _names(job: JobEntry) -> Iterator[tuple[LookupKey, str]]:
    """Yield each name by which a job is found, besides its id."""
    request, facts = job.request, job.facts
    if request.key is not None:
        yield "key", request.key
    if request.fingerprint is not None:
        yield "fingerprint", request.fingerprint
    if request.content is not None:
        yield "content", request.content
    for hash in () if facts is NOTHING else (facts.hash, facts.remote):
        if hash is not None:
            yield "hash", hash
