"""Run the steps of a recipe on one song, each as soon as the stem that it needs exists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Final, Literal, TypeAlias

import anyio
from attrs import define, field, frozen

from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import in_thread
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
from mvsep_async.jobs.job import Job, entry_of
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.job_status import JobKind
from mvsep_async.models.separation import OutputFile
from mvsep_async.naming import escaped, safe_name
from mvsep_async.recipes.recipe import Recipe, Step
from mvsep_async.sources import Source

__all__ = [
    "Destination",
    "RecipeRunner",
    "StemFile",
    "StepResult",
    "Transfer",
    "download_stems",
]

Transfer: TypeAlias = Literal["url", "file"]
"""How a stem goes to the next step: by its URL at the service, or downloaded and uploaded again."""

_RESUBMITTED: Final = (InvalidRequestError, JobCancelledError, JobFailedError, JobNotFoundError, UploadError)
"""Errors after which the service has no result that could still be used: a new job is not paid for twice."""

_FILE_KEY: Final = ":file"
"""Suffix of the key of a job whose input was uploaded because the service did not fetch it."""


@frozen
class StemFile:
    """A stem on disk, and the job that it is from."""

    step: str
    stem: str
    path: Path
    hash: str | None = None
    host: str | None = None


@frozen
class StepResult:
    """The result of a step. `started`: `False` for one whose input step failed; its error is that of the input step."""

    step: str
    job: Job | None = None
    files: tuple[StemFile, ...] = ()
    error: MVSepError | None = None
    started: bool = True


@frozen
class Destination:
    """The directory and layout of a step's stems, as `job.download` takes them."""

    directory: Path
    layout: str


@define(eq=False)
class RecipeRunner:
    """The steps of a resolved recipe on one song.

    - `keys`: the idempotency key of each step.
    - `destination`: where a step's stems go. `scratch`: the folder for stems that go to the next step by file.
    - `anyway`: submit what the account's plan does not seem to allow.
    - `on_progress`: called with every change of every job. `before_files`: called once, before the first download.
    """

    client: MVSepClient
    recipe: Recipe
    source: Source
    filename: str | None
    keys: Mapping[str, str]
    destination: Callable[[Step], Destination]
    scratch: Path
    transfer: Transfer = "url"
    group: str | None = None
    priority: int = 0
    anyway: bool = False
    on_progress: Callable[[Step, Job, Progress], None] = lambda step, job, progress: None
    before_files: Callable[[], Awaitable[None]] | None = None
    _results: dict[str, StepResult] = field(factory=dict, init=False)
    _separated: dict[str, anyio.Event] = field(factory=dict, init=False)
    _jobs: dict[str, Job] = field(factory=dict, init=False)
    _prepared: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def run(self) -> tuple[StepResult, ...]:
        """Return the result of each step, in the recipe's order; errors of the package are in the results."""
        self._separated = {step.name: anyio.Event() for step in self.recipe.steps}
        async with anyio.create_task_group() as tasks:
            for step in self.recipe.steps:
                tasks.start_soon(self._run_step, step)
        return tuple(self._results[step.name] for step in self.recipe.steps)

    async def _run_step(self, step: Step) -> None:
        if step.input is not None:
            await self._separated[step.input.step].wait()
            if step.input.step not in self._jobs:
                earlier = self._results[step.input.step]
                self._results[step.name] = StepResult(step.name, error=earlier.error, started=False)
                self._separated[step.name].set()
                return
        job: Job | None = None
        try:
            job = await self._separate(step)
            self._jobs[step.name] = job
            self._separated[step.name].set()
            files = await self._download(step, job) if step.keeps else ()
            self._results[step.name] = StepResult(step.name, job, files)
        except MVSepError as error:
            self._results[step.name] = StepResult(step.name, job, error=error)
        finally:
            self._separated[step.name].set()

    async def _separate(self, step: Step) -> Job:
        """Return the step's job when it is done."""
        key = self.keys[step.name]
        if step.input is None:
            return await self._submit(step, self.source, key, self.filename)
        parent = self._jobs[step.input.step]
        stem = self._stem(parent, step.input.stem)
        by_file = key + _FILE_KEY
        # The job of an earlier run is the one that is paid, whether its input went by URL or by file.
        if await self._usable(key) or (self.transfer == "url" and not await self._usable(by_file)):
            try:
                return await self._submit(step, stem.url, key, None)
            except (InvalidRequestError, JobFailedError) as refused:
                # The service did not fetch its own result: upload it.
                try:
                    return await self._separate_file(step, parent, stem, by_file)
                except MVSepError as error:
                    raise error from refused
        return await self._separate_file(step, parent, stem, by_file)

    async def _separate_file(self, step: Step, parent: Job, stem: OutputFile, key: str) -> Job:
        """Run a step on a stem that goes by way of a file."""
        known = await self.client.find(key=key)
        folder = safe_name(f"{parent.id} {step.name}")
        path = self.scratch / folder
        if known is None or not known.done() or known.error is not None:
            try:
                (path,) = await parent.download(self.scratch, stems=[stem.stem], layout=f"{escaped(folder)}/{{stem}}")
            except DownloadError as error:
                await _forget_gone(self.client, parent, error)
                raise
        job = await self._submit(step, path, key, stem.name)
        await in_thread(lambda: rmtree(self.scratch / folder, ignore_errors=True))
        return job

    async def _submit(self, step: Step, source: Source, key: str, filename: str | None) -> Job:
        job = await self.client.find(key=key)
        if job is not None and job.done() and isinstance(job.error, _RESUBMITTED):
            await self.client.prune([job])
            job = None
        if job is None or job.error is not None:  # a job that an outage has ended is continued
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
                anyway=self.anyway,
            )
        async for progress in job:
            self.on_progress(step, job, progress)
        if job.error is not None:
            raise job.error.with_traceback(None)
        return job

    async def _download(self, step: Step, job: Job) -> tuple[StemFile, ...]:
        async with self._prepared:
            if self.before_files is not None:
                before, self.before_files = self.before_files, None
                await before()
        return await download_stems(
            self.client,
            job,
            step,
            self.destination(step),
            on_progress=lambda progress: self.on_progress(step, job, progress),
        )

    async def _usable(self, key: str) -> bool:
        job = await self.client.find(key=key)
        return job is not None and job.error is None

    @staticmethod
    def _stem(job: Job, stem: str) -> OutputFile:
        separation = entry_of(job).facts.separation
        assert separation is not None
        return chosen(separation, (stem,), job=job.id)[0]


