"""What a board looks like at a width, in colour or without, in Unicode or ASCII: values in, text out."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from attrs import frozen
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.text import amount, ordinal, seconds_text, size_text, visible
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.stage import Stage

__all__ = ["ASCII", "UNICODE", "Glyphs", "cut_end", "cut_middle", "render", "stage_line", "status_text", "summary"]


@frozen
class Glyphs:
    """The signs that the display is made of."""

    full: str
    part: str
    """Ends a bar that is half a cell longer; empty where there is no such sign."""
    rest: str
    """Of another shape than `full`: some terminals show no colours."""
    unknown: str
    """Fills the bar of a job whose fraction is not known."""
    cut: str
    dot: str
    done: str
    failed: str


UNICODE: Final = Glyphs("━", "╸", "─", "·", "…", " · ", "✓", "✗")
ASCII: Final = Glyphs("#", "", "-", ".", "~", " | ", "+", "x")

_STYLES: Final = {
    Stage.QUEUED: "dim",
    Stage.UPLOADING: "blue",
    Stage.FETCHING: "blue",
    Stage.WAITING: "yellow",
    Stage.DISTRIBUTING: "magenta",
    Stage.PROCESSING: "magenta",
    Stage.MERGING: "magenta",
    Stage.DONE: "green",
    Stage.DOWNLOADING: "cyan",
    Stage.FINISHED: "green",
    Stage.FAILED: "red",
    Stage.CANCELLED: "red",
}
_GROUPS: Final = {
    Stage.UPLOADING: "uploading",
    Stage.DONE: "to download",
    Stage.DOWNLOADING: "downloading",
}
"""How stages are counted apart from the jobs that run at the service."""
_AT_WORK: Final = (Stage.DISTRIBUTING, Stage.PROCESSING, Stage.MERGING)
_REDUNDANT: Final = re.compile(r"\b(?:is|are) being \w+$")
"""How the service's message says what the stage says already ("Your file is being processed")."""
_AROUND: Final = 2
"""Lines other than lanes and sums: the title, and the line of the cursor."""
_STAGE: Final = max(len(stage) for stage in Stage)
_PERCENT: Final = 4
_LEAST: Final = 16
"""Columns that a title and a folder need beside each other."""
_ROOMY: Final = 72
"""Columns from which on there is room for details beside the stage."""
_CRAMPED: Final = 50
"""Columns below which only the song and its bar are shown."""


def render(board: Board, *, width: int, height: int = 24, glyphs: Glyphs = UNICODE) -> Text:
    """Return the display: a line a lane, at most so many that `height` is not exceeded, and the sums below them."""
    sums = _sums(board, width, glyphs)
    room = max(1, height - len(sums) - _AROUND)
    shown = board.lanes if len(board.lanes) <= room else board.lanes[: room - 1]
    lines = [_lane(lane, width, glyphs) for lane in shown]
    if len(shown) < len(board.lanes):
        lines.append(Text(f"  and {len(board.lanes) - len(shown)} more", style="dim"))
    if board.title:
        lines.insert(0, _fitted([(board.title, "bold")], width, glyphs))
    lines.extend(sums)
    return Text("\n", no_wrap=True, overflow="crop", end="").join(lines)


def stage_line(lane: Lane) -> str:
    """Return one plain line about a job that came to another stage, for a log."""
    return f"{visible(os.path.join(lane.folder, lane.name))}: {status_text(lane.progress)}"  # noqa: PTH118


def status_text(
    progress: Progress, *, speed: float | None = None, elapsed: float = 0.0, width: int | None = None
) -> str:
    """Return a job's stage, and as much of what is known beyond it as fits into `width` columns.

    First the queue place, the chunks or the bytes, then the time left or the speed, else the time that the stage has
    taken.
    """
    stage = progress.stage
    message = visible(progress.message or "")
    if message and not _REDUNDANT.search(message):
        return f"{stage.value}, {message}"
    left = "" if (progress.seconds_left or 0) < 1 else f"{seconds_text(progress.seconds_left or 0)} left"
    match stage:
        case Stage.UPLOADING:
            parts = _bytes(progress.bytes_sent, progress.bytes_total, speed)
        case Stage.DOWNLOADING if not progress.bytes_received:
            parts = [", waits for others"] if elapsed >= 1 else []
        case Stage.DOWNLOADING:
            parts = _bytes(progress.bytes_received, progress.bytes_total, speed)
        case Stage.WAITING if progress.queue_position is not None:
            of = "" if progress.queue_length is None else f" of {progress.queue_length}"
            parts = [f", {ordinal(progress.queue_position)}{of}", f", {left}" if left else ""]
        case stage if stage in _AT_WORK and progress.chunks_total:
            counts = f"{progress.chunks_done or 0} of {progress.chunks_total}"
            full, short = f", chunk {counts}, {left}", f", {counts}, {left}"
            fits_short = width is not None and cell_len(stage.value + short) <= width < cell_len(stage.value + full)
            parts = [short] if left and fits_short else [f", chunk {counts}", f", {left}" if left else ""]
        case Stage.DONE:
            parts = [", waits to download"] if elapsed >= 1 else []
        case _:
            parts = [f", {left}" if left else f" for {seconds_text(elapsed)}" if elapsed >= 1 else ""]
    text = stage.value
    for part in parts:
        if width is None or cell_len(text + part) <= width:
            text += part
    return text


