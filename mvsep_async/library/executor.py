"""Carry out what was planned for one song: bring its stems along, fetch them, or separate it; tag and record them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import anyio
from attrs import define, evolve, field

from mvsep_async.audio.formats import AUDIO_SUFFIXES
from mvsep_async.audio.tagging import write_tags
from mvsep_async.audio.tags import Tags, read_tags
from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import JobNotFoundError
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress
from mvsep_async.library.decisions import FetchMissing, Follow, Separate, UpToDate, check_stems
from mvsep_async.library.outcome import EventKind
from mvsep_async.library.planner import PlannedSong, Planner
from mvsep_async.library.progress import RunProgress
from mvsep_async.library.records import ManifestFile, SeparatedSong
from mvsep_async.library.stems import StemStore
from mvsep_async.library.timeline import JobTimeline, TimelineRecorder
from mvsep_async.recipes.keys import content_key, keys_of
from mvsep_async.recipes.recipe import Step
from mvsep_async.recipes.run import HIDDEN
from mvsep_async.recipes.runner import Destination, RecipeRunner, StemFile, Transfer, download_stems

__all__ = ["ActionExecutor", "JobObserver"]

Stems: TypeAlias = list[ManifestFile | StemFile]
"""Of one song: those that existed before, and those downloaded now."""


@define(eq=False)
class JobObserver:
    """Observes the jobs of one song: what they are, and the phases that they go through."""

    on_progress: Callable[[Step, Job, Progress], None]
    jobs: dict[str, Job] = field(factory=dict)
    _recorders: dict[str, tuple[str, TimelineRecorder]] = field(factory=dict)

    def observe(self, step: Step, job: Job, progress: Progress) -> None:
        """Record a change of a job and report it."""
        self.jobs[job.id] = job
        self._recorders.setdefault(job.id, (step.name, TimelineRecorder()))[1].record(progress.stage, time.time())
        self.on_progress(step, job, progress)

    def timelines(self) -> tuple[JobTimeline, ...]:
        """Return the phases of each job until now."""
        now = time.time()
        for _, recorder in self._recorders.values():
            recorder.end(now)
        return tuple(JobTimeline(step, tuple(recorder.spans)) for step, recorder in self._recorders.values())


@define(eq=False)
class ActionExecutor:
    """Carries out the actions of songs.

    `anyway`: also send what the account's plan does not seem to allow. `deleted`: songs with missing stems whose jobs
    the service has deleted; they are separated again.
    """

    client: MVSepClient
    planner: Planner
    stems: StemStore
    progress: RunProgress
    copy_tags: bool
    transfer: Transfer
    anyway: bool
    deleted: dict[tuple[str, str], SeparatedSong] = field(factory=dict, init=False)
    _stems_lock: anyio.Lock = field(factory=anyio.Lock, init=False)

    def lacks_tags(self, known: SeparatedSong | None) -> bool:
        """Tell whether the stems of a song should have its tags and do not."""
        return self.copy_tags and known is not None and not known.tagged

    async def execute(self, item: PlannedSong, observer: JobObserver) -> bool:
        """Do what was planned for a song, and report it; `False` if it has to be planned again.

        Raises the error of the song's jobs, or of a file.
        """
        action, known = item.action, item.known
        if isinstance(action, Follow):
            known = await self._follow(item)
            if known is None:
                return False  # the stems of this audio were replaced meanwhile
            item = evolve(item, place=known.place, seconds=known.seconds, credits=known.credits)
            action = check_stems(item.method.recipe, known, await in_thread(self.planner.sizes, known))
            if isinstance(action, UpToDate):
                self.progress.followed(item, tuple(self.planner.target / file.path for file in known.files))
        match action:
            case UpToDate():
                if known is not None and self.lacks_tags(known):
                    await self._tag(item, known)
            case FetchMissing(present):
                assert known is not None
                self.progress.emit(EventKind.STARTED, item)
                try:
                    stems = await self._fetch_missing(item, known, present, observer)
                except JobNotFoundError:
                    self.deleted[item.key] = known
                    return False
                await self._record(item, stems, observer, known)
            case Separate(replaced):
                self.progress.emit(EventKind.STARTED, item)
                stems = await self._separate(item, observer, lambda: self._set_aside(replaced))
                await self._record(item, stems, observer, None)
        return True

    async def _follow(self, item: PlannedSong) -> SeparatedSong | None:
        """Bring the stems of the same audio to the song's place."""
        async with self._stems_lock:
            followed, notices = await in_thread(self.stems.follow, item)
        for notice in notices:
            self.progress.notice(notice.path, notice.reason)
        return followed

    async def _set_aside(self, replaced: SeparatedSong | None) -> None:
        """Make room for new stems where those of the earlier audio of a song are."""
        if replaced is None:
            return
        async with self._stems_lock:
            current = await in_thread(self.planner.manifest.song, replaced.source, replaced.method)
            if current is None or current.content != replaced.content:
                return  # another song has them by now
            for notice in await in_thread(self.stems.set_aside, current):
                self.progress.notice(notice.path, notice.reason)

    async def _separate(
        self, item: PlannedSong, observer: JobObserver, before_files: Callable[[], Awaitable[None]]
    ) -> Stems:
        """Send a song, whose audio was read just before, and return its stems when they are downloaded.

        `before_files` is called before the first download.
        """
        assert item.content is not None
        runner = RecipeRunner(
            self.client,
            item.method.recipe,
            item.song.path,
            _filename(item),
            keys_of(item.method.recipe, content_key(item.content)),
            lambda step: self._destination(item, step),
            self.planner.target / HIDDEN / "stems",
            transfer=self.transfer,
            anyway=self.anyway,
            on_progress=observer.observe,
            before_files=before_files,
        )
        results = await runner.run()
        error = next((result.error for result in results if result.error is not None), None)
        if error is not None:
            raise error
        return [file for result in results for file in result.files]

    async def _fetch_missing(
        self, item: PlannedSong, known: SeparatedSong, present: tuple[ManifestFile, ...], observer: JobObserver
    ) -> Stems:
        """Return the stems of a song, the missing ones downloaded from the jobs that made them.

        Raises `JobNotFoundError` if the service has deleted a job: it keeps them for some days.
        """
        stems: Stems = [*present]
        for step in item.method.recipe.keeping:
            of_step = [file for file in known.files if file.step == step.name]
            origin = next((file for file in of_step if file.hash is not None), None)
            if origin is None or origin.hash is None:
                raise JobNotFoundError(f"no job is known for step {step.name!r} of {item.song.path!r}")
            job = self.client.attach(origin.hash, host=origin.host)
            have = {file.stem for file in present if file.step == step.name}
            stems += await download_stems(
                self.client,
                job,
                step,
                self._destination(item, step),
                have=have,
                on_progress=lambda progress, step=step, job=job: observer.observe(step, job, progress),  # type: ignore[misc]
            )
        return stems

    async def _record(
        self, item: PlannedSong, stems: Stems, observer: JobObserver, known: SeparatedSong | None
    ) -> None:
        """Tag the stems where that is wanted, record the song as done, and report it.

        `known`: the separation that the stems were fetched for, `None` for a song that was sent now.
        """
        song = evolve(
            known or item.separated(),
            method_name=item.method.label,
            credits=item.credits,
            files=await self._tagged(item, stems),
            kept=item.method.kept,
            tagged=self.copy_tags,
            timelines=observer.timelines(),
            run=self.planner.run,
            finished=time.time(),
        )
        await in_thread(self.planner.manifest.record, song)
        await self.client.prune(observer.jobs.values())
        self.progress.separated(item, tuple(self.planner.target / file.path for file in song.files))

    async def _tag(self, item: PlannedSong, known: SeparatedSong) -> None:
        """Write the song's tags into the stems that it has."""
        files = await self._tagged(item, [*known.files])
        await in_thread(self.planner.manifest.record, evolve(known, files=files, tagged=True))

    async def _tagged(self, item: PlannedSong, stems: Stems) -> tuple[ManifestFile, ...]:
        """Return the stems as they are on disk, with the song's tags where that is wanted."""
        tags = None
        if self.copy_tags:
            tags = await in_thread(lambda: read_tags(item.song.path, item.song.format, cover=True))
        files, notices = await in_thread(self._finish, stems, tags)
        for path, reason in notices:
            self.progress.notice(path, reason)
        return files

    def _destination(self, item: PlannedSong, step: Step) -> Destination:
        return Destination(self.planner.target, item.method.layout(item.place, step.name))

    def _finish(self, stems: Stems, tags: Tags | None) -> tuple[tuple[ManifestFile, ...], list[tuple[Path, str]]]:
        files, notices = [], []
        for file in stems:
            path = self.planner.target / file.path
            if isinstance(file, ManifestFile) and path.stat().st_size != file.size:
                files.append(file)  # edited by the user: left as it is, and known as it was written
                continue
            if tags is not None:
                reason = write_tags(path, tags, file.stem)
                if reason is not None:
                    notices.append((path, reason))
            relative = path.relative_to(self.planner.target).as_posix()
            files.append(ManifestFile(file.step, file.stem, relative, path.stat().st_size, file.hash, file.host))
        return tuple(files), notices


def _filename(item: PlannedSong) -> str | None:
    """Return a file name with the extension of the format where the song's own has none that the service knows."""
    path = Path(item.song.path)
    return None if path.suffix.lower() in AUDIO_SUFFIXES else f"{path.stem}.{item.song.format}"
