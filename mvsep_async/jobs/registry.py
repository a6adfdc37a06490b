"""The registry of a client's jobs: the only place that changes a job, in memory, in the journal and for its handles."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from math import inf, nextafter
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from anyio import CancelScope
from attrs import define, evolve, field, frozen

from mvsep_async.errors import (
    AuthenticationError,
    ConfigurationError,
    JournalError,
    MVSepError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    SubmissionUnknownError,
    WireError,
)
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.journal import Journal, Record
from mvsep_async.jobs.lifecycle import JobEvent, JobState, next_state, stage_of
from mvsep_async.jobs.progress import QUEUED, Progress, fraction
from mvsep_async.jobs.request import JobRequest
from mvsep_async.models.stage import Stage
from mvsep_async.observe.events import Listener, emitter
from mvsep_async.sources import Data

__all__ = ["Change", "JobRegistry", "resumes_later"]

logger = logging.getLogger("mvsep_async")

_NOT_ACCEPTED = (JobState.QUEUED, JobState.UPLOADING, JobState.CREATING, JobState.LOST)
"""States in which the song may have to be sent, for the first time or again."""

_TRANSIENT = (
    AuthenticationError,
    ConfigurationError,
    JournalError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    WireError,
)


def resumes_later(error: MVSepError | None) -> bool:
    """Tell whether a job that failed with this error is resumed when the journal is opened the next time.

    This is so if the service did not end the job: for an outage longer than `patience`, a full disk, a revoked token.
    The journal keeps the state from before such an error.
    """
    return isinstance(error, _TRANSIENT) and not isinstance(error, SubmissionUnknownError)


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
    _by_hash: dict[str, JobEntry] = field(factory=dict)
    _by_key: dict[str, JobEntry] = field(factory=dict)
    _by_fingerprint: dict[str, JobEntry] = field(factory=dict)
    _by_content: dict[str, JobEntry] = field(factory=dict)
    _unrecorded: set[str] = field(factory=set)
    """Ids of jobs that the journal does not record."""
    _observers: list[Observer] = field(factory=list)
    _changes: deque[Change] = field(factory=deque)
    _draining: bool = False
    _last_stamp: float = 0.0

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
        job = self.elsewhere.pop(record.request.id, None) or JobEntry(record.request)
        self._load(job, record, None)
        self._index(job)
        return job

    def acquire(self, record: Record) -> JobEntry:
        """Add a job of another client that is this client's from now on. One that was pruned is listed again."""
        return self.restore(evolve(record, facts=evolve(record.facts, archived=False)))

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

    def find(
        self,
        *,
        hash: str | None = None,
        key: str | None = None,
        fingerprint: str | None = None,
        content: str | None = None,
    ) -> JobEntry | None:
        """Return the job with this hash at the service, caller's key, or fingerprint of file or audio."""
        if hash is not None:
            return self._by_hash.get(hash)
        if key is not None:
            return self._by_key.get(key)
        if content is not None:
            return self._by_content.get(content)
        return self._by_fingerprint.get(fingerprint) if fingerprint is not None else None

    def song_moved(self, job: JobEntry, request: JobRequest) -> None:
        """Update a job whose song was moved or touched: its fingerprint, and its path if it is not sent yet."""
        changes: dict[str, Any] = {"fingerprint": request.fingerprint}
        if job.state in _NOT_ACCEPTED:
            changes["source"] = request.source
        self._drop_fingerprints(job)
        job.request = evolve(job.request, **changes)
        self._index(job)
        self.journal.amend(job.request)

    def apply(self, job: JobEntry, event: JobEvent, *, progress: Progress | None = None, **changes: Any) -> None:
        """Apply an event to a job at once; the journal is written later. `changes` are fields of its `Facts`.

        Raises `IllegalEventError` for an event that is not allowed in the job's state.
        """
        if self.is_elsewhere(job):
            job.facts = evolve(job.facts, **_local(changes))
            return
        state, facts = self._next(job, event, changes)
        self._record(job, state, facts)
        self._set(job, state, facts, progress)

    async def commit(self, job: JobEntry, event: JobEvent, *, progress: Progress | None = None, **changes: Any) -> None:
        """Apply an event to a job after the journal has it on disk, safe from a power loss; it is not cancellable.

        Raises `JournalError` if the journal could not be written. The event is applied nevertheless, since it happened
        at the service, and the journal retries the write.
        """
        if self.is_elsewhere(job):
            job.facts = evolve(job.facts, **_local(changes))
            return
        state, facts = self._next(job, event, changes)
        self._record(job, state, facts)
        with CancelScope(shield=True):
            try:
                await self.journal.flush(synced=True)
            finally:
                self._set(job, state, facts, progress)

    def refine(self, job: JobEntry, **changes: Any) -> None:
        """Change facts of a job without changing its state."""
        if self.is_elsewhere(job):
            job.facts = evolve(job.facts, **_local(changes))
            return
        facts = evolve(job.facts, **changes)
        self._record(job, job.state, facts)
        job.facts = facts
        self._index_hashes(job)

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

    def is_elsewhere(self, job: JobEntry) -> bool:
        """Tell whether a job belongs to another client of the shared journal."""
        return self.elsewhere.get(job.id) is job

    def _drop(self, job: JobEntry) -> None:
        self.jobs.pop(job.id, None)
        self._unrecorded.discard(job.id)
        for index, name in ((self._by_hash, job.facts.hash), (self._by_hash, job.facts.remote)):
            if name is not None and index.get(name) is job:  # not another entry of the same hash
                del index[name]
        if job.request.key is not None and self._by_key.get(job.request.key) is job:
            del self._by_key[job.request.key]
        self._drop_fingerprints(job)

    def _load(self, job: JobEntry, record: Record, progress: Progress | None) -> None:
        """Set everything of a job from the journal, and publish its progress."""
        job.request, job.state, job.facts = record.request, record.state, record.facts
        stage = stage_of(record.state, creating=job.create_stage)
        complete = stage is Stage.FINISHED or (stage is Stage.DONE and record.request.target is None)
        if progress is not None and not complete:
            # A client that takes over a job does not know how far the one before it had come.
            known = max((one for one in (job.progress.fraction, progress.fraction) if one is not None), default=None)
            shown = evolve(progress, stage=stage, fraction=known)
        elif record.state is JobState.QUEUED:
            shown = QUEUED
        else:
            shown = Progress(stage=stage, fraction=1.0 if complete else job.progress.fraction)
        if shown != job.progress:
            self._publish(job, shown)

    def _index(self, job: JobEntry) -> None:
        if not job.facts.archived:
            self.jobs[job.id] = job
        if job.request.key is not None:
            self._by_key[job.request.key] = job
        if job.request.fingerprint is not None:
            self._by_fingerprint[job.request.fingerprint] = job
        if job.request.content is not None:
            self._by_content[job.request.content] = job
        if job.facts is not NOTHING:
            self._index_hashes(job)

    def _drop_fingerprints(self, job: JobEntry) -> None:
        request = job.request
        for index, name in ((self._by_fingerprint, request.fingerprint), (self._by_content, request.content)):
            if name is not None and index.get(name) is job:
                del index[name]

    def _index_hashes(self, job: JobEntry) -> None:
        for name in (job.facts.hash, job.facts.remote):
            if name is not None:
                self._by_hash[name] = job

    def _next(self, job: JobEntry, event: JobEvent, changes: dict[str, Any]) -> tuple[JobState, Facts]:
        return next_state(job.id, job.state, event), evolve(job.facts, **changes) if changes else job.facts

    def _record(self, job: JobEntry, state: JobState, facts: Facts) -> None:
        transient = state is JobState.FAILED and facts.error is not None and resumes_later(facts.error)
        if job.id not in self._unrecorded and not transient:
            self.journal.update(job.id, state, facts)

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


def _local(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that describe files on this machine."""
    return {name: value for name, value in changes.items() if name in ("planned", "paths")}