def _lane(lane: Lane, width: int, glyphs: Glyphs) -> Text:
    progress, style = lane.progress, _STYLES[lane.progress.stage]
    status = min(48, max(35, width - 72)) if width >= _ROOMY else _STAGE if width >= _CRAMPED else 0
    bar = max(6, min(24, (width - 60) // 2 if status else width // 4))
    name = max(4, width - bar - _PERCENT - status - 1 - bool(status) * 2)
    line = Text(no_wrap=True)
    line.append_text(_named(lane, name, glyphs))
    line.append(" ")
    line.append_text(_bar(progress.fraction, bar, style, glyphs))
    line.append("" if progress.fraction is None else f"{int(progress.fraction * 100):3}%", style=style)
    if status:
        text = status_text(progress, speed=lane.speed, elapsed=lane.elapsed, width=status)
        stage = progress.stage.value
        line.pad_right(name + 1 + bar + _PERCENT + 2 - line.cell_len)
        line.append(stage, style=style)
        line.append(text.removeprefix(stage), style="dim")
    line.rstrip()
    return cut_end(line, width, glyphs)


def _named(lane: Lane, width: int, glyphs: Glyphs) -> Text:
    """Return the song's title in exactly so many columns, with the folder that tells it from others of that title."""
    name, folder = visible(lane.name), visible(lane.folder)
    if not folder or width < _LEAST:
        return Text(cut_middle(name, width, glyphs))
    room = max(width - cell_len(name) - 2, min(cell_len(folder), width // 3))
    return Text.assemble(cut_middle(name, width - room - 2, glyphs), "  ", (cut_middle(folder, room, glyphs), "dim"))


def _bar(fraction: float | None, width: int, style: str, glyphs: Glyphs) -> Text:
    if fraction is None:
        return Text(glyphs.unknown * width, style="dim")
    halves = round(min(max(fraction, 0.0), 1.0) * width * 2)
    half = glyphs.part if halves % 2 else ""
    bar = Text(glyphs.full * (halves // 2) + half, style=style)
    bar.append(glyphs.rest * (width - len(bar)), style="bright_black")
    return bar


def _sums(board: Board, width: int, glyphs: Glyphs) -> list[Text]:
    moving = Counter(_GROUPS.get(lane.progress.stage, "running") for lane in board.lanes)
    parts: list[tuple[str, str]] = [(f"{board.queued}{'+' if board.searching else ''} queued", "dim")]
    parts += [(f"{moving['uploading']} uploading", "")] if moving["uploading"] else []
    parts += [(f"{moving['running']} running", "")]
    parts += [(f"{moving['downloading']} downloading", "")] if moving["downloading"] else []
    parts += [(f"{moving['to download']} to download", "")] if moving["to download"] else []
    parts += [(f"{board.done} done", "green" if board.done else "dim")]
    if board.failed:
        parts.append((f"{board.failed} failed", "red"))
    if board.credits is not None:
        parts.append((f"{board.credits:.0f} credits", "dim"))
    parts.append((seconds_text(board.elapsed), ""))
    if board.left is not None and board.left >= 1:
        parts.append((f"about {seconds_text(_rounded(board.left))} left", ""))
    lines: list[list[tuple[str, str]]] = [[(board.notice, "yellow")], []] if board.notice else [[]]
    taken = 0
    for part in parts:
        needed = cell_len(part[0]) + len(glyphs.dot) * bool(lines[-1])
        if lines[-1] and taken + needed > width:
            lines.append([])
            taken, needed = 0, cell_len(part[0])
        lines[-1].append(part)
        taken += needed
    return [_fitted(line, width, glyphs) for line in lines]


def _rounded(seconds: float) -> float:
    """Return a time left as exact as an estimate can be: in steps of 10 seconds from 2 minutes on, never too short."""
    return seconds if seconds < 120 else math.ceil(seconds / 10) * 10


def _fitted(parts: Sequence[tuple[str, str]], width: int, glyphs: Glyphs) -> Text:
    line = Text(no_wrap=True)
    for index, (text, style) in enumerate(parts):
        line.append(glyphs.dot if index else "", style="dim")
        line.append(visible(text), style=style)
    return cut_end(line, width, glyphs)


def cut_middle(text: str, width: int, glyphs: Glyphs) -> str:
    """Return `text` in exactly so many columns, without its middle if it is too long: the ends differ most."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    tail = text[-((width - 1) // 3) :] if width > 8 else ""
    while cell_len(tail) > (width - 1) // 3:
        tail = tail[1:]
    return set_cell_size(text, width - 1 - cell_len(tail)) + glyphs.cut + tail


def cut_end(line: Text, width: int, glyphs: Glyphs) -> Text:
    """Return `line` in at most so many columns, without its end if it is too long."""
    if cell_len(line.plain) > width:
        line.truncate(max(width - 1, 0))
        line.append(glyphs.cut)
    return line


def _bytes(done: int | None, total: int | None, speed: float | None) -> list[str]:
    if done is None:
        return []
    text = size_text(done)
    if total:
        whole = size_text(total)
        here, unit = text.split(" ")
        text = f"{here if whole.endswith(f' {unit}') else text} of {whole}"
    return [f" {text}", f", {size_text(speed)}/s" if speed else ""]


def summary(made: int, skipped: int, failed: int, cancelled: int, elapsed: float) -> str:
    """Return the last line of a run."""
    parts = [f"{amount(made, 'song')} done"]
    parts += [f"{skipped} already separated"] if skipped else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{cancelled} cancelled"] if cancelled else []
    return f"{', '.join(parts)} in {seconds_text(elapsed)}"
