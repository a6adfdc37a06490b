"""Watching a client's jobs for the display, and taking their outcomes as they come."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
from anyio import CancelScope
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field

from mvsep_async.cli.exits import DONE, FAILED, USAGE
from mvsep_async.cli.live.board import Board, Lane, Pace, Speed, assign
from mvsep_async.cli.live.driver import Display, displayed
from mvsep_async.cli.live.render import summary
from mvsep_async.cli.outcome import Outcome, job_name
from mvsep_async.cli.songs import Songs
from mvsep_async.cli.terminal import terminal
from mvsep_async.client import MVSepClient
from mvsep_async.errors import AuthenticationError, InvalidRequestError, MVSepError
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.lifecycle import OVER
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.stage import Stage
from mvsep_async.models.user import User

__all__ = ["Ends", "Follower", "settled"]

_Ended = tuple[Job, Outcome]

_ACCOUNT: Final = 60.0
"""Seconds between two looks at the account, for the credits shown."""

_SHARE: Final = 20
"""A picture may take one part in so many of the time: with very many jobs there are fewer pictures."""


@define(eq=False)
class Follower:
    """One run of a command: its jobs, how they end, what is shown of them.

    `songs`: those still to be taken. `slots`: lanes to show, by default as many as the account has.
    """

    title: str
    json: bool
    songs: Songs | None = None
    slots: int | None = None
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    unsent: int = 0
    open: dict[str, Job] = field(factory=dict)
    """Jobs that are not over, by id."""
    on_board: Callable[[Board], None] | None = None
    """Is given every board that is shown."""
    _seen: int = 0
    _ended: set[str] = field(factory=set)
    _stages: dict[str, Stage] = field(factory=dict)
    _since: dict[str, float] = field(factory=dict)
    _speeds: dict[str, Speed] = field(factory=dict)
    _lanes: tuple[str | None, ...] = ()
    _pace: Pace = field(factory=Pace)
    _user: User | None = None
    _start: float = field(init=False)
    _bad: list[Outcome] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self._start = self.clock()

    @property
    def code(self) -> int:
        """The exit code, when all is over."""
        if not self.failed and not self.cancelled:
            return DONE
        return USAGE if self.unsent == self.done + self.failed + self.cancelled else FAILED

    async def follow(
        self,
        client: MVSepClient,
        outcomes: AsyncIterable[_Ended],
        *beside: Callable[[], Coroutine[Any, Any, None]],
    ) -> int:
        """Show the client's jobs and write each outcome, until there are no more; return the exit code.

        `beside` runs meanwhile, as what makes the outcomes come. A token that the service does not accept ends it at
        once: every other song would fail for it too.
        """
        with displayed(terminal(), results=not self.json) as display:
            try:
                async with anyio.create_task_group() as tasks:
                    for task in beside:
                        tasks.start_soon(task)
                    tasks.start_soon(self._ask_account, client)
                    tasks.start_soon(self._draw, client, display)
                    async for job, outcome in outcomes:
                        self._forget(job)
                        await self._tell(display, outcome)
                        if isinstance(outcome.error, AuthenticationError):
                            raise outcome.error.with_traceback(None)
                    await self._tell_bad(display)
                    tasks.cancel_scope.cancel()
            except BaseException:
                self._look(client.jobs())  # for who is to be told how to go on
                raise
        if not self.json and self.done + self.failed + self.cancelled > 1:
            terminal().note(summary(self.done, self.failed, self.cancelled, self.clock() - self._start))
        return self.code

    def bad(self, source: str, error: InvalidRequestError) -> None:
        """Take note of something given that cannot be separated."""
        self._bad.append(Outcome(name=source, source=source, error=error))

    def board(self, client: MVSepClient) -> tuple[Board, list[Lane]]:
        """Return what is to be shown now, and the lanes with a new stage."""
        now = self.clock()
        self._look(client.jobs())
        user = client.user or self._user
        running = {id: job for id, job in self.open.items() if job.stage is not Stage.QUEUED}
        self._lanes = assign(self._lanes, running, self.slots or (1 if user is None else client.slots))
        lanes = {id: self._lane(job, now) for id, job in running.items()}
        changed = [lane for id, lane in lanes.items() if self._is_new(id, lane.progress.stage)]
        over = self.done + self.failed + self.cancelled
        queued = len(self.open) - len(running) + (self.songs.left if self.songs else 0)
        made = over + sum(lane.progress.fraction or 0.0 for lane in lanes.values())
        total = over + len(self.open) + (self.songs.left if self.songs else 0)
        searching = self.songs is not None and not self.songs.complete
        board = Board(
            title=self.title,
            lanes=tuple(None if id is None else lanes[id] for id in self._lanes),
            queued=queued,
            searching=searching,
            done=self.done,
            failed=self.failed + self.cancelled,
            credits=None if user is None else user.premium_minutes,
            elapsed=now - self._start,
            left=None if searching else self._pace.left(made, total, now - self._start),
        )
        return board, changed

    async def _draw(self, client: MVSepClient, display: Display) -> None:
        while True:
            began = self.clock()
            board, changed = self.board(client)
            spent = self.clock() - began
            if self.on_board is not None:
                self.on_board(board)
            await display.show(board, changed)
            await self._tell_bad(display)
            await anyio.sleep(max(display.interval, _SHARE * spent))

    async def _ask_account(self, client: MVSepClient) -> None:
        """Know the credits that are left; a run does not fail for want of them."""
        while True:
            with suppress(MVSepError):
                self._user = await client.account.user()
            await anyio.sleep(_ACCOUNT)

    async def _tell(self, display: Display, outcome: Outcome) -> None:
        self.done += outcome.status == "done"
        self.failed += outcome.status == "failed"
        self.cancelled += outcome.status == "cancelled"
        self.unsent += outcome.unsent
        if self.json:
            terminal().document(outcome.document())
        else:
            await display.line(outcome.line(display.glyphs))

    async def _tell_bad(self, display: Display) -> None:
        while self._bad:
            with CancelScope(shield=True):  # what is taken from the list is told: the run may end just now
                await self._tell(display, self._bad.pop(0))

    def _look(self, known: list[Job]) -> None:
        """Take in jobs that are new, and drop those that are over."""
        for job in known[self._seen :]:
            if job.id not in self._ended and not job.done():
                self.open[job.id] = job
                self._pace.give(job.progress.fraction or 0.0)
        self._seen = len(known)
        for id in [id for id, job in self.open.items() if job.state in OVER]:
            del self.open[id]

    def _forget(self, job: Job) -> None:
        if job.id not in self._since:
            self._pace.give(1.0)
        self._ended.add(job.id)
        for table in (self.open, self._stages, self._since, self._speeds):
            table.pop(job.id, None)

    def _lane(self, job: Job, now: float) -> Lane:
        progress = job.progress
        speed = self._speeds.setdefault(job.id, Speed()).update(_moved(progress), now)
        return Lane(
            name=job_name(job),
            progress=progress,
            speed=speed,
            elapsed=now - self._since.setdefault(job.id, now),
        )

    def _is_new(self, id: str, stage: Stage) -> bool:
        before = self._stages.get(id)
        self._stages[id] = stage
        return stage is not before


async def settled(jobs: AsyncIterable[Job]) -> AsyncIterator[_Ended]:
    """Give the outcome of each job that `client.map` gives."""
    async for job in jobs:
        yield job, Outcome.of(job)


@define(eq=False)
class Ends:
    """The outcomes of some jobs, as they come; `run` does with each job what is to be done, all at once."""

    jobs: Sequence[Job]
    act: Callable[[Job], Awaitable[object]]
    _line: tuple[MemoryObjectSendStream[_Ended], MemoryObjectReceiveStream[_Ended]] = field(
        factory=lambda: anyio.create_memory_object_stream[_Ended](math.inf)
    )

    async def run(self) -> None:
        """Act on every job, until all are through."""
        with self._line[0] as line:
            async with anyio.create_task_group() as tasks:
                for job in self.jobs:
                    tasks.start_soon(self._act, job, line)

    async def __aiter__(self) -> AsyncIterator[_Ended]:
        with self._line[1] as line:
            async for ended in line:
                yield ended

    async def _act(self, job: Job, line: MemoryObjectSendStream[_Ended]) -> None:
        error = None
        try:
            await self.act(job)
        except MVSepError as met:
            error = met
        line.send_nowait((job, Outcome.of(job, error)))


def _moved(progress: Progress) -> int | None:
    if progress.stage is Stage.UPLOADING:
        return progress.bytes_sent
    return progress.bytes_received if progress.stage is Stage.DOWNLOADING else None
