"""An open client: the implementation of the client's methods with the parts of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve

from mvsep_async.catalogue.store import CatalogueStore
from mvsep_async.concurrency import CallerScopes
from mvsep_async.config import ClientConfig
from mvsep_async.errors import (
    ClientClosedError,
    ConfigurationError,
    InvalidRequestError,
    JobNotFoundError,
    MVSepError,
)
from mvsep_async.http.call import Caller
from mvsep_async.http.hosts import Host
from mvsep_async.jobs.coordinator import Coordinator
from mvsep_async.jobs.entry import JobEntry, LookupKey
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.failures import resumes_later
from mvsep_async.jobs.job import Job, entry_of, wait_until_over, wait_until_separated
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import JobRequest, JobSettings, Target, new_id
from mvsep_async.jobs.stream import JobStream
from mvsep_async.models.separation import is_job_hash
from mvsep_async.scheduling.scheduler import Scheduler
from mvsep_async.sources import Source, job_source
from mvsep_async.submission.prepare import RequestPreparer, SubmitArguments
from mvsep_async.submission.submit import Submitter

__all__ = ["Session"]

_ATTACH_GRACE: Final = 10.0
"""Seconds in which "not found" means "not yet" for an attached job. Such jobs are usually old, so a wrong hash is
reported soon."""

_ACQUIRE_AGAIN: Final = 10.0
"""Seconds between two attempts to acquire a job that another client is downloading."""

_PRUNE_BATCH: Final = 500
"""Jobs pruned in one step; other tasks run between two steps."""

_OF_ONE_JOB: Final = frozenset({"filename", "group", "priority", "key", "metadata"})
"""The arguments of `submit` that are not settings of the separation."""


@define(eq=False)
class Session:
    """The parts of one open client, and the backend of its job handles."""

    config: ClientConfig
    caller: Caller
    catalogue: CatalogueStore
    preparer: RequestPreparer
    submitter: Submitter
    callers: CallerScopes
    registry: JobRegistry
    coordinator: Coordinator
    scheduler: Scheduler
    tasks: TaskGroup

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self.callers.closed

    async def submit(self, source: Source, target: Target | None, arguments: SubmitArguments) -> Job:
        """Queue a job; see `MVSepClient.submit`."""
        key = arguments.get("key")
        if key is not None:
            with self.callers.enter():
                known = await self.submitter.find_key(key)
            if known is not None:
                return Job(known, self)  # even if the other arguments differ, or the settings cannot be checked
        settings = await self._settings(arguments, target)
        return Job(await self.submitter.submit(_request(source, settings, target, arguments)), self)

    async def separate(self, source: Source, target: Target, arguments: SubmitArguments) -> list[Path]:
        """Submit a job and download its stems; see `MVSepClient.separate`."""
        job = await self.submit(source, target, arguments)
        paths = await self._wait_and_download(entry_of(job), target)
        if job.error is not None:
            raise job.error.with_traceback(None)
        return paths

    def map(
        self,
        sources: Iterable[Source] | AsyncIterable[Source],
        target_of: Callable[[Source], Target | None],
        arguments: SubmitArguments,
        retry_failed: bool,
        separate_again: Callable[[Source, Job], bool],
    ) -> JobStream:
        """Submit many jobs; see `MVSepClient.map`."""
        if arguments.get("key") is not None:
            raise InvalidRequestError("a key names one job: use `submit` to give each song its own key")
        if isinstance(sources, str | bytes):
            raise InvalidRequestError("`map` takes many songs: put a single one into a list")

        targets: dict[str, Target] = {}

        async def submit(source: Source) -> Job:
            target = target_of(source)
            settings = await self._settings(arguments, target)
            try:
                request = _request(source, settings, target, arguments)
            except InvalidRequestError as error:
                request = evolve(_request(None, settings, target, arguments), filename=f"<{type(source).__name__}>")
                return Job(self.submitter.reject(request, error), self)
            job = Job(await self.submitter.submit_or_resume(request, retry_failed=retry_failed), self)
            if separate_again(source, job) and job.done():
                await self.prune([job])
                job = Job(await self.submitter.submit_or_resume(evolve(request, id=new_id())), self)
            if target is not None:
                targets[job.id] = target
            return job

        async def wait(job: Job) -> None:
            await wait_until_separated(entry_of(job), self)

        async def finish(job: Job) -> None:
            try:
                await self._wait_and_download(entry_of(job), targets.pop(job.id, None))
            except ClientClosedError:
                raise
            except MVSepError as error:
                if job.error is None:
                    self.registry.set_error(entry_of(job), error)

        return JobStream(sources, submit, wait, finish, self)

    def attach(self, hash: str, host: str | None) -> Job:
        """Return a job that another program created; see `MVSepClient.attach`."""
        hash = hash.strip()
        if not hash:
            raise InvalidRequestError("attach needs the hash of a job, not an empty text")
        known = self.registry.find("hash", hash)
        if known is not None and (not resumes_later(known.facts.error) or self.scheduler.resume_failed(known)):
            return Job(known, self)
        server = None if host is None else Host.parse(host)
        if server is not None and not server.is_sibling_of(self.config.base):
            raise ConfigurationError(f"{server} is not a host of the service at {self.config.base}")
        remote = not is_job_hash(hash)  # a short one, of a URL job
        facts = Facts(remote=hash, host=server) if remote else Facts(hash=hash, host=server)
        state = JobState.FETCHING if remote else JobState.WAITING
        job = self.registry.add_unrecorded(JobRequest(new_id(), None, JobSettings()), state, facts)
        self.scheduler.poller.watch(job, grace=_ATTACH_GRACE * self.config.time_scale)
        self.scheduler.poller.poll_soon(job)  # usually the job is already over
        return Job(job, self)

    async def find(self, *, key: str | None, id: str | None, hash: str | None) -> Job | None:
        """Return a known job; see `MVSepClient.find`."""
        names: tuple[tuple[LookupKey, str | None], ...] = (("id", id), ("hash", hash), ("key", key))
        by, value = next((name for name in names if name[1] is not None), ("key", None))
        with self.callers.enter():
            entry = await self.submitter.find(by, value)
        return None if entry is None else Job(entry, self)

    def jobs(self) -> list[Job]:
        """Return all known jobs; see `MVSepClient.jobs`."""
        return [Job(entry, self) for entry in self.registry.jobs.values()]

    async def prune(self, jobs: Iterable[Job] | None) -> int:
        """Forget finished jobs; see `MVSepClient.prune`."""
        entries = self.registry.jobs.values() if jobs is None else (entry_of(job) for job in jobs)
        over = [entry for entry in entries if entry.done() and not self.registry.may_be_paid(entry)]
        for first in range(0, len(over), _PRUNE_BATCH):
            batch = over[first : first + _PRUNE_BATCH]
            kept = [entry for entry in batch if jobs is None and entry.request.content and entry.facts.separation]
            self.registry.archive(kept)
            self.registry.forget(entry for entry in batch if entry not in kept)
            await self.callers.maybe_yield()
        await self.registry.journal.flush()
        return len(over)

    def poll_soon(self, hash: str) -> bool:
        """Poll a job soon; see `MVSepClient.poll_soon`."""
        entry = self.registry.find("hash", hash)
        if entry is None or entry.done():
            return False
        self.scheduler.poller.poll_soon(entry)
        return True

    def slots(self) -> int:
        """Return how many jobs may be at the service at one time, as far as is known."""
        return self.scheduler.dispatcher.limit

    async def account_known(self) -> None:
        """Wait until the account's limit is known."""
        await self.scheduler.dispatcher.account.known.wait()

    def queue_progress(self, job: JobEntry, *, subscribed: bool = False) -> Progress:
        progress = self.scheduler.dispatcher.queue_progress
        return progress.track(job) if subscribed else progress.of(job)

    async def cancel(self, job: JobEntry) -> bool:
        with self.callers.enter():
            return await self.scheduler.canceller.cancel(job)

    async def download(self, job: JobEntry, target: Target, *, mirror: bool = False) -> list[Path]:
        with self.callers.enter():
            if job.facts.separation is None:
                await Job(job, self)
            elif job.facts.error is not None and job.state is not JobState.FAILED:
                raise job.facts.error.with_traceback(None)  # a job that is FAILED here failed at a download alone
            if self.registry.is_elsewhere(job):
                await self._acquire(job)
            return await self.scheduler.downloader.download(job, target, mirror=mirror)

    async def _acquire(self, job: JobEntry) -> None:
        """Make a finished job of another client this client's, once that client has downloaded it to its target."""
        while True:
            acquired = await self.coordinator.acquire(job.id)
            view = await self.coordinator.find("id", job.id)
            if view is None:
                raise JobNotFoundError(f"job {job.id} was pruned from the shared journal", job=job.id, hash=job.hash)
            if acquired:
                self.registry.acquire(view.record)
            else:
                self.registry.mirror(view.record, view.progress)
            if not self.registry.is_elsewhere(job):
                return
            self.coordinator.keep_updated(job)
            # If its client dies, no other one may be able to continue its download: it was to a folder of that machine.
            with anyio.move_on_after(_ACQUIRE_AGAIN):
                await wait_until_over(job, self)

    async def delete(self, job: JobEntry) -> bool:
        with self.callers.enter():
            return await self.scheduler.canceller.delete(job)

    async def _settings(self, arguments: SubmitArguments, target: Target | None) -> JobSettings:
        given: dict[str, Any] = {name: value for name, value in arguments.items() if name not in _OF_ONE_JOB}
        settings = await self.preparer.settings(**given)
        if target is not None and target.stems is not None:
            await self.preparer.check_stems(settings, target.stems)
        return settings

    async def _wait_and_download(self, job: JobEntry, target: Target | None) -> list[Path]:
        """Wait until a job is over and its files are at `target`, and return their paths.

        Raises only the error of a download to `target` that is not the job's own download.
        """
        await wait_until_over(job, self)
        failed_there = job.state is JobState.FAILED and job.request.target == target
        if target is None or job.facts.separation is None or failed_there:
            return []
        return await self.download(job, target)


def _request(source: Source, settings: JobSettings, target: Target | None, arguments: SubmitArguments) -> JobRequest:
    """Make the request of one job. Raises `InvalidRequestError` for a source of the wrong type."""
    filename = arguments.get("filename")
    return JobRequest(
        id=new_id(),
        source=job_source(source, filename),
        settings=settings,
        filename=filename,
        group=arguments.get("group"),
        priority=arguments.get("priority", 0),
        key=arguments.get("key"),
        metadata=arguments.get("metadata"),
        target=target,
    )
