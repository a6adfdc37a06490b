"""The one owner of what changes about jobs: every event goes through here into memory, journal and handles."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from anyio import CancelScope
from attrs import define, evolve, field

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
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.job import Job, JobBackend
from mvsep_async.jobs.journal import Journal, Record
from mvsep_async.jobs.lifecycle import JobEvent, JobState, after, stage_of
from mvsep_async.jobs.progress import QUEUED, Progress, fraction
from mvsep_async.jobs.request import JobRequest
from mvsep_async.models.stage import Stage
from mvsep_async.observe.events import Listener, emitter
from mvsep_async.sources import is_url

__all__ = ["JobRegistry", "goes_on_later"]

logger = logging.getLogger("mvsep_async")

_PASSING = (
    AuthenticationError,
    ConfigurationError,
    JournalError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    WireError,
)


def goes_on_later(error: MVSepError | None) -> bool:
    """Tell whether a job that ended with this error is taken up again when the journal is opened the next time.

    So it is wherever the service did not end the job: an outage longer than our patience, a full disk, a revoked
    token. The journal keeps the state from before such an error.
    """
    return isinstance(error, _PASSING) and not isinstance(error, SubmissionUnknownError)


@define(eq=False)
class JobRegistry:
    """All jobs of one client, and every change to them.

    `react(job, before)` is called after each change of state; it must not wait. `emit` gets the
    events for the caller's listener.
    """

    backend: JobBackend
    journal: Journal
    react: Callable[[Job, JobState], None]
    emit: Listener = field(factory=lambda: emitter(None))
    jobs: dict[str, Job] = field(factory=dict)
    _by_hash: dict[str, Job] = field(factory=dict)
    _by_key: dict[str, Job] = field(factory=dict)
    _by_fingerprint: dict[str, Job] = field(factory=dict)
    _attached: set[str] = field(factory=set)

    def enter(self, request: JobRequest) -> Job:
        """Take in a new job, queued."""
        self.journal.add(request)  # first, since it may refuse
        job = Job(self.backend, request)
        self._index(job)
        return job

    def attach(self, request: JobRequest, state: JobState, facts: Facts) -> Job:
        """Take in a job that was made elsewhere: it is watched here, but the journal does not record it."""
        job = Job(self.backend, request, state=state, facts=facts)
        self._attached.add(request.id)
        job.show(Progress(stage=stage_of(state, creating=_creating(request))))
        self._index(job)
        return job

    def restore(self, record: Record) -> Job:
        """Take in a job that the journal holds, as it stood when the last process ended."""
        job = Job(self.backend, record.request, state=record.state, facts=record.facts)
        if record.state is not JobState.QUEUED:
            stage = stage_of(record.state, creating=_creating(record.request))
            whole = 1.0 if stage in (Stage.DONE, Stage.FINISHED) and record.request.target is None else None
            job.show(Progress(stage=stage, fraction=1.0 if stage is Stage.FINISHED else whole))
        self._index(job)
        return job

    def known(self, *, hash: str | None = None, key: str | None = None, fingerprint: str | None = None) -> Job | None:
        """Return the job with this hash at the service, caller's key, or fingerprint of source and settings."""
        if hash is not None:
            return self._by_hash.get(hash)
        if key is not None:
            return self._by_key.get(key)
        return self._by_fingerprint.get(fingerprint) if fingerprint is not None else None

    def apply(self, job: Job, event: JobEvent, *, progress: Progress | None = None, **changes: Any) -> None:
        """Change a job now, and have the journal written soon. `changes` are fields of its `Facts`."""
        state, facts = self._next(job, event, changes)
        self._note(job, state, facts)
        self._become(job, state, facts, progress)

    async def commit(self, job: Job, event: JobEvent, *, progress: Progress | None = None, **changes: Any) -> None:
        """Change a job once the journal has it on disk, safe from a loss of power; it cannot be cancelled half-way.

        Raises `JournalError` where it could not be written; the job has changed all the same, since what happened at
        the service did happen, and the journal tries again.
        """
        state, facts = self._next(job, event, changes)
        self._note(job, state, facts)
        with CancelScope(shield=True):
            try:
                await self.journal.flush(synced=True)
            finally:
                self._become(job, state, facts, progress)

    def refine(self, job: Job, **changes: Any) -> None:
        """Add to what is known of a job without a change of its state."""
        facts = evolve(job.facts, **changes)
        self._note(job, job.state, facts)
        job.facts = facts

    def show(
        self,
        job: Job,
        progress: Progress,
        *,
        first_place: int | None = None,
        share_of_time: float | None = None,
    ) -> None:
        """Show new numbers of a job that stays in its state; its stage and fraction are worked out here."""
        old = job._progress
        stage = stage_of(job.state, creating=_creating(job.request))
        if old is QUEUED and stage is Stage.QUEUED and progress.message is None:
            job.show(QUEUED)
            return
        new = evolve(
            progress,
            stage=stage,
            bytes_sent=progress.bytes_sent if progress.bytes_sent is not None else old.bytes_sent,
            bytes_total=progress.bytes_total if progress.bytes_total is not None else old.bytes_total,
        )
        far = fraction(
            new,
            old.fraction,
            first_place=first_place,
            share_of_time=share_of_time,
            downloads=job.request.target is not None,
        )
        new = evolve(new, fraction=far)
        if new != old:
            job.show(new)

    def forget(self, jobs: Iterable[Job]) -> None:
        """Drop jobs, here and from the journal."""
        dropped = list(jobs)
        for job in dropped:
            self.jobs.pop(job.id, None)
            self._attached.discard(job.id)
            for index, name in ((self._by_hash, job.facts.hash), (self._by_hash, job.facts.remote)):
                if name is not None and index.get(name) is job:  # not another handle of the same job
                    del index[name]
            if job.request.key is not None:
                self._by_key.pop(job.request.key, None)
            if job.request.fingerprint is not None and self._by_fingerprint.get(job.request.fingerprint) is job:
                del self._by_fingerprint[job.request.fingerprint]
        self.journal.forget([job.request for job in dropped])

    def _index(self, job: Job) -> None:
        self.jobs[job.id] = job
        if job.request.key is not None:
            self._by_key[job.request.key] = job
        if job.request.fingerprint is not None:
            self._by_fingerprint[job.request.fingerprint] = job
        if job.facts is not NOTHING:
            self._index_hashes(job)

    def _index_hashes(self, job: Job) -> None:
        for name in (job.facts.hash, job.facts.remote):
            if name is not None:
                self._by_hash[name] = job

    def _next(self, job: Job, event: JobEvent, changes: dict[str, Any]) -> tuple[JobState, Facts]:
        return after(job.id, job.state, event), evolve(job.facts, **changes) if changes else job.facts

    def _note(self, job: Job, state: JobState, facts: Facts) -> None:
        passing = state is JobState.FAILED and facts.error is not None and goes_on_later(facts.error)
        if job.id not in self._attached and not passing:
            self.journal.update(job.id, state, facts)

    def _become(self, job: Job, state: JobState, facts: Facts, progress: Progress | None) -> None:
        before = job.state
        job.state, job.facts = state, facts
        self._index_hashes(job)
        message = str(facts.error) if state in (JobState.FAILED, JobState.CANCELLED) and facts.error else None
        if state is not before or progress is not None:
            self.show(job, progress or Progress(stage=Stage.QUEUED, message=message))
        if state is not before:
            logger.debug("job %s: %s -> %s", job.id, before.value, state.value)
            self.react(job, before)


def _creating(request: JobRequest) -> Stage:
    """Return what a create looks like from outside: only a file is uploaded."""
    if request.source is None:
        return Stage.WAITING
    return Stage.FETCHING if is_url(request.source) else Stage.UPLOADING
