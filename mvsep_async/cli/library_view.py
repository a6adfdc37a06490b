"""A library run on the display: its jobs in their lanes, a line for each song that is done."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from attrs import define, field
from rich.text import Text

from mvsep_async.cli.live.board import Board, Lane, Pace, Speed, assign
from mvsep_async.cli.live.driver import Display, displayed
from mvsep_async.cli.live.render import Glyphs
from mvsep_async.cli.outcome import job_name
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import visible
from mvsep_async.client import MVSepClient
from mvsep_async.jobs.job import Job
from mvsep_async.library import LibraryEvent, LibraryResult, Tally, What
from mvsep_async.models.stage import Stage

__all__ = ["LibraryView"]


@define(eq=False)
class LibraryView:
    """Takes the events of a run, and shows what they come to. `several`: a song is separated in more than one way."""

    title: str
    json: bool
    source: Path
    several: bool = False
    clock: Callable[[], float] = time.monotonic
    tally: Tally = field(factory=Tally)
    _jobs: dict[str, tuple[str, Job]] = field(factory=dict)
    _of_song: dict[tuple[Path | str | None, str | None], set[str]] = field(factory=dict)
    _stages: dict[str, Stage] = field(factory=dict)
    _since: dict[str, float] = field(factory=dict)
    _speeds: dict[str, Speed] = field(factory=dict)
    _lanes: tuple[str | None, ...] = ()
    _pace: Pace = field(factory=Pace)
    _told: deque[LibraryEvent] = field(factory=deque)
    _start: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._start = self.clock()

    def take(self, event: LibraryEvent) -> None:
        """Take note of an event; `separate_library` calls this."""
        self.tally = event.tally
        song = (event.name or event.path, event.work)
        if event.what is What.PROGRESS and event.job is not None:
            name = event.name or self._name(event.path)
            if event.job.id not in self._jobs and event.progress is not None:
                self._pace.give(event.progress.fraction or 0.0)
            self._jobs[event.job.id] = (
                f"{name}, {event.step}" if self.several or event.step != event.work else name,
                event.job,
            )
            self._of_song.setdefault(song, set()).add(event.job.id)
        elif event.what in (What.MADE, What.FAILED):
            for job in self._of_song.pop(song, ()):
                for table in (self._jobs, self._stages, self._since, self._speeds):
                    table.pop(job, None)
        if event.what in (What.MADE, What.FAILED, What.NOTICE, What.REPEATING) or (
            event.what is What.LEFT_OUT and event.tally.left_out == 1
        ):
            self._told.append(event)

    async def follow(self, client: MVSepClient, run: Callable[[], Awaitable[LibraryResult]]) -> LibraryResult:
        """Show the run until it is over, and return what it came to."""
        with displayed(terminal(), results=not self.json) as display:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._draw, client, display)
                result = await run()
                tasks.cancel_scope.cancel()
            await self._tell(display)
        return result

    async def _draw(self, client: MVSepClient, display: Display) -> None:
        while True:
            board, changed = self.board(client)
            await display.show(board, changed)
            await self._tell(display)
            await anyio.sleep(display.interval)

    def board(self, client: MVSepClient) -> tuple[Board, list[Lane]]:
        """Return what is to be shown now, and the lanes with a new stage."""
        now = self.clock()
        active = {id: entry for id, entry in self._jobs.items() if _shown(entry[1])}
        self._lanes = assign(self._lanes, active, client.slots)
        lanes = {id: self._lane(name, job, now) for id, (name, job) in active.items()}
        changed = [lane for id, lane in lanes.items() if self._is_new(id, lane.progress.stage)]
        tally, user = self.tally, client.user
        over = tally.made + tally.failed
        known = tally.ahead is not None
        ahead = tally.found - tally.kept if tally.ahead is None else tally.ahead
        open_ = max(0, ahead - over - tally.left_out)
        made = over + sum(lane.progress.fraction or 0.0 for lane in lanes.values())
        board = Board(
            title=self.title,
            lanes=tuple(None if id is None else lanes[id] for id in self._lanes),
            queued=max(0, open_ - len(lanes)),
            searching=not known,
            done=tally.made,
            failed=tally.failed,
            credits=None if user is None else user.premium_minutes,
            elapsed=now - self._start,
            left=None if not known else self._pace.left(made, over + open_, now - self._start),
        )
        return board, changed

    async def _tell(self, display: Display) -> None:
        while self._told:
            event = self._told[0]
            if self.json:
                if event.what in (What.MADE, What.FAILED):
                    terminal().document(
                        {
                            "source": event.name or (None if event.path is None else str(event.path)),
                            "way": event.work,
                            "status": "done" if event.what is What.MADE else "failed",
                            "files": [str(path.absolute()) for path in event.paths],
                            "error": event.message if event.what is What.FAILED else None,
                        }
                    )
                else:
                    terminal().note(self._line(event, display.glyphs))
            else:
                await display.line(self._line(event, display.glyphs))
            self._told.popleft()  # only now: whoever writes may be cancelled, and the last look writes the rest

    def _line(self, event: LibraryEvent, glyphs: Glyphs) -> Text:
        name = visible(event.name or self._name(event.path))
        match event.what:
            case What.MADE:
                line = Text.assemble((f"{glyphs.done} ", "green"), name)
                line.append(
                    f"  {visible(event.work or '')}: {', '.join(visible(path.stem) for path in event.paths)}", "dim"
                )
                return line
            case What.FAILED:
                line = Text.assemble((f"{glyphs.failed} ", "red"), name)
                line.append(f"  {visible(event.work or '')}: {' '.join(visible(event.message or '').split())}", "red")
                return line
            case What.NOTICE:
                return Text.assemble(("- ", "yellow"), name, (f" {visible(event.message or '')}", "yellow"))
            case _:
                return Text.assemble(("- ", "yellow"), visible(event.message or name))

    def _name(self, path: Path | None) -> str:
        if path is None:
            return ""
        try:
            return str(path.relative_to(os.path.abspath(self.source)))  # noqa: PTH100 -- as the walk names songs
        except ValueError:
            return str(path)

    def _lane(self, name: str, job: Job, now: float) -> Lane:
        progress = job.progress
        moved = progress.bytes_sent if progress.stage is Stage.UPLOADING else None
        moved = progress.bytes_received if progress.stage is Stage.DOWNLOADING else moved
        return Lane(
            name=name or job_name(job),
            progress=progress,
            speed=self._speeds.setdefault(job.id, Speed()).update(moved, now),
            elapsed=now - self._since.setdefault(job.id, now),
        )

    def _is_new(self, id: str, stage: Stage) -> bool:
        before = self._stages.get(id)
        self._stages[id] = stage
        return stage is not before


def _shown(job: Job) -> bool:
    return job.stage not in (Stage.QUEUED, Stage.DONE, Stage.FINISHED, Stage.FAILED, Stage.CANCELLED)
