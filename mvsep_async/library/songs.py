"""The songs of a library, all of them: begun as there is room and credit, counted, tried again at the end."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DownloadError,
    JournalError,
    MVSepError,
)
from mvsep_async.jobs.request import new_id
from mvsep_async.library.batches import in_batches
from mvsep_async.library.decisions import CreditBudget, Done, Make, worth_repeating
from mvsep_async.library.making import Maker, Watch
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.outcome import Failure, LibraryEvent, Notice, Tally, What
from mvsep_async.library.planner import Planned, Planner, Remark
from mvsep_async.library.timeline import Span
from mvsep_async.recipes.chain import Transfer
from mvsep_async.recipes.keys import keys_of

__all__ = ["Order", "Run"]

Order: TypeAlias = Literal["as-found", "shortest-first"]

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
    purse: CreditBudget
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
    _counting: bool = False
    _under_way: int = 0
    _last: str | None = None
    _fatal: MVSepError | None = None
    _room: anyio.Event = field(factory=anyio.Event)
    _maker: Maker = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._maker = Maker(
            self.client, self.target, self.manifest, self.copy_tags, self.transfer, self.id, self._remark
        )

    async def go(self, order: Order, repeat: int) -> None:
        """Plan and separate, then try again what failed."""
        planned = self._planned() if order == "as-found" else self._shortest_first()
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
            try:
                async for item in planned:
                    await self._take(item, tasks)
            except MVSepError as error:
                self._fatal = error
                tasks.cancel_scope.cancel()
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
        self._counting = True  # nothing is ahead any more
        self.tally = evolve(self.tally, ahead=self.tally.found - self.tally.kept)
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
            if not self._counting:
                self._counting = True
                tasks.start_soon(self._count_ahead)
            self._room = anyio.Event()
            await self._room.wait()
        if self._fatal is None:
            self._under_way += 1
            tasks.start_soon(self._separate, item, tasks)

    async def _count_ahead(self) -> None:
        """Count what the run is to make, while the slots are full: songs are planned only as there is room for them."""
        ahead = 0
        with suppress(JournalError):  # planning meets the same
            async for batch in in_batches(self.planner.to_make(self.id)):
                ahead += sum(batch)
            if self.tally.ahead is None:
                self.tally = evolve(self.tally, ahead=ahead)
                self.tell(What.COUNTED)

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
        names = item.work.steps
        watch = Watch(
            lambda step, job, progress: self.tell(
                What.PROGRESS, item, step=names[step.name], job=job, progress=progress
            )
        )
        done_before = isinstance(item.action, Done)
        try:
            if not done_before:
                self.tell(What.BEGAN, item)
            made = await self._maker.make(item, watch, self._afford)
            if made is not None:
                paths = await self._maker.record(item, made, watch)
                if not done_before:
                    self._count(made=1)
                    self.tell(What.MADE, item, paths=paths)
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

    async def _fail(self, item: Planned, error: MVSepError, watch: Watch) -> None:
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


async def _each(items: list[Planned]) -> AsyncIterator[Planned]:
    for item in items:
        yield item
