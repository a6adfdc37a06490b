"""Running the steps of a recipe on one song: each as soon as the stem that it needs is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

import anyio
from attrs import define, field, frozen

from mvsep_async.client import MVSepClient
from mvsep_async.download.fetch import fetch
from mvsep_async.download.paths import chosen
from mvsep_async.errors import (
    DownloadError,
    InvalidRequestError,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    MVSepError,
    UploadError,
)
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.job_status import JobKind
from mvsep_async.models.separation import OutputFile
from mvsep_async.naming import safe_name
from mvsep_async.recipes.recipe import Recipe, Step
from mvsep_async.sources import Source

__all__ = ["Chain", "MadeFile", "Place", "StepResult", "Transfer", "bring", "is_gone", "may_begin_anew"]

Transfer: TypeAlias = Literal["url", "file"]
"""How a stem comes to the next step: by its address at the service, or by way of a file here."""

_ANEW: Final = (InvalidRequestError, JobCancelledError, JobFailedError, JobNotFoundError, UploadError)
"""Ends after which the service surely works on nothing that could still be used: a new job is not a second one."""

_BY_FILE: Final = ":file"
"""Marks the key of a job whose input went by file because it could not go by its address."""


@frozen
class MadeFile:
    """A stem on disk, and the job that it is from."""

    step: str
    stem: str
    path: Path
    hash: str | None = None
    host: str | None = None


@frozen
class StepResult:
    """What became of a step. `begun`: `False` for one whose input was never there; its error is the earlier step's."""

    step: str
    job: Job | None = None
    files: tuple[MadeFile, ...] = ()
    error: MVSepError | None = None
    begun: bool = True


@frozen
class Place:
    """Where the stems of a step go, as `job.download` takes it."""

    directory: Path
    layout: str


@define(eq=False)
class Chain:
    """The steps of a resolved recipe on one song.

    - `keys`: of each step, so that its job is taken up again; `None` where the song has no identity.
    - `place`: where a step's stems go. `work`: the folder for stems that go to the next step by file.
    - `on_progress`: told every change of every job. `before_files`: called once, before the first stem is fetched.
    """

    client: MVSepClient
    recipe: Recipe
    source: Source
    filename: str | None
    keys: Mapping[str, str] | None
    place: Callable[[Step], Place]
    work: Path
    transfer: Transfer = "url"
    group: str | None = None
    priority: int = 0
    on_progress: Callable[[Step, Job, Progress], None] = lambda step, job, progress: None
    before_files: Callable[[], Awaitable[None]] | None = None
    _results: dict[str, StepResult] = field(factory=dict, init=False)
    _separated: dict[str, anyio.Event] = field(factory=dict, init=False)
    _jobs: dict[str, Job] = field(factory=dict, init=False)
    _prepared: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def run(self) -> tuple[StepResult, ...]:
        """Return what became of each step, in the recipe's order; errors of the package are in the results."""
        self._separated = {step.name: anyio.Event() for step in self.recipe.steps}
        async with anyio.create_task_group() as tasks:
            for step in self.recipe.steps:
                tasks.start_soon(self._follow, step)
        return tuple(self._results[step.name] for step in self.recipe.steps)

    async def _follow(self, step: Step) -> None:
        if step.input is not None:
            await self._separated[step.input.step].wait()
            if step.input.step not in self._jobs:
                earlier = self._results[step.input.step]
                self._results[step.name] = StepResult(step.name, error=earlier.error, begun=False)
                self._separated[step.name].set()
                return
        job: Job | None = None
        try:
            job = await self._separate(step)
            self._jobs[step.name] = job
            self._separated[step.name].set()
            files = await self._bring(step, job) if step.keeps else ()
            self._results[step.name] = StepResult(step.name, job, files)
        except MVSepError as error:
            self._results[step.name] = StepResult(step.name, job, error=error)
        finally:
            self._separated[step.name].set()

    async def _separate(self, step: Step) -> Job:
        """Return the step's job once it is done."""
        key = None if self.keys is None else self.keys[step.name]
        if step.input is None:
            return await self._done(step, self.source, key, self.filename)
        parent = self._jobs[step.input.step]
        stem = self._stem(parent, step.input.stem)
        by_file = None if key is None else key + _BY_FILE
        # Whichever way an earlier run has gone, its job is the one that is paid.
        if self._usable(key) or (self.transfer == "url" and not self._usable(by_file)):
            try:
                return await self._done(step, stem.url, key, None)
            except (InvalidRequestError, JobFailedError) as refused:
                # The service could not fetch its own result, or would not: by way of a file it can.
                try:
                    return await self._by_file(step, parent, stem, by_file)
                except MVSepError as error:
                    raise error from refused
        return await self._by_file(step, parent, stem, by_file)

    async def _by_file(self, step: Step, parent: Job, stem: OutputFile, key: str | None) -> Job:
        known = None if key is None else self.client.job(key)
        path = self.work / safe_name(f"{parent.id} {step.name} {stem.name}")
        if known is None or not known.done() or known.error is not None:
            await self._fetch(parent, stem, path)
        job = await self._done(step, path, key, stem.name)
        await anyio.Path(path).unlink(missing_ok=True)
        return job

    async def _done(self, step: Step, source: Source, key: str | None, filename: str | None) -> Job:
        job = None if key is None else self.client.job(key)
        if job is not None and job.done() and may_begin_anew(job):
            await self.client.prune([job])
            job = None
        if job is None:
            job = await self.client.submit(
                source,
                algorithm=step.algorithm,
                options=step.options,
                output_format=step.output_format,
                filename=filename,
                group=self.group,
                priority=self.priority,
                key=key,
                metadata={"recipe": self.recipe.name, "step": step.name},
            )
        async for progress in job:
            self.on_progress(step, job, progress)
        if job.error is not None:
            raise job.error.with_traceback(None)
        return job

    async def _bring(self, step: Step, job: Job) -> tuple[MadeFile, ...]:
        async with self._prepared:
            if self.before_files is not None:
                before, self.before_files = self.before_files, None
                await before()
        return await bring(
            self.client, job, step, self.place(step), on_progress=lambda progress: self.on_progress(step, job, progress)
        )

    def _usable(self, key: str | None) -> bool:
        job = None if key is None else self.client.job(key)
        return job is not None and job.error is None

    @staticmethod
    def _stem(job: Job, stem: str) -> OutputFile:
        assert job.facts.separation is not None
        return chosen(job.facts.separation, (stem,), job=job.id)[0]

    async def _fetch(self, job: Job, stem: OutputFile, path: Path) -> None:
        async def renew() -> str:
            status = await self.client.separations.get(job.hash or "", host=job.facts.host)
            for fresh in status.separation.files if status.separation is not None else ():
                if fresh.name == stem.name and fresh.stem == stem.stem:
                    return fresh.url
            raise DownloadError(f"{stem.name} is no longer at the service (job {job.hash})", job=job.id, hash=job.hash)

        try:
            await fetch(self.client._open().http, stem.url, path, root=self.work, overwrite=True, renew=renew)
        except DownloadError as error:
            await _forget_gone(self.client, job, error)
            raise


