"""The songs of a library on their way: begun as there is room, recorded when they are whole, tried again at the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from mvsep_async.catalogue.estimate import AUDIO_SUFFIXES
from mvsep_async.client import MVSepClient
from mvsep_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DownloadError,
    JobNotFoundError,
    JournalError,
    MVSepError,
)
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.order import new_id
from mvsep_async.jobs.progress import Progress
from mvsep_async.library.batches import in_batches
from mvsep_async.library.decisions import Done, Fetch, Make, Purse, worth_repeating
from mvsep_async.library.layout import Layout
from mvsep_async.library.manifest import Manifest, ManifestFile, Row
from mvsep_async.library.outcome import Failure, LibraryEvent, Notice, Tally, What
from mvsep_async.library.planner import EDITED, Planned, Planner, Remark
from mvsep_async.library.tagging import write_tags
from mvsep_async.library.tags import read_tags
from mvsep_async.library.timeline import Course, Recorder, Span
from mvsep_async.recipes.chain import Chain, MadeFile, Place, Transfer, bring
from mvsep_async.recipes.keys import keys_of
from mvsep_async.recipes.recipe import Step
from mvsep_async.recipes.run import HIDDEN
from mvsep_async.threads import in_thread

__all__ = ["Order", "Run"]

Order: TypeAlias = Literal["as found", "shortest first"]

_AHEAD: Final = 4
"""Songs under way beyond the slots: enough that a slot never waits for the next one, few enough to stop quickly."""

_TOO_LITTLE: Final = 64 << 20
"""Bytes free on the target's disk below which a failed download is taken for a full disk: less than a song's stems."""

_FATAL: Final = (AuthenticationError, ClientClosedError, ConfigurationError, JournalError)
"""Errors after which no other song would fare better."""


@define(eq=False)
class Run:
    """One run over a library."""

    client: MVSepClient
    source: Path
    target: Path
    planner: Planner
    manifest: Manifest
    purse: Purse
    dry_run: bool
    copy_tags: bool
    transfer: Transfer
    on_event: Callable[[LibraryEvent], None]
    id: str = field(factory=new_id)
    tally: Tally = field(factory=Tally)
    failures: list[Failure] = field(factory=list)
    notices: list[Notice] = field(factory=list)
    stopped: str | None = None
    unfinished: list[tuple[str, tuple[Span, ...]]] = field(factory=list)
    """What there was of jobs of songs that failed."""
    _again: list[Planned] = field(factory=list)
    _promised: dict[tuple[str, str], int] = field(factory=dict)
    _repeating: bool = False
    _under_way: int = 0
    _last: str | None = None
    _fatal: MVSepError | None = None
    _room: anyio.Event = field(factory=anyio.Event)

    async def go(self, order: Order, repeat: int) -> None:
        """Plan and separate, then try again what failed."""
        planned = self._planned() if order == "as found" else self._shortest_first()
        await self._pass(planned)
        for _ in range(repeat):
            if not self._again or self.stopped:
                break
            again, self._again = self._again, []
            self._repeating = True
            names = {(item.song.path, item.work.label) for item in again}
            self.failures = [failure for failure in self.failures if (str(failure.path), failure.work) not in names]
            self._count(failed=-len(again))
            self.tell(What.REPEATING, message=f"{len(again)} failed songs are tried again")
            await self._pass(_each(again))

    async def _pass(self, planned: AsyncIterator[Planned]) -> None:
        async with anyio.create_task_group() as tasks:
            async for item in planned:
                await self._take(item, tasks)
        if self._fatal is not None:
            raise self._fatal

    async def _planned(self) -> AsyncIterator[Planned]:
        batches: AsyncIterator[list[Planned | Remark]] = in_batches(self.planner.plan())
        async for batch in batches:
            for found in batch:
                if isinstance(found, Remark):
                    self._remark(Path(found.path), found.why)
                else:
                    self._count(found=1, songs=int(found.song.path != self._last))
                    self._last = found.song.path
                    yield found
        self.tell(What.WALKED)

    async def _shortest_first(self) -> AsyncIterator[Planned]:
        waiting: list[Planned] = []
        async for item in self._planned():
            if isinstance(item.action, Done) or self.dry_run:
                yield item
            else:
                waiting.append(item)
        waiting.sort(key=lambda item: (item.seconds is None, item.seconds or 0, item.song.name))
        for item in waiting:
            yield item

    async def _take(self, item: Planned, tasks: TaskGroup) -> None:
        """Begin a song, once there is room for it, unless there is nothing to do or to spend."""
        if isinstance(item.action, Done):
            self._count(kept=1)
            self.tell(What.KEPT, item)
            if not (self.copy_tags and not self.dry_run and item.earlier is not None and not item.earlier.tagged):
                return
        if self.dry_run:
            self._plan_only(item)
            return
        if isinstance(item.action, Make) and not self._afford(item):
            return
        while self._under_way >= self.client.slots + _AHEAD and self._fatal is None:
            self._room = anyio.Event()
            await self._room.wait()
        if self._fatal is None:
            self._under_way += 1
            tasks.start_soon(self._separate, item, tasks)

    def _plan_only(self, item: Planned) -> None:
        if isinstance(item.action, Done):
            return
        cost = item.credits if isinstance(item.action, Make) else 0
        self._count(
            planned=1,
            seconds=item.seconds or 0.0,
            credits=cost or 0,
            unknown_lengths=int(item.seconds is None),
        )
        self.tell(What.PLANNED, item)

    def _afford(self, item: Planned) -> bool:
        """Take the song's credits out of the purse; steps that are at the service already were paid before."""
        keys = keys_of(item.work.recipe, item.identity)
        unpaid = [step.name for step in item.work.recipe.steps if not self._paid(keys[step.name])]
        seconds = item.seconds
        cost = None if seconds is None else sum(item.work.price(step, seconds) for step in unpaid)
        if self.stopped is None and (not unpaid or self.purse.take(cost)):
            self._promised[item.song.name, item.work.digest] = cost or 0
            self._count(credits=cost or 0)
            if not self._repeating:
                self._count(seconds=seconds or 0.0, unknown_lengths=int(seconds is None))
            return True
        if self.stopped is None and cost is None:
            self._remark(Path(item.song.path), "does not tell its length, so it is left out under a limit on credits")
        elif self.stopped is None:
            self.stopped = (
                f"the limit of {self.purse.limit} credits: {self.purse.spent} are spent or promised, the next song "
                f"({item.title}) needs {cost}"
            )
        self._count(left_out=1)
        self.tell(What.LEFT_OUT, item, message=self.stopped)
        return False

    def _give_back(self, item: Planned) -> None:
        """Put a song's credits back into the purse: nothing of it was accepted by the service."""
        cost = self._promised.pop((item.song.name, item.work.digest), None)
        if cost is not None:
            self.purse.spent -= cost
            self._count(credits=-cost)

    def _paid(self, key: str) -> bool:
        job = self.client.job(key)
        return job is not None and job.hash is not None and job.error is None

    async def _separate(self, item: Planned, tasks: TaskGroup) -> None:
        watch = _Watch(self, item)
        try:
            made = await self._make(item, watch)
            if made is not None:
                await self._record(item, made, watch)
        except _FATAL as error:
            self._fatal = error
            tasks.cancel_scope.cancel()
        except MVSepError as error:
            await self._fail(item, error, watch)
        except OSError as error:
            await self._fail(
                item, DownloadError(f"the stems of {item.song.path!r} could not be finished: {error}"), watch
            )
        finally:
            self._promised.pop((item.song.name, item.work.digest), None)
            self._under_way -= 1
            self._room.set()

    async def _make(self, item: Planned, watch: _Watch) -> list[ManifestFile | MadeFile] | None:
        """Return all stems of a song, those that were there before too; `None` if it was left out after all."""
        match item.action:
            case Done():
                assert item.earlier is not None
                return list(item.earlier.files)
            case Fetch(present):
                self.tell(What.BEGAN, item)
                try:
                    return [*present, *await self._fetch(item, present, watch)]
                except JobNotFoundError:
                    stale = present
                if not self._afford(item):
                    return None
            case Make(stale):
                self.tell(What.BEGAN, item)
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

    async def _fetch(self, item: Planned, present: tuple[ManifestFile, ...], watch: _Watch) -> list[MadeFile]:
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
            self._remark(path, EDITED)

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

    async def _record(self, item: Planned, made: list[ManifestFile | MadeFile], watch: _Watch) -> None:
        tags = None
        if self.copy_tags:
            tags = await in_thread(lambda: read_tags(item.song.path, item.song.kind, cover=True))
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
            run=self.id,
            finished=time.time(),
        )
        await in_thread(self.manifest.record, row)
        await self.client.prune(watch.jobs.values())
        for path, why in remarks:
            self._remark(path, why)
        if not isinstance(item.action, Done):
            self._count(made=1)
            self.tell(What.MADE, item, paths=tuple(self.target / file.path for file in files))

    def _finish(
        self, made: list[ManifestFile | MadeFile], tags: Any
    ) -> tuple[tuple[ManifestFile, ...], list[tuple[Path, str]]]:
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

    async def _fail(self, item: Planned, error: MVSepError, watch: _Watch) -> None:
        self.failures.append(Failure(Path(item.song.path), item.work.label, error))
        if worth_repeating(error):
            self._again.append(item)
        if isinstance(error, DownloadError) and self.stopped is None:
            free = (await in_thread(shutil.disk_usage, self.target)).free
            if free < _TOO_LITTLE:
                self.stopped = f"the disk of {self.target} is full: free some space and start again"
        self.unfinished += [
            (f"{item.title}, {item.work.steps[course.step]} (failed)", course.spans) for course in watch.course()
        ]
        if not any(job.hash for job in watch.jobs.values()):
            self._give_back(item)
        self._count(failed=1)
        self.tell(What.FAILED, item, message=str(error))

    def _remark(self, path: Path, why: str) -> None:
        self.notices.append(Notice(path, why))
        self.on_event(LibraryEvent(what=What.NOTICE, tally=self.tally, path=path, message=why))

    def _count(self, **changes: float) -> None:
        self.tally = evolve(self.tally, **{name: getattr(self.tally, name) + more for name, more in changes.items()})

    def tell(self, what: What, item: Planned | None = None, **said: Any) -> None:
        if item is not None:
            said |= {"path": Path(item.song.path), "work": item.work.label}
        self.on_event(LibraryEvent(what=what, tally=self.tally, **said))


@define(eq=False)
class _Watch:
    """What is seen of the jobs of one song."""

    run: Run
    item: Planned
    jobs: dict[str, Job] = field(factory=dict)
    _recorders: dict[str, tuple[str, Recorder]] = field(factory=dict)

    def note(self, step: Step, job: Job, progress: Progress) -> None:
        self.jobs[job.id] = job
        self._recorders.setdefault(job.id, (step.name, Recorder()))[1].note(progress.stage, time.time())
        self.run.tell(What.PROGRESS, self.item, step=self.item.work.steps[step.name], job=job, progress=progress)

    def course(self) -> tuple[Course, ...]:
        now = time.time()
        for _, recorder in self._recorders.values():
            recorder.end(now)
        return tuple(Course(step, tuple(recorder.spans)) for step, recorder in self._recorders.values())


async def _each(items: list[Planned]) -> AsyncIterator[Planned]:
    for item in items:
        yield item


def _filename(item: Planned) -> str | None:
    """Return a name that says what the song is, where its own does not: the service goes by extensions."""
    path = Path(item.song.path)
    return None if path.suffix.lower() in AUDIO_SUFFIXES else f"{path.stem}.{item.song.kind}"
