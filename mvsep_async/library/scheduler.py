"""Start each song of a library when there is a slot and credit for it, and retry failures at the end of the run."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal, TypeAlias

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DailyLimitError,
    DownloadError,
    JournalError,
    MVSepError,
)
from mvsep_async.jobs.failures import FailureKind, classify_failure
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress
from mvsep_async.library.batches import in_batches
from mvsep_async.library.decisions import (
    FailedBefore,
    FetchMissing,
    Follow,
    Separate,
    UpToDate,
    check_stems,
)
from mvsep_async.library.earlier import EarlierResult, adopt, find_earlier
from mvsep_async.library.executor import ActionExecutor, JobObserver
from mvsep_async.library.in_flight import SongsInFlight
from mvsep_async.library.outcome import EventKind, Notice
from mvsep_async.library.planner import PlannedSong, Planner
from mvsep_async.library.progress import RunProgress
from mvsep_async.library.reader import SongReader, has_changed
from mvsep_async.library.records import FailedSong
from mvsep_async.library.spending import Spending
from mvsep_async.library.stems import StemStore
from mvsep_async.recipes.recipe import Step

__all__ = ["SongOrder", "SongScheduler"]

SongOrder: TypeAlias = Literal["as-found", "shortest-first"]

_LITTLE_SPACE: Final = 64 << 20
"""Bytes free on the target's disk below which a failed download means a full disk: less than a song's stems."""

_UNFINISHED: Final = "is being separated by a job of another journal: start again when that one is over"
"""Why a song is skipped that was paid and whose stems are not there yet."""

_FATAL: Final = (AuthenticationError, ClientClosedError, ConfigurationError, JournalError)
"""Errors that every other song would meet, too."""


@define(eq=False)
class SongScheduler:
    """One run over a library. `stopped`: why no more songs are sent, `None` while they are."""

    client: MVSepClient
    planner: Planner
    stems: StemStore
    executor: ActionExecutor
    spending: Spending
    progress: RunProgress
    dry_run: bool
    earlier: Mapping[str, EarlierResult] = field(factory=dict)
    """Jobs of other journals, which are used in place of paying again."""
    stopped: str | None = None
    _in_flight: SongsInFlight = field(init=False)
    _reader: SongReader = field(factory=SongReader, init=False)
    _failed: list[PlannedSong] = field(factory=list, init=False)
    """Songs that are retried at the end."""
    _deferred: list[PlannedSong] = field(factory=list, init=False)
    """Songs whose files changed, or are still being written: they are planned again when the others are done."""
    _retrying: bool = field(default=False, init=False)
    _counting: bool = field(default=False, init=False)
    _waiting: bool = field(default=False, init=False)
    _fatal: MVSepError | None = field(default=None, init=False)

    @_in_flight.default  # pyright: ignore[reportAttributeAccessIssue]
    def _(self) -> SongsInFlight:
        return SongsInFlight(self.client)

    async def run(self, order: SongOrder, repeat: int) -> None:
        """Plan and separate all songs, then retry those that failed."""
        if not self.dry_run:
            await in_thread(self.stems.recover)
        await self._pass(self._planned() if order == "as-found" else self._shortest_first())
        for _ in range(repeat):
            if not self._failed or self.stopped:
                break
            again, self._failed = self._failed, []
            self._retrying = True
            self.progress.retrying(again)
            await self._pass(_each(again))
        if not self.dry_run and self.stopped is None:
            await in_thread(self.stems.discard_replaced)

    async def _pass(self, planned: AsyncIterator[PlannedSong]) -> None:
        """Start songs and wait for them, then for those that were deferred."""
        await self._start_all(planned)
        while self._deferred:
            deferred, self._deferred = self._deferred, []
            await self._start_all(self._when_quiet(deferred))

    async def _start_all(self, planned: AsyncIterator[PlannedSong]) -> None:
        async with anyio.create_task_group() as tasks:
            try:
                async for item in planned:
                    await self._start(item, tasks)
            except MVSepError as error:
                self._fatal = error
                tasks.cancel_scope.cancel()
        if self._fatal is not None:
            raise self._fatal

    async def _planned(self) -> AsyncIterator[PlannedSong]:
        batches: AsyncIterator[list[PlannedSong | Notice]] = in_batches(self.planner.plan())
        async for batch in batches:
            for found in batch:
                if isinstance(found, Notice):
                    self.progress.notice(found.path, found.reason, rejected=found.rejected)
                else:
                    self.progress.found(found)
                    yield found
        self._counting = True  # nothing is left to be counted
        self.progress.walked()

    async def _shortest_first(self) -> AsyncIterator[PlannedSong]:
        waiting: list[PlannedSong] = []
        async for item in self._planned():
            if isinstance(item.action, Separate | FetchMissing) and not self.dry_run:
                waiting.append(item)
            else:
                yield item
        waiting.sort(key=lambda item: (item.seconds is None, item.seconds or 0, item.song.name))
        for item in waiting:
            yield item

    async def _when_quiet(self, deferred: Iterable[PlannedSong]) -> AsyncIterator[PlannedSong]:
        """Wait until each file has not changed for a moment, and plan it again; skip one that changes for too long."""
        for item in deferred:
            if self.stopped is None and not self._reader.gives_up(item):
                await self._reader.wait_until_quiet(item)
                for found in await in_thread(self.planner.replan, item):
                    if isinstance(found, Notice):
                        self._skip(item, found.reason)
                    else:
                        yield found
            else:
                self._skip(item, self.stopped or "is still being written: start again when it is complete")

    async def _start(self, item: PlannedSong, tasks: TaskGroup) -> None:
        """Start a song when there is room for it, unless there is nothing to do or to spend."""
        if isinstance(item.action, FailedBefore):
            self.progress.failed_before(item, item.action.failed)
            return
        if isinstance(item.action, UpToDate):
            self.progress.up_to_date(item)
            if self.dry_run or not self.executor.lacks_tags(item.known):
                return
        if self.dry_run:
            paid = isinstance(item.action, Separate) and find_earlier(item, self.earlier) is not None
            self.progress.planned(evolve(item, action=FetchMissing(())) if paid else item)
            return
        if isinstance(item.action, FetchMissing) and (known := self.executor.deleted.get(item.key)) is not None:
            item = evolve(item, action=Separate(known))
        if isinstance(item.action, Separate) and self.stopped is not None:
            self._skip(item, self.stopped)
            return
        await self._wait_for_room(tasks)
        if self._fatal is not None:
            return
        ready = await self._ready(item) if isinstance(item.action, Separate) else item
        if ready is not None:
            self._in_flight.begin(ready)
            queued = anyio.Event()
            tasks.start_soon(self._process, ready, tasks, queued)
            if self.spending.has_reserved(ready):
                await queued.wait()  # so that songs are sent in their order

    async def _wait_for_room(self, tasks: TaskGroup) -> None:
        while self._in_flight.full and self._fatal is None:
            if not self._counting:
                self._counting = True
                tasks.start_soon(self._count_ahead)
            await self._in_flight.wait_for_change()

    async def _ready(self, item: PlannedSong) -> PlannedSong | None:
        """Read a song again just before it is sent, and decide by its audio; `None` if it is not to be sent now."""
        try:
            read = await self._reader.read(item)
        except MVSepError as error:
            await self._fail(item, error, None)
            return None
        if read is None:
            self._deferred.append(item)
            return None
        if self._in_flight.has_copy(read):
            return read  # it waits for the other song of the same audio
        recalled = await self._recall(read)
        if isinstance(recalled, FailedBefore):
            self.progress.failed_before(read, recalled.failed)
            return None
        if recalled is not None:
            return evolve(read, action=recalled)
        earlier = find_earlier(read, self.earlier)
        if earlier is not None and earlier.separation is None:
            self._skip(read, _UNFINISHED)
            return None
        if earlier is not None and (adopted := await self._adopt(read)) is not None:
            if isinstance(adopted.action, UpToDate):
                self.progress.up_to_date(adopted)
            return adopted
        return read if await self._afford(read) else None

    async def _adopt(self, item: PlannedSong) -> PlannedSong | None:
        """Add a song to the library that was separated outside of it; `None` for a song that was not."""
        if item.key in self.executor.deleted:
            return None
        known = await in_thread(adopt, item, self.planner.target, self.earlier)
        if known is None:
            return None
        await in_thread(self.planner.manifest.record, known)
        action = check_stems(item.method.recipe, known, await in_thread(self.planner.sizes, known))
        return evolve(item, action=action, known=known, credits=0)

    async def _recall(self, item: PlannedSong) -> Follow | FailedBefore | None:
        """Return what is known of a song's audio; `None` if it is unknown, or to be separated again."""
        assert item.content is not None
        recalled = await in_thread(self.planner.recall, item.song, item.content, item.method)
        again = self._retrying if isinstance(recalled, FailedBefore) else item.key in self.executor.deleted
        return None if again else recalled

    async def _process(self, item: PlannedSong, tasks: TaskGroup, queued: anyio.Event) -> None:
        def report(step: Step, job: Job, progress: Progress) -> None:
            queued.set()
            self._in_flight.show(item, progress)
            self._check_daily_limit(tasks)
            name = item.method.steps[step.name]
            self.progress.emit(EventKind.PROGRESS, item, step=name, job=job, progress=progress)

        observer = JobObserver(report)
        try:
            async with self._in_flight.alone(item):
                await self._bring_stems(item, observer)
        except _FATAL as error:
            self._fatal = error
            tasks.cancel_scope.cancel()
        except MVSepError as error:
            await self._fail(item, error, observer)
        except OSError as error:
            reason = f"the stems of {item.song.path!r} could not be finished: {error}"
            await self._fail(item, DownloadError(reason), observer)
        finally:
            queued.set()
            self.spending.forget(item)
            self._in_flight.end(item)

    async def _bring_stems(self, item: PlannedSong, observer: JobObserver) -> None:
        """Do what was planned for a song, while no other song of the same audio is worked on."""
        if isinstance(item.action, Separate) and not self.spending.has_reserved(item):
            recalled = await self._recall(item)
            if isinstance(recalled, FailedBefore):
                self.progress.failed_before(item, recalled.failed)
                return
            if recalled is None and not await self._afford(item):
                return
            item = evolve(item, action=recalled or item.action)
        if not await self.executor.execute(item, observer):
            self._deferred.append(item)

    def _check_daily_limit(self, tasks: TaskGroup) -> None:
        """Report once that the songs wait because the free separations of today are used up."""
        waiting = isinstance(self.client.paused_by, DailyLimitError)
        if waiting and not self._waiting:
            tasks.start_soon(self._report_daily_limit)
        self._waiting = waiting

    async def _report_daily_limit(self) -> None:
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        done = await in_thread(self.planner.manifest.count_since, midnight.timestamp(), self._in_flight.downloading)
        self.progress.daily_limit(self.planner.source, done)

    async def _count_ahead(self) -> None:
        """Count the songs to separate while the slots are full: songs are planned only as there is room for them."""
        total = 0
        with suppress(JournalError):  # planning meets the same
            async for batch in in_batches(self.planner.count()):
                total += sum(batch)
            self.progress.counted(total)

    async def _afford(self, item: PlannedSong) -> bool:
        """Reserve the song's credits; skip it if no more songs are sent, or if it would exceed the limit."""
        if self.stopped is None:
            refused = await self.spending.reserve(item)
            if refused is None:
                return True
            if refused.final:
                self.stopped = refused.reason
            else:
                self.progress.notice(item.path, refused.reason)
        self.progress.skipped(item, self.stopped)
        return False

    async def _fail(self, item: PlannedSong, error: MVSepError, observer: JobObserver | None) -> None:
        accepted = observer is not None and any(job.hash for job in observer.jobs.values())
        self.spending.take_back(item, spent=accepted)
        if not accepted and await has_changed(item):
            self._deferred.append(item)
            return
        kind = classify_failure(error)
        if kind is not FailureKind.PERMANENT:
            self._failed.append(item)
        if kind is not FailureKind.TEMPORARY and item.content is not None:
            await in_thread(self.planner.manifest.record_failure, _failed_song(item, kind, error))
        if isinstance(error, DailyLimitError) and self.stopped is None:
            self.stopped = "the daily limit of a free account: start again when the service allows more"
        if isinstance(error, DownloadError) and self.stopped is None:
            free = (await in_thread(shutil.disk_usage, self.planner.target)).free
            if free < _LITTLE_SPACE:
                self.stopped = f"a full disk: free some space at {self.planner.target} and start again"
        self.progress.failed(item, error, kind, () if observer is None else observer.timelines())

    def _skip(self, item: PlannedSong, reason: str) -> None:
        if reason != self.stopped:
            self.progress.notice(item.path, reason)
        self.progress.skipped(item, reason)


def _failed_song(item: PlannedSong, kind: FailureKind, error: MVSepError) -> FailedSong:
    assert item.content is not None
    return FailedSong(
        source=item.song.name,
        method=item.method.digest,
        size=item.content.size,
        mtime_ns=item.content.mtime_ns,
        content=item.content.digest,
        audio_length=item.content.length,
        kind=kind,
        message=str(error),
    )


async def _each(items: Iterable[PlannedSong]) -> AsyncIterator[PlannedSong]:
    for item in items:
        yield item
