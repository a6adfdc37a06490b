"""Submitting: a prepared request becomes a queued job, once the journal has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, evolve, field

from mvsep_async.concurrency import CallerScopes, KeyedLock
from mvsep_async.errors import DownloadError, InvalidRequestError, MVSepError, UploadError
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.fingerprint import fingerprint_of
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
                return known or await self._add(await self._prepare(request))

    async def submit_or_resume(self, request: JobRequest) -> JobEntry:
        """Queue one of many jobs; return the one that the journal holds for the same song and settings, if any.

        A song that cannot be sent gives a failed job.
        """
        await self.callers.maybe_yield()
        try:
            with self.callers.enter():
                return await self._add_if_new(await self._prepare(request))
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

    async def _add_if_new(self, request: JobRequest) -> JobEntry:
        fingerprint = None
        if self.durable:
            try:
                fingerprint = await fingerprint_of(request.source, request.settings)
            except BaseException:
                await self.preparer.discard(request)
                raise
        async with self._locks.for_key(fingerprint):
            known = self.registry.find(fingerprint=fingerprint)
            if known is None:
                return await self._add(evolve(request, fingerprint=fingerprint))
        await self.preparer.discard(request)
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
