"""Run over the songs of a library: start each as there is room and credit, count them, retry failures at the end."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from mvsep_async.audio.digest import AudioContent, FileChangedError, read_content
from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import KeyedLock, in_thread
from mvsep_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DownloadError,
    JobFailedError,
    JobNotFoundError,
    JournalError,
    MVSepError,
    UploadError,
)
from mvsep_async.jobs.failures import FailureKind, classify_failure
from mvsep_async.jobs.request import new_id
from mvsep_async.library.batches import in_batches
from mvsep_async.library.decisions import (
    CreditBudget,
    FailedBefore,
    FetchMissing,
    Follow,
    Separate,
    UpToDate,
    check_stems,
    seconds_until_quiet,
)
from mvsep_async.library.manifest import FailedSong, Manifest, SeparatedSong
from mvsep_async.library.outcome import EventKind, Failure, LibraryEvent, Notice, Tally
from mvsep_async.library.planner import PlannedSong, Planner
from mvsep_async.library.separator import JobObserver, SongSeparator, Stems
from mvsep_async.library.stems import StemStore
from mvsep_async.library.timeline import Span
from mvsep_async.recipes.keys import content_key, keys_of
from mvsep_async.recipes.runner import Transfer

__all__ = ["LibraryEngine", "SongOrder", "pause"]

pause = anyio.sleep
"""How to wait for a file that is being written; tests replace it."""

SongOrder: TypeAlias = Literal["as-found", "shortest-first"]

_AHEAD: Final = 4
"""Songs started beyond the slots: enough that a slot never waits for the next one, few enough to stop quickly."""

_LITTLE_SPACE: Final = 64 << 20
"""Bytes free on the target's disk below which a failed download is taken for a full disk: less than a song's stems."""

_WRITING_PATIENCE: Final = 60.0
"""Seconds, at the end of a run, to wait for a file that is still being written, our choice."""

_FATAL: Final = (AuthenticationError, ClientClosedError, ConfigurationError, JournalError)
"""Errors that every other song would meet, too."""


@define(eq=False)
class LibraryEngine:
    """One run over a library."""

    client: MVSepClient
    target: Path
    planner: Planner
    manifest: Manifest
    budget: CreditBudget
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
    """Label and phases of the jobs of songs that failed."""
    _failed: list[PlannedSong] = field(factory=list)
    """Songs that are retried at the end."""
    _deferred: list[PlannedSong] = field(factory=list)
    """Songs whose files changed, or are still being written: they are planned again when the others are done."""
    _seen: dict[str, tuple[tuple[int, int], float]] = field(factory=dict)
    """Size and time of the deferred files, and when the first of these was seen."""
    _deleted: dict[tuple[str, str], SeparatedSong] = field(factory=dict)
    """Songs with missing stems whose jobs the service has deleted: they are separated again."""
    _reserved: dict[tuple[str, str], int] = field(factory=dict)
    """Credits that were reserved for songs under way."""
    _retrying: bool = False
    _counting: bool = False
    _running: int = 0
    _last: str | None = None
    _fatal: MVSepError | None = None
    _room: anyio.Event = field(factory=anyio.Event)
    _in_flight: Counter[str] = field(factory=Counter)
    _audio_locks: KeyedLock = field(factory=KeyedLock)
    _stems_lock: anyio.Lock = field(factory=anyio.Lock)
    _separator: SongSeparator = field(init=False)
    _stems: StemStore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._separator = SongSeparator(
            self.client, self.target, self.manifest, self.copy_tags, self.transfer, self.id, self._notice
        )
        self._stems = StemStore(self.target, self.manifest, self.planner)

    async def run(self, order: SongOrder, repeat: int) -> None:
        """Plan and separate all songs, then retry those that failed."""
        if not self.dry_run:
            await in_thread(self._stems.recover)
        await self._pass(self._planned() if order == "as-found" else self._shortest_first())
        await self._pass_deferred()
        for _ in range(repeat):
            if not self._failed or self.stopped:
                break
            again, self._failed = self._failed, []
            retried = {(item.song.path, item.method.label) for item in again}
            self.failures = [one for one in self.failures if (str(one.path), one.method) not in retried]
            self._retrying = True
            self._count(failed=-len(again))
            self._emit(EventKind.RETRYING, message=f"retrying {len(again)} failed songs")
            await self._pass(_each(again))
            await self._pass_deferred()
        if not self.dry_run and self.stopped is None:
            await in_thread(self._stems.discard_replaced)

    async def _pass(self, planned: AsyncIterator[PlannedSong]) -> None:
        async with anyio.create_task_group() as tasks:
            try:
                async for item in planned:
                    await self._start(item, tasks)
            except MVSepError as error:
                self._fatal = error
                tasks.cancel_scope.cancel()
        if self._fatal is not None:
            raise self._fatal

    async def _pass_deferred(self) -> None:
        while self._deferred:
            deferred, self._deferred = self._deferred, []
            if self.stopped is None:
                await self._pass(self._when_quiet(deferred))
            else:
                for item in deferred:
                    self._skip(item, self.stopped)

    async def _planned(self) -> AsyncIterator[PlannedSong]:
        batches: AsyncIterator[list[PlannedSong | Notice]] = in_batches(self.planner.plan())
        async for batch in batches:
            for found in batch:
                if isinstance(found, Notice):
                    self._notice(found.path, found.reason)
                else:
                    self._count(found=1, songs=int(found.song.path != self._last))
                    self._last = found.song.path
                    yield found
        self._counting = True  # nothing is left to be counted
        known = self.tally.up_to_date + self.tally.failed_before
        self.tally = evolve(self.tally, total=self.tally.found - known)
        self._emit(EventKind.WALKED)

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
        """Wait until each file has not changed for a moment, and plan it again."""
        for item in deferred:
            seen = self._seen.get(item.song.path)
            if seen is not None:
                await pause(seconds_until_quiet(seen[0][1], time.time()))
            for found in await in_thread(self.planner.replan, item):
                if isinstance(found, Notice):
                    self._skip(item, found.reason)
                else:
                    yield found

    async def _start(self, item: PlannedSong, tasks: TaskGroup) -> None:
        """Start a song when there is room for it, unless there is nothing to do or to spend."""
        if isinstance(item.action, FailedBefore):
            self._report_failed_before(item, item.action.failed)
            return
        if isinstance(item.action, UpToDate):
            self._count(up_to_date=1)
            self._emit(EventKind.UP_TO_DATE, item)
            if self.dry_run or not self._lacks_tags(item.known):
                return
        if self.dry_run:
            self._report_planned(item)
            return
        if isinstance(item.action, FetchMissing) and (known := self._deleted.get(_song_key(item))) is not None:
            item = evolve(item, action=Separate(known))
        if isinstance(item.action, Separate) and self.stopped is not None:
            self._skip(item, self.stopped)
            return
        await self._wait_for_room(tasks)
        if self._fatal is not None:
            return
        ready = await self._ready(item) if isinstance(item.action, Separate) else item
        if ready is not None:
            self._running += 1
            self._in_flight[_audio_key(ready)] += 1
            tasks.start_soon(self._process, ready, tasks)

    async def _wait_for_room(self, tasks: TaskGroup) -> None:
        while self._running >= self.client.slots + _AHEAD and self._fatal is None:
            if not self._counting:
                self._counting = True
                tasks.start_soon(self._count_ahead)
            self._room = anyio.Event()
            await self._room.wait()

    async def _ready(self, item: PlannedSong) -> PlannedSong | None:
        """Look at a song again just before it is sent; `None` if it is not to be sent now.

        It is sent only as it is now: the manifest and the keys of its jobs are about the audio that is read here.
        """
        path = item.song.path
        try:
            entry = await in_thread(os.stat, path)
            now = (entry.st_size, entry.st_mtime_ns)
            if seconds_until_quiet(entry.st_mtime_ns, time.time()) > 0 and self._is_moving(path, now):
                self._defer(item, now)
                return None
            content = item.content
            if content is None or (content.size, content.mtime_ns) != now:
                content = await read_content(path)
        except FileChangedError:
            self._defer(item, None)
            return None
        except OSError as error:
            reason = error.strerror or str(error)
            await self._fail(item, UploadError(f"{path!r} cannot be read: {reason}"), None)
            return None
        if (item.song.size, item.song.mtime_ns) != (content.size, content.mtime_ns):
            self._defer(item, None)  # its tags and its length were read from another file
            return None
        item = evolve(item, content=content)
        if self._in_flight[_audio_key(item)]:
            return item  # a copy of a song under way: it waits for that one
        recalled = await in_thread(self.planner.recall, item.song, content, item.method)
        if isinstance(recalled, FailedBefore) and not self._retrying:
            self._report_failed_before(item, recalled.failed)
            return None
        if isinstance(recalled, Follow) and _song_key(item) not in self._deleted:
            return evolve(item, action=recalled)
        return item if await self._afford(item) else None

    async def _process(self, item: PlannedSong, tasks: TaskGroup) -> None:
        steps = item.method.steps
        observer = JobObserver(
            lambda step, job, progress: self._emit(
                EventKind.PROGRESS, item, step=steps[step.name], job=job, progress=progress
            )
        )
        try:
            async with self._audio_locks.for_key(_audio_key(item)):
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
            self._reserved.pop(_song_key(item), None)
            self._in_flight[_audio_key(item)] -= 1
            self._running -= 1
            self._room.set()

    async def _bring_stems(self, item: PlannedSong, observer: JobObserver) -> None:
        """Do what was planned: nothing else works on the same audio by the same method meanwhile."""
        action, known = item.action, item.known
        if isinstance(action, Separate) and _song_key(item) not in self._reserved:
            assert item.content is not None
            recalled = await in_thread(self.planner.recall, item.song, item.content, item.method)
            if isinstance(recalled, Follow):
                action = recalled
            elif not await self._afford(item):
                return
        if isinstance(action, Follow):
            followed = await self._follow(item)
            if followed is None:  # another song of the same name has taken the place of its stems meanwhile
                self._defer(item, None)
                return
            known = followed
            item = evolve(item, place=known.place, seconds=known.seconds, credits=known.credits)
            action = check_stems(item.method.recipe, known, await in_thread(self.planner.sizes, known))
            if isinstance(action, UpToDate) and not self._lacks_tags(known):
                return
        if isinstance(action, UpToDate):
            assert known is not None
            await self._separator.tag(item, known)
            return
        self._emit(EventKind.STARTED, item)
        if isinstance(action, FetchMissing):
            assert known is not None
            try:
                stems = await self._separator.fetch_missing(item, known, action.present, observer)
            except JobNotFoundError:
                self._deleted[_song_key(item)] = known
                self._deferred.append(item)
                return
            await self._finish(item, stems, observer, known)
        elif isinstance(action, Separate):
            stems = await self._separator.separate(item, observer, lambda: self._set_aside(action.replaced))
            await self._finish(item, stems, observer, None)

    async def _follow(self, item: PlannedSong) -> SeparatedSong | None:
        """Bring the stems of the same audio to the song's place."""
        async with self._stems_lock:
            followed, notices = await in_thread(self._stems.follow, item)
        for notice in notices:
            self._notice(notice.path, notice.reason)
        if followed is not None:
            self._count(up_to_date=1, followed=1)
            if self.tally.total is not None:
                self._count(total=-1)
            self._emit(EventKind.FOLLOWED, item, paths=tuple(self.target / file.path for file in followed.files))
        return followed

    async def _finish(
        self, item: PlannedSong, stems: Stems, observer: JobObserver, known: SeparatedSong | None
    ) -> None:
        paths = await self._separator.record(item, stems, observer, known)
        self._count(separated=1)
        self._emit(EventKind.SEPARATED, item, paths=paths)

    async def _set_aside(self, replaced: SeparatedSong | None) -> None:
        """Make room for new stems where those of the earlier audio of a song are."""
        if replaced is None:
            return
        async with self._stems_lock:
            current = await in_thread(self.manifest.song, replaced.source, replaced.method)
            if current is None or current.content != replaced.content:
                return  # another song has them by now
            for notice in await in_thread(self._stems.set_aside, current):
                self._notice(notice.path, notice.reason)

    def _is_moving(self, path: str, now: tuple[int, int]) -> bool:
        """Tell whether a young file has changed since the last look at it, or was not looked at before."""
        seen = self._seen.get(path)
        return seen is None or seen[0] != now

    def _defer(self, item: PlannedSong, now: tuple[int, int] | None) -> None:
        """Plan a song again when the others are done; skip one that is still being written after a while."""
        _, since = self._seen.get(item.song.path, (None, anyio.current_time()))
        if anyio.current_time() - since > _WRITING_PATIENCE:
            self._skip(item, "is still being written: start again when it is complete")
            return
        self._seen[item.song.path] = (now or (item.song.size, item.song.mtime_ns), since)
        self._deferred.append(item)

    async def _count_ahead(self) -> None:
        """Count the songs to separate while the slots are full: songs are planned only as there is room for them."""
        total = 0
        with suppress(JournalError):  # planning meets the same
            async for batch in in_batches(self.planner.count(self.id)):
                total += sum(batch)
            if self.tally.total is None:
                self.tally = evolve(self.tally, total=total)
                self._emit(EventKind.COUNTED)

    def _report_planned(self, item: PlannedSong) -> None:
        if isinstance(item.action, Follow):
            self._count(up_to_date=1, followed=1)
            self._emit(EventKind.FOLLOWED, item)
        elif not isinstance(item.action, UpToDate):
            cost = item.credits if isinstance(item.action, Separate) else 0
            self._count(
                planned=1,
                seconds=item.seconds or 0.0,
                credits=cost or 0,
                unknown_lengths=int(item.seconds is None),
            )
            self._emit(EventKind.PLANNED, item)

    def _report_failed_before(self, item: PlannedSong, failed: FailedSong) -> None:
        error = JobFailedError(failed.message)
        self.failures.append(Failure(item.path, item.method.label, error, failed.kind))
        self._count(failed_before=1)
        again = "retry_failed tries it again" if failed.kind is FailureKind.ON_REQUEST else "its audio is damaged"
        self._emit(EventKind.FAILED_BEFORE, item, message=f"{failed.message} (in an earlier run; {again})")

    async def _afford(self, item: PlannedSong) -> bool:
        """Reserve the song's credits; steps that are at the service already were paid before."""
        assert item.content is not None
        keys = keys_of(item.method.recipe, content_key(item.content))
        unpaid = [step.name for step in item.method.recipe.steps if not await self._is_paid(keys[step.name])]
        seconds = item.seconds
        cost = None if seconds is None else sum(item.method.price(step, seconds) for step in unpaid)
        if self.stopped is None and (not unpaid or self.budget.reserve(cost)):
            self._reserved[_song_key(item)] = cost or 0
            self._count(credits=cost or 0, seconds=seconds or 0.0, unknown_lengths=int(seconds is None))
            return True
        if self.stopped is None and cost is None:
            reason = "does not tell its length, so it is skipped under a limit on credits"
            self._notice(item.path, reason)
        elif self.stopped is None:
            self.stopped = (
                f"the limit of {self.budget.limit} credits: {self.budget.spent} are spent or reserved, the next song "
                f"({item.title}) needs {cost}"
            )
        self._count(skipped=1)
        self._emit(EventKind.SKIPPED, item, message=self.stopped)
        return False

    async def _is_paid(self, key: str) -> bool:
        job = await self.client.find(key=key)
        return job is not None and job.hash is not None and job.error is None

    async def _fail(self, item: PlannedSong, error: MVSepError, observer: JobObserver | None) -> None:
        sent = observer is not None and any(job.hash for job in observer.jobs.values())
        cost = self._reserved.pop(_song_key(item), None)
        if cost is not None:
            seconds = item.seconds
            self._count(credits=-cost, seconds=-(seconds or 0.0), unknown_lengths=-int(seconds is None))
            if not sent:
                self.budget.release(cost)
        if not sent and item.content is not None and await in_thread(_has_changed, item.song.path, item.content):
            self._defer(item, None)
            return
        kind = classify_failure(error)
        self.failures.append(Failure(item.path, item.method.label, error, kind))
        if kind is not FailureKind.PERMANENT:
            self._failed.append(item)
        if kind is not FailureKind.TEMPORARY and item.content is not None:
            await in_thread(self.manifest.record_failure, _failed_song(item, item.content, kind, error))
        if isinstance(error, DownloadError) and self.stopped is None:
            free = (await in_thread(shutil.disk_usage, self.target)).free
            if free < _LITTLE_SPACE:
                self.stopped = f"a full disk: free some space at {self.target} and start again"
        if observer is not None:
            self.unfinished += [
                (f"{item.title}, {item.method.steps[one.step]} (failed)", one.spans) for one in observer.timelines()
            ]
        self._count(failed=1)
        self._emit(EventKind.FAILED, item, message=str(error))

    def _skip(self, item: PlannedSong, reason: str) -> None:
        if reason != self.stopped:
            self._notice(item.path, reason)
        self._count(skipped=1)
        self._emit(EventKind.SKIPPED, item, message=reason)

    def _lacks_tags(self, known: SeparatedSong | None) -> bool:
        return self.copy_tags and known is not None and not known.tagged

    def _notice(self, path: Path, reason: str) -> None:
        self.notices.append(Notice(path, reason))
        self.on_event(LibraryEvent(kind=EventKind.NOTICE, tally=self.tally, path=path, message=reason))

    def _count(self, **changes: float) -> None:
        self.tally = evolve(self.tally, **{name: getattr(self.tally, name) + more for name, more in changes.items()})

    def _emit(self, kind: EventKind, item: PlannedSong | None = None, **fields: Any) -> None:
        if item is not None:
            fields |= {"path": item.path, "method": item.method.label}
        self.on_event(LibraryEvent(kind=kind, tally=self.tally, **fields))


def _song_key(item: PlannedSong) -> tuple[str, str]:
    return item.song.name, item.method.digest


def _audio_key(item: PlannedSong) -> str:
    """Return what songs of the same audio share, by the same method."""
    audio = item.song.name if item.content is None else item.content.digest
    return f"{item.method.digest} {audio}"


def _has_changed(path: str, content: AudioContent) -> bool:
    try:
        entry = Path(path).stat()
    except OSError:
        return False
    return (entry.st_size, entry.st_mtime_ns) != (content.size, content.mtime_ns)


def _failed_song(item: PlannedSong, content: AudioContent, kind: FailureKind, error: MVSepError) -> FailedSong:
    return FailedSong(
        source=item.song.name,
        method=item.method.digest,
        size=content.size,
        mtime_ns=content.mtime_ns,
        content=content.digest,
        audio_length=content.length,
        kind=kind,
        message=str(error),
    )


async def _each(items: Iterable[PlannedSong]) -> AsyncIterator[PlannedSong]:
    for item in items:
        yield item
