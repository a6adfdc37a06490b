"""Submit requests: check and prepare each, record it in the journal, and queue the job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, nullcontext
from os import PathLike

from attrs import define, evolve, field

from mvsep_async.concurrency import CallerScopes, KeyedLock
from mvsep_async.errors import DownloadError, InvalidRequestError, MVSepError, UploadError
from mvsep_async.jobs.coordinator import Coordinator, JobView
from mvsep_async.jobs.entry import JobEntry, LookupKey
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
    """Creates queued jobs from requests.

    `check_target`: raises if results cannot be written to the target. `enqueue`: queues a job for a slot. `resume`:
    continues a job that failed temporarily. `durable`: whether there is a journal, so that known songs are recognised.
    """

    preparer: RequestPreparer
    registry: JobRegistry
    coordinator: Coordinator
    callers: CallerScopes
    check_target: Callable[[JobRequest], Awaitable[None]]
    enqueue: Callable[[JobEntry], None]
    resume: Callable[[JobEntry], bool]
    durable: bool
    _locks: KeyedLock = field(factory=KeyedLock)

    async def submit(self, request: JobRequest) -> JobEntry:
        """Queue a job and return it; if the request's `key` is already used, return the job that has it."""
        await self.callers.maybe_yield()
        if request.key is None and request.target is None:
            prepared = await self.preparer.prepare(request)
            # A shared journal may be out of reach for long, so closing the client ends the wait for it.
            with self.callers.enter() if self.coordinator.shared else nullcontext():
                return await self._add(prepared)
        with self.callers.enter():
            async with self._locks.for_key(request.key):
                known = await self.find_key(request.key)
                return known or await self._add(await self._with_fingerprint(await self._prepare(request)))

    async def submit_or_resume(self, request: JobRequest, *, retry_failed: bool = False) -> JobEntry:
        """Queue one of many jobs, or return the job that the journal has for the same song and settings.

        For a song that cannot be sent, a failed job is returned. `retry_failed`: a failed job is replaced by a new one,
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
        job = self.registry.add_unrecorded(request, JobState.FAILED, Facts(error=failure))
        self.registry.drop_data(job)
        return job

    async def _prepare(self, request: JobRequest) -> JobRequest:
        if request.target is not None:
            await self.check_target(request)
        return await self.preparer.prepare(request)

    async def _with_fingerprint(self, request: JobRequest) -> JobRequest:
        """Return the request with a fingerprint, which shows whether the file changed before it is sent."""
        if request.key is None or not isinstance(request.source, str | PathLike):
            return request
        return evolve(request, fingerprint=await fingerprint_of(request.source, request.settings))

    async def _add_if_new(self, request: JobRequest, retry_failed: bool) -> JobEntry:
        """Add a job unless the journal has one for the same song."""
        if not self.durable:
            return await self._add(request)
        async with AsyncExitStack() as locks:
            try:
                request, known = await self._find_song(request, retry_failed, locks)
            except BaseException:
                await self.preparer.discard(request)
                raise
            if known is None:
                return await self._add(request)
        await self.preparer.discard(request)
        return known

    async def _find_song(
        self, request: JobRequest, retry_failed: bool, locks: AsyncExitStack
    ) -> tuple[JobRequest, JobEntry | None]:
        """Return the request with its fingerprints, and the job of the same song, if there is one.

        The song is found by path, size and time, or by its audio. `locks` keeps other requests for it waiting.
        """
        fingerprint = await fingerprint_of(request.source, request.settings)
        await locks.enter_async_context(self._locks.for_key(fingerprint))
        found = await self.find("fingerprint", fingerprint, patient=True)
        known = self._reusable(found, retry_failed)
        if known is not None:
            return request, known
        content = await content_fingerprint_of(request.source, request.settings)
        await locks.enter_async_context(self._locks.for_key(content))
        found = await self.find("content", content, patient=True)
        known = self._reusable(found, retry_failed, moved=True)
        request = evolve(request, fingerprint=fingerprint, content=content)
        if known is not None and not self.registry.is_elsewhere(known):
            self.registry.song_moved(known, request)
        return request, known

    def _reusable(self, known: JobEntry | None, retry_failed: bool, *, moved: bool = False) -> JobEntry | None:
        """Return a known job if it can be used; remove one that failed and is to be replaced, and return `None`.

        One that failed temporarily is continued: it may be paid.

        `moved`: its song was found under another name, so a job that failed because its file was missing is replaced.
        """
        if known is None or not known.done() or known.facts.error is None:
            return known
        error = known.facts.error
        unsent = moved and known.hash is None and isinstance(error, UploadError | InvalidRequestError)
        if not unsent and self.resume(known):
            return known
        if unsent or (retry_failed and classify_failure(error) is not FailureKind.PERMANENT):
            self.registry.forget([known])
            return None
        return known

    async def find_key(self, key: str | None) -> JobEntry | None:
        """Return the job that has this key, continued if it failed temporarily."""
        known = await self.find("key", key, patient=True)
        if known is not None:
            self.resume(known)
        return known

    async def find(self, by: LookupKey, value: str | None, *, patient: bool = False) -> JobEntry | None:
        """Return the job with this name, of this client or of another one with the same journal.

        `patient`: wait for a shared journal that is out of reach.
        """
        known = self.registry.find(by, value)
        if known is not None or value is None:
            return known
        view = await self.coordinator.find(by, value, patient=patient)
        return None if view is None else self._mirror(view)

    def _mirror(self, view: JobView) -> JobEntry:
        job = self.registry.mirror(view.record, view.progress)
        self.coordinator.keep_updated(job)
        return job

    async def _add(self, request: JobRequest) -> JobEntry:
        """Add a job, write it to the journal and queue it; if this fails or is cancelled, no job is left.

        If another client has added a job with its key or song at the same time, that job is returned.
        """
        try:
            job = self.registry.add(request)
            try:
                same = await self.coordinator.admit(job)
            except BaseException:
                self.registry.forget([job])
                raise
            if same is not None:
                self.registry.forget([job])
                await self.preparer.discard(request)
                return self._mirror(same)
        except BaseException:
            await self.preparer.discard(request)
            raise
        self.registry.emit(Submitted(job.id, request.settings.algorithm, request.group))
        self.enqueue(job)
        return job
