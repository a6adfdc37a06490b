"""One song on its way: its stems made or fetched, tagged, and written down when they are whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from attrs import define, field

from mvsep_async.audio.formats import AUDIO_SUFFIXES
from mvsep_async.audio.tagging import write_tags
from mvsep_async.audio.tags import Tags, read_tags
from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import JobNotFoundError
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress
from mvsep_async.library.decisions import Done, Fetch, Make
from mvsep_async.library.layout import Layout
from mvsep_async.library.manifest import Manifest, ManifestFile, Row
from mvsep_async.library.planner import EDITED, Planned
from mvsep_async.library.timeline import Course, Recorder
from mvsep_async.recipes.chain import Chain, MadeFile, Place, Transfer, bring
from mvsep_async.recipes.keys import keys_of
from mvsep_async.recipes.recipe import Step
from mvsep_async.recipes.run import HIDDEN

__all__ = ["Maker", "Watch"]

Stems: TypeAlias = list[ManifestFile | MadeFile]
"""Of one song: those that were there before, and those made now."""


@define(eq=False)
class Watch:
    """What is seen of the jobs of one song."""

    on_progress: Callable[[Step, Job, Progress], None]
    jobs: dict[str, Job] = field(factory=dict)
    _recorders: dict[str, tuple[str, Recorder]] = field(factory=dict)

    def note(self, step: Step, job: Job, progress: Progress) -> None:
        """Take note of a change, and tell it."""
        self.jobs[job.id] = job
        self._recorders.setdefault(job.id, (step.name, Recorder()))[1].note(progress.stage, time.time())
        self.on_progress(step, job, progress)

    def course(self) -> tuple[Course, ...]:
        """Return the phases of each job until now."""
        now = time.time()
        for _, recorder in self._recorders.values():
            recorder.end(now)
        return tuple(Course(step, tuple(recorder.spans)) for step, recorder in self._recorders.values())


@define(eq=False)
class Maker:
    """Makes the stems of songs. `run`: the run that they are written down for; `remark`: told what is worth knowing."""

    client: MVSepClient
    target: Path
    manifest: Manifest
    copy_tags: bool
    transfer: Transfer
    run: str
    remark: Callable[[Path, str], None]

    async def make(self, item: Planned, watch: Watch, afford: Callable[[Planned], bool]) -> Stems | None:
        """Return all stems of a song; `None` if it must be made after all and `afford` says no."""
        match item.action:
            case Done():
                assert item.earlier is not None
                return list(item.earlier.files)
            case Fetch(present):
                try:
                    return [*present, *await self._fetch(item, present, watch)]
                except JobNotFoundError:
                    stale = present
                if not afford(item):
                    return None
            case Make(stale):
                pass
        chain = Chain(
            self.client,
            item.work.recipe,
            item.song.path,
            _filename(item),
            keys_of(item.work.recipe, item.identity),
            lambda step: self._place(item, step),
            self.target / HIDDEN / "stems",
            transfer=self.transfer,
            on_progress=watch.note,
            before_files=lambda: self._make_room(stale),
        )
        results = await chain.run()
        error = next((result.error for result in results if result.error is not None), None)
        if error is not None:
            raise error
        return [file for result in results for file in result.files]

    async def record(self, item: Planned, made: Stems, watch: Watch) -> tuple[Path, ...]:
        """Tag the stems where that is wanted, write the song down as done, and return where they are."""
        tags = None
        if self.copy_tags:
            tags = await in_thread(lambda: read_tags(item.song.path, item.song.format, cover=True))
        files, remarks = await in_thread(self._finish, made, tags)
        row = Row(
            source=item.song.name,
            work=item.work.digest,
            way=item.work.label,
            title=item.title.encode("utf-8", "replace").decode(),
            size=item.song.size,
            mtime_ns=item.song.mtime_ns,
            seconds=item.seconds,
            credits=item.credits,
            place=item.place,
            files=files,
            kept={step.name: None if step.keep is None else list(step.keep) for step in item.work.recipe.keeping},
            tagged=self.copy_tags,
            courses=watch.course(),
            run=self.run,
            finished=time.time(),
        )
        await in_thread(self.manifest.record, row)
        await self.client.prune(watch.jobs.values())
        for path, why in remarks:
            self.remark(path, why)
        return tuple(self.target / file.path for file in files)

    async def _fetch(self, item: Planned, present: tuple[ManifestFile, ...], watch: Watch) -> list[MadeFile]:
        """Fetch what is missing from the jobs that made it, which the service keeps for some days."""
        assert item.earlier is not None
        made: list[MadeFile] = []
        for step in item.work.recipe.keeping:
            of_step = [file for file in item.earlier.files if file.step == step.name]
            origin = next((file for file in of_step if file.hash is not None), None)
            if origin is None or origin.hash is None:
                raise JobNotFoundError(f"no job is known for step {step.name!r} of {item.song.path!r}")
            job = self.client.attach(origin.hash, host=origin.host)
            have = {file.stem for file in present if file.step == step.name}
            made += await bring(
                self.client,
                job,
                step,
                self._place(item, step),
                have=have,
                on_progress=lambda progress, step=step, job=job: watch.note(step, job, progress),  # type: ignore[misc]
            )
        return made

    def _place(self, item: Planned, step: Step) -> Place:
        work = item.work
        names = {"step": work.steps[step.name], "algorithm": work.algorithms[step.name]}
        return Place(self.target, Layout.of_step(item.place, **names))

    async def _make_room(self, stale: tuple[ManifestFile, ...]) -> None:
        """Make room for new stems where the old ones of this song are, and only they."""
        for path in await in_thread(self._remove, stale):
            self.remark(path, EDITED)

    def _remove(self, files: tuple[ManifestFile, ...]) -> list[Path]:
        """Remove stems that are as they were made; return the others, which are their owner's."""
        edited = []
        for file in files:
            path = self.target / file.path
            with suppress(FileNotFoundError):
                if path.stat().st_size in (0, file.size):
                    path.unlink()
                else:
                    edited.append(path)
        return edited

    def _finish(self, made: Stems, tags: Tags | None) -> tuple[tuple[ManifestFile, ...], list[tuple[Path, str]]]:
        files, remarks = [], []
        for file in made:
            path = self.target / file.path
            if isinstance(file, ManifestFile) and path.stat().st_size != file.size:
                files.append(file)  # edited by its owner: left as it is, and known as it was made
                continue
            if tags is not None:
                hindrance = write_tags(path, tags, file.stem)
                if hindrance is not None:
                    remarks.append((path, hindrance))
            relative = path.relative_to(self.target).as_posix()
            files.append(ManifestFile(file.step, file.stem, relative, path.stat().st_size, file.hash, file.host))
        return tuple(files), remarks


def _filename(item: Planned) -> str | None:
    """Return a name that says what the song is, where its own does not: the service goes by extensions."""
    path = Path(item.song.path)
    return None if path.suffix.lower() in AUDIO_SUFFIXES else f"{path.stem}.{item.song.format}"
