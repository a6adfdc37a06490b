"""A library run on the display: turns its events into lanes, and a line for each song that is done."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from attrs import Factory, define, evolve, field
from rich.cells import cell_len
from rich.text import Text

from mvsep_async.cli.live.dashboard import Dashboard
from mvsep_async.cli.live.lanes import Running, Snapshot
from mvsep_async.cli.live.render import Glyphs, cut_end, cut_middle
from mvsep_async.cli.outcome import job_name, shown_path, title_of
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount, visible
from mvsep_async.client import MVSepClient
from mvsep_async.http.call import Json
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress, fraction_range
from mvsep_async.library import EventKind, LibraryEvent, LibraryResult, Tally
from mvsep_async.models.stage import Stage

__all__ = ["LibraryRun"]

T = TypeVar("T")

_SHORTEST: Final = 20
"""Columns that a song's name gets at least."""

_NOT_RUNNING = (Stage.QUEUED, Stage.FINISHED, Stage.FAILED, Stage.CANCELLED)


_Song: TypeAlias = tuple[Path | str | None, str | None]
"""A song and the method by which it is separated."""


@define(eq=False)
class LibraryRun:
    """Takes the events of a run and shows them. `several`: songs are separated in more than one way."""

    title: str
    source: Path
    several: bool = False
    tally: Tally = field(factory=Tally)
    _songs: dict[_Song, dict[str, tuple[str, str, Job]]] = field(factory=dict)
    """Name, folder and job by the job's id, one for each step that has begun, of each song that is not over."""
    _failed: dict[_Song, dict[str, Json]] = field(factory=dict)
    """Documents of failed songs: written at the end, since a failed song is tried again."""
    _noted: set[tuple[Path | None, str | None]] = field(factory=set)
    """Notices that were shown: a folder that is watched is separated again and again."""
    _waits_for: str | None = None
    """Why songs wait, in the words of the run."""
    _dashboard: Dashboard = field(default=Factory(lambda self: Dashboard(self.title), takes_self=True), init=False)

    @property
    def unit(self) -> str:
        """What the numbers of the run count."""
        return "result" if self.several else "song"

    def receive(self, event: LibraryEvent) -> None:
        """Take an event in; `separate_library` calls this."""
        self.tally = event.tally
        song, notice = (event.name or event.path, event.method), (event.path, event.message)
        match event.kind:
            case EventKind.PROGRESS if event.job is not None:
                self._songs.setdefault(song, {})[event.job.id] = (*self._lane_name(event, event.job), event.job)
            case EventKind.SEPARATED | EventKind.FAILED:
                self._songs.pop(song, None)
                self._failed.pop(song, None)
                if not terminal().json:
                    self._dashboard.write(lambda glyphs, width: self._line(event, glyphs, width))
                elif event.kind is EventKind.FAILED:
                    self._failed[song] = self._document(event)
                else:
                    self._dashboard.write(self._document(event))
            case EventKind.RETRYING | EventKind.FOLLOWED | EventKind.REMOVED:
                self._write_note(self._notice(event))
            case EventKind.NOTICE | EventKind.FAILED_BEFORE | EventKind.REJECTED if notice not in self._noted:
                self._noted.add(notice)
                self._write_note(self._notice(event))
                if event.kind is EventKind.REJECTED and terminal().json:
                    self._dashboard.write(self._document(event))
            case EventKind.WAITING:
                self._waits_for = event.message
            case EventKind.SKIPPED if event.tally.skipped == 1 and notice not in self._noted:
                self._write_note(self._notice(event))

    async def follow(self, client: MVSepClient, run: Callable[[], Awaitable[T]]) -> T:
        """Show the run until it is over, and return its result."""
        async with self._dashboard.shown(client, lambda: self.snapshot(client)):
            try:
                return await run()
            finally:
                self._write_failed()

    def wait_for_songs(self, result: LibraryResult) -> None:
        """Say that all songs are done and that new ones are waited for; `watch_library` calls this after each run."""
        self._write_failed()
        failed = f", {result.tally.failed} failed" if result.tally.failed else ""
        folder = shown_path(self.source)
        separated = amount(result.tally.separated, self.unit)
        text = f"{separated} separated{failed}; waiting for new songs in {folder}, Ctrl-C ends"
        self._write_note(Text(visible(text), style="dim"))

    def snapshot(self, client: MVSepClient) -> Snapshot:
        """Return the run as it is now."""
        running: dict[str, Running] = {}
        begun = 0
        for jobs in self._songs.values():
            begun += any(job.stage is not Stage.QUEUED for _, _, job in jobs.values())
            *before, _ = jobs  # their stems are used by a recipe's next step
            running |= {
                id: Running(name, _with_download(job.progress), folder)
                for id, (name, folder, job) in jobs.items()
                if job.stage not in _NOT_RUNNING and not (job.stage is Stage.DONE and id in before)
            }
        tally = self.tally
        ahead = tally.found - tally.up_to_date if tally.total is None else tally.total
        return Snapshot(
            running=running,
            slots=client.slots,
            queued=max(0, ahead - tally.separated - tally.failed - tally.skipped - begun),
            searching=tally.total is None,
            done=tally.separated,
            failed=tally.failed,
            notice=self._waits_for,
        )

    def _write_failed(self) -> None:
        for document in self._failed.values():
            self._dashboard.write(document)
        self._failed.clear()

    def _write_note(self, note: Text) -> None:
        if terminal().json:
            terminal().note(note)
        else:
            self._dashboard.write(lambda glyphs, width: note)

    def _lane_name(self, event: LibraryEvent, job: Job) -> tuple[str, str]:
        name, folder = job_name(job) if event.path is None else title_of(self._relative(event.path))
        name = event.name or name
        return (f"{name}, {event.step}" if self.several or event.step != event.method else name), folder

    def _document(self, event: LibraryEvent) -> dict[str, Json]:
        return {
            "source": event.name or (None if event.path is None else str(event.path)),
            "method": event.method,
            "status": "done" if event.kind is EventKind.SEPARATED else "failed",
            "files": [str(path.absolute()) for path in event.paths],
            "error": None if event.kind is EventKind.SEPARATED else event.message,
        }

    def _line(self, event: LibraryEvent, glyphs: Glyphs, width: int | None) -> Text:
        name, method = visible(event.name or str(self._relative(event.path))), visible(event.method or "")
        if event.kind is EventKind.SEPARATED:
            stems = ", ".join(visible(path.stem) for path in event.paths)
            made = f"  {method}: {stems}"
            room = max(_SHORTEST, (width or 0) - cell_len(made) - 2)
            name = cut_middle(name, room, glyphs) if width is not None and cell_len(name) > room else name
            line = Text.assemble((f"{glyphs.done} ", "green"), name, (made, "dim"))
            return line if width is None else cut_end(line, width, glyphs)
        why = visible(" ".join((event.message or "").split()))
        return Text.assemble((f"{glyphs.failed} ", "red"), name, (f"  {method}: {why}", "red"))

    def _notice(self, event: LibraryEvent) -> Text:
        message = visible(event.message or "")
        if event.kind is EventKind.FOLLOWED:
            message = "was renamed, moved, copied or retagged: its stems followed, nothing was paid"
        elif event.kind is EventKind.REMOVED:
            message = "was removed: its stems stay"
        elif event.kind not in (EventKind.NOTICE, EventKind.FAILED_BEFORE, EventKind.REJECTED):
            return Text.assemble(("- ", "yellow"), message or visible(event.name or str(self._relative(event.path))))
        return Text.assemble(("- ", "yellow"), visible(str(self._relative(event.path))), (f" {message}", "yellow"))

    def _relative(self, path: Path | None) -> Path:
        if path is None:
            return Path()
        # As the walk names songs, and as the system names changed files.
        for folder in (os.path.abspath(self.source), os.path.realpath(self.source)):  # noqa: PTH100
            with suppress(ValueError):
                return path.relative_to(folder)
        return path


def _with_download(progress: Progress) -> Progress:
    """Return the progress of a job with the download of its stems, which the library begins itself."""
    if progress.stage not in (Stage.DONE, Stage.DOWNLOADING):
        return progress
    return evolve(progress, fraction=fraction_range(progress, downloads=True)[0])