async def download_stems(
    client: MVSepClient,
    job: Job,
    step: Step,
    destination: Destination,
    *,
    have: Collection[str] = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[StemFile, ...]:
    """Download the stems of a done job that the step keeps, except those that exist already (`have`).

    Raises `JobNotFoundError` when the service has deleted the results; the job is pruned then, so that the next try
    submits it again.
    """
    separation = await job
    there = {stem.casefold() for stem in have}
    wanted = [file.stem for file in separation.files] if step.keep is None else list(step.keep)
    missing = [stem for stem in dict.fromkeys(wanted) if stem.casefold() not in there]
    if not missing and wanted:
        return ()
    stems = None if step.keep is None and not there else missing
    try:
        paths = await _download(job, stems, destination, on_progress)
    except (DownloadError, JobNotFoundError) as error:
        await _forget_gone(client, job, error)
        raise
    facts = entry_of(job).facts
    host = None if facts.host is None else str(facts.host)
    files = chosen(facts.separation or separation, None if stems is None else tuple(stems), job=job.id)
    return tuple(
        StemFile(step.name, file.stem, path, separation.hash, host) for file, path in zip(files, paths, strict=True)
    )


async def _is_gone(client: MVSepClient, job: Job) -> bool:
    """Tell whether the service answers that it has no such job."""
    try:
        status = await client.separations.get(job.hash or "", host=entry_of(job).facts.host)
    except JobNotFoundError:
        return True
    except MVSepError:
        return False
    return status.kind is JobKind.NOT_FOUND


async def _forget_gone(client: MVSepClient, job: Job, error: MVSepError) -> None:
    """Raise `JobNotFoundError` and prune the job if the service has deleted its results."""
    if await _is_gone(client, job):
        await client.prune([job])
        raise JobNotFoundError(
            f"the results of job {job.hash} are no longer at the service: the song must be separated again",
            job=job.id,
            hash=job.hash,
        ) from error


async def _download(
    job: Job, stems: list[str] | None, destination: Destination, on_progress: Callable[[Progress], None]
) -> list[Path]:
    """Download stems, and report the progress of the job meanwhile."""
    failure: MVSepError | None = None
    paths: list[Path] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_report, job, on_progress)
        try:
            paths = await job.download(destination.directory, stems=stems, layout=destination.layout)
        except MVSepError as error:  # raised below, outside the group that would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure.with_traceback(None)
    return paths


async def _report(job: Job, on_progress: Callable[[Progress], None]) -> None:
    subscription = entry_of(job).subscribe()
    while (progress := await subscription.receive()) is not None:
        on_progress(progress)