async def bring(
    client: MVSepClient,
    job: Job,
    step: Step,
    place: Place,
    *,
    have: Collection[str] = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[MadeFile, ...]:
    """Fetch the stems of a done job that the step keeps, but for those that are there already (`have`).

    Raises `JobNotFoundError` when the results are gone from the service; the job is forgotten then, so that the next
    try makes it anew.
    """
    separation = await job
    there = {stem.casefold() for stem in have}
    wanted = [file.stem for file in separation.files] if step.keep is None else list(step.keep)
    missing = [stem for stem in dict.fromkeys(wanted) if stem.casefold() not in there]
    if not missing and wanted:
        return ()
    stems = None if step.keep is None and not there else missing
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tell, job, on_progress)
            try:
                paths = await job.download(place.directory, stems=stems, layout=place.layout)
            except MVSepError as error:
                failed: MVSepError | None = error
            else:
                failed = None
            tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed.with_traceback(None)
    except (DownloadError, JobNotFoundError) as error:
        await _forget_gone(client, job, error)
        raise
    host = None if job.facts.host is None else str(job.facts.host)
    files = chosen(job.facts.separation or separation, None if stems is None else tuple(stems), job=job.id)
    return tuple(
        MadeFile(step.name, file.stem, path, separation.hash, host) for file, path in zip(files, paths, strict=True)
    )


def may_begin_anew(job: Job) -> bool:
    """Tell whether a job that failed can be submitted again without a doubt: nothing of it is left to be used."""
    return isinstance(job.error, _ANEW)


async def is_gone(client: MVSepClient, job: Job) -> bool:
    """Tell whether the service says that it has no such job any more."""
    try:
        status = await client.separations.get(job.hash or "", host=job.facts.host)
    except JobNotFoundError:
        return True
    except MVSepError:
        return False
    return status.kind is JobKind.NOT_FOUND


async def _forget_gone(client: MVSepClient, job: Job, error: MVSepError) -> None:
    """Raise `JobNotFoundError`, and let the next try begin anew, if `error` came because the results are gone."""
    if await is_gone(client, job):
        await client.prune([job])
        raise JobNotFoundError(
            f"the results of job {job.hash} are no longer at the service: the song must be separated again",
            job=job.id,
            hash=job.hash,
        ) from error


async def _tell(job: Job, on_progress: Callable[[Progress], None]) -> None:
    box = job.subscribe()
    while (progress := await box.receive()) is not None:
        on_progress(progress)
