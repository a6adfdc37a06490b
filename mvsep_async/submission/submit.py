"""Submitting: a prepared request becomes a queued job, once the journal has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from os import PathLike

from attrs import define, evolve, field

from mvsep_async.concurrency import CallerScopes, KeyedLock
from mvsep_async.errors import DownloadError, InvalidRequestError, MVSepError, UploadError
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.failures import FailureKind, classify_failure
from mvsep_async.jobs.fingerprint import content_fingerprint_of, fingerprint_of
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import JobRequest
from mvsep_async.observe.events import Submitted
from mvsep_async.submission.prepare import RequestPreparer

__all__ = ["Submitter"]


@define(eq=False)
class Submitter:
    """Makes jobs of requests.

    `check_target`: raises for a target that the results cannot be written to. `enqueue`: queues a job for a slot.
    `durable`: whether there is a journal on disk.
    """

    preparer: RequestPreparer
    registry: JobRegistry
    callers: CallerScopes
    check_target: Callable[[JobRequest], Awaitable[None]]
    enqueue: Callable[[JobEntry], None]
    durable: bool
    _locks: KeyedLock = field(factory=KeyedLock)

    async def submit(self, request: JobRequest) -> JobEntry:
        """Queue a job. With a `key` that is known, return the job that has it."""
        await self.callers.maybe_yield()
        if request.key is None and request.target is None:
            return await self._add(await self.preparer.prepare(request))
        with self.callers.enter():
            async with self._locks.for_key(request.key):
                known = self.registry.find(key=request.key)
                return known or await self._add(await self._with_fingerprint(await self._prepare(request)))

    async def submit_or_resume(self, request: JobRequest, *, retry_failed: bool = False) -> JobEntry:
        """Queue one of many jobs; return the one that the journal holds for the same song and settings, if any.

        A song that cannot be sent gives a failed job. `retry_failed`: a job that failed is replaced by a new one,
        unless its file is damaged.
        """
        await self.callers.maybe_yield()
        try:
            with self.callers.enter():
                return await self._add_if_new(await self._prepare(request), retry_failed)
        except (InvalidRequestError, UploadError, DownloadError, OSError) as error:
            return self.reject(request, error)

    def reject(self, request: JobRequest, error: Exception) -> JobEntry:
        """Return a failed job for a request that cannot be sent."""
        failure = error if isinstance(error, MVSepError) else InvalidRequestError(f"{request.source!r}: {error}")
        failure.job = request.id
        job = self.registry.attach(request, JobState.FAILED, Facts(error=failure))
        self.registry.drop_data(job)
        return job

    async def _prepare(self, request: JobRequest) -> JobRequest:
        if request.target is not None:
            await self.check_target(request)
        return await self.preparer.prepare(request)

    async def _with_fingerprint(self, request: JobRequest) -> JobRequest:
        """Return a request by which a file that changes before it is sent is recognised."""
        if request.key is None or not isinstance(request.source, str | PathLike):
            return request
        return evolve(request, fingerprint=await fingerprint_of(request.source, request.settings))

    async def _add_if_new(self, request: JobRequest, retry_failed: bool) -> JobEntry:
        """Add a job unless the journal holds one for the same song: by path, size and time, else by its audio."""
        if not self.durable:
            return await self._add(request)
        added = False
        try:
            fingerprint = await fingerprint_of(request.source, request.settings)
            async with self._locks.for_key(fingerprint):
                known = self._reusable(self.registry.find(fingerprint=fingerprint), retry_failed)
                if known is not None:
                    return known
                content = await content_fingerprint_of(request.source, request.settings)
                async with self._locks.for_key(content):
                    known = self._reusable(self.registry.find(content=content), retry_failed, moved=True)
                    request = evolve(request, fingerprint=fingerprint, content=content)
                    if known is not None:
                        self.registry.follow(known, request)
                        return known
                    added = True
                    return await self._add(request)
        finally:
            if not added:
                await self.preparer.discard(request)

    def _reusable(self, known: JobEntry | None, retry_failed: bool, *, moved: bool = False) -> JobEntry | None:
        """Return a known job; drop one that failed and is to be replaced, and return `None`.

        `moved`: its song has another name now. A job that was not sent because its file was missing is replaced.
        """
        if known is None or not known.done() or known.facts.error is None:
            return known
        error = known.facts.error
        unsent = moved and known.hash is None and isinstance(error, UploadError | InvalidRequestError)
        if unsent or (retry_failed and classify_failure(error) is not FailureKind.PERMANENT):
            self.registry.forget([known])
            return None
        return known

    async def _add(self, request: JobRequest) -> JobEntry:
        """Add a job and queue it once the journal has it; when this is cancelled or fails, there is no job."""
        try:
            job = self.registry.add(request)
            if self.durable:
                try:
                    await self.registry.journal.flush()
                except BaseException:
                    self.registry.forget([job])
                    raise
        except BaseException:
            await self.preparer.discard(request)
            raise
        self.registry.emit(Submitted(job.id, request.settings.algorithm, request.group))
        self.enqueue(job)
        return job
