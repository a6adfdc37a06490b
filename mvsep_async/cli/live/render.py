"""What a board looks like at a width, in colour or without, in Unicode or ASCII: values in, text out."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.text import amount, seconds_text, size_text, visible
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.stage import Stage

__all__ = ["ASCII", "UNICODE", "Glyphs", "details", "render", "stage_line"]


@frozen
class Glyphs:
    """The signs that the display is made of."""

    full: str
    part: str
    """Ends a bar that is half a cell longer; empty where there is no such sign."""
    rest: str
    """Of another shape than `full`: colour alone does not tell them apart everywhere."""
    free: str
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
_AT_WORK: Final = (Stage.DISTRIBUTING, Stage.PROCESSING, Stage.MERGING)
_NO_NEWS: Final = re.compile(r"\b(?:is|are) being \w+$")
"""How the service puts what the stage says already ("Your file is being processed")."""
_AROUND: Final = 2
"""Lines around lanes and sums: the title, and the one that the cursor stands on."""
_STAGE: Final = max(len(stage) for stage in Stage)
_PERCENT: Final = 4
_ROOMY: Final = 72
"""Columns from which on there is room for details beside the bar."""
_CRAMPED: Final = 50
"""Columns below which the stage's name gives way to the song's."""


def render(board: Board, *, width: int, height: int = 24, glyphs: Glyphs = UNICODE) -> Text:
    """Return the display: a line a lane, at most so many that `height` is not exceeded, and the sums below them."""
    sums = _sums(board, width, glyphs)
    shown = _shown(board, height - len(sums) - _AROUND)
    lines = [_lane(lane, width, glyphs) for lane in shown]
    hidden = board.running - sum(lane is not None for lane in shown)
    if hidden > 0:
        lines.append(Text(f"  and {hidden} more", style="dim"))
    if board.title:
        lines.insert(0, _fitted([(board.title, "bold")], width, glyphs))
    lines.extend(sums)
    return Text("\n", no_wrap=True, overflow="crop", end="").join(lines)


def stage_line(name: str, progress: Progress, *, glyphs: Glyphs = ASCII) -> str:
    """Return one plain line about a job that came to a new stage, for a log."""
    told = details(progress, None, glyphs)
    return f"{visible(name)}: {progress.stage.value}" + (f" ({told})" if told else "")


def details(progress: Progress, speed: float | None, glyphs: Glyphs = UNICODE) -> str:
    """Return what is known of a job beyond its stage: bytes and speed, its queue place, its chunks, its message."""
    match progress.stage:
        case Stage.UPLOADING:
            told = _bytes(progress.bytes_sent, progress.bytes_total, speed)
        case Stage.DOWNLOADING:
            told = _bytes(progress.bytes_received, progress.bytes_total, speed)
        case Stage.WAITING if progress.queue_position is not None:
            told = f"place {progress.queue_position}"
            if progress.queue_length is not None:
                told += f" of {progress.queue_length}"
        case stage if stage in _AT_WORK and progress.chunks_total:
            told = f"chunk {progress.chunks_done or 0} of {progress.chunks_total}"
        case _:
            told = ""
    message = visible(progress.message or "")
    if _NO_NEWS.search(message):
        message = ""
    return glyphs.dot.join(part for part in (told, message) if part)


def _shown(board: Board, room: int) -> list[Lane | None]:
    """Return the lanes that there is room for: the running ones before the free ones."""
    room = max(room, 1)
    if len(board.lanes) <= room:
        return list(board.lanes)
    running: list[Lane | None] = [lane for lane in board.lanes if lane is not None]
    return running[: room - 1] if len(running) > room else running


def _lane(lane: Lane | None, width: int, glyphs: Glyphs) -> Text:
    if lane is None:
        return Text(f" {glyphs.free}", style="dim")
    progress, style = lane.progress, _STYLES[lane.progress.stage]
    stage = _STAGE if width >= _CRAMPED else 0
    extra = max(26, min(44, width - 78)) if width >= _ROOMY else 0
    bar = max(6, min(30, (width - stage - extra) // 3))
    name = max(4, width - bar - _PERCENT - stage - extra - 2 - bool(stage) * 2 - bool(extra) * 2)
    line = Text(no_wrap=True)
    line.append(_cut(visible(lane.name), name, glyphs))
    line.append(" ")
    line.append_text(_bar(progress.fraction, bar, style, glyphs))
    line.append(_percent(progress.fraction), style=style)
    if stage:
        line.append("  ")
        line.append(progress.stage.value.ljust(stage), style=style)
    if extra:
        line.append("  ")
        told = details(progress, lane.speed, glyphs) or (seconds_text(lane.elapsed) if lane.elapsed >= 1 else "")
        line.append(told if cell_len(told) <= extra else set_cell_size(told, extra - 1) + glyphs.cut, style="dim")
    line.rstrip()
    line.truncate(width)
    return line


def _bar(fraction: float | None, width: int, style: str, glyphs: Glyphs) -> Text:
    if fraction is None:
        return Text(glyphs.free * width, style="dim")
    halves = round(min(max(fraction, 0.0), 1.0) * width * 2)
    half = glyphs.part if halves % 2 else ""
    bar = Text(glyphs.full * (halves // 2) + half, style=style)
    bar.append(glyphs.rest * (width - len(bar)), style="bright_black")
    return bar


def _percent(fraction: float | None) -> str:
    return "    " if fraction is None else f"{int(fraction * 100):3}%"


def _sums(board: Board, width: int, glyphs: Glyphs) -> list[Text]:
    parts: list[tuple[str, str]] = [
        (f"{board.queued}{'+' if board.searching else ''} queued", "dim"),
        (f"{board.running} running", ""),
        (f"{board.done} done", "green" if board.done else "dim"),
        (f"{board.failed} failed", "red" if board.failed else "dim"),
    ]
    if board.credits is not None:
        parts.append((f"{board.credits:.0f} credits", "dim"))
    parts.append((seconds_text(board.elapsed), ""))
    if board.left is not None:
        parts.append((f"about {seconds_text(board.left)} left", ""))
    lines: list[list[tuple[str, str]]] = [[]]
    taken = 0
    for part in parts:
        needed = cell_len(part[0]) + len(glyphs.dot) * bool(lines[-1])
        if lines[-1] and taken + needed > width:
            lines.append([])
            taken, needed = 0, cell_len(part[0])
        lines[-1].append(part)
        taken += needed
    return [_fitted(line, width, glyphs) for line in lines]


def _fitted(parts: list[tuple[str, str]], width: int, glyphs: Glyphs) -> Text:
    line = Text(no_wrap=True)
    for index, (text, style) in enumerate(parts):
        line.append(glyphs.dot if index else "", style="dim")
        line.append(visible(text), style=style)
    if cell_len(line.plain) > width:
        line.truncate(max(width - 1, 0))
        line.append(glyphs.cut)
    return line


def _cut(text: str, width: int, glyphs: Glyphs) -> str:
    """Return `text` in exactly so many columns, its middle left out where it is too long: its end tells songs apart."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    tail = text[-((width - 1) // 3) :] if width > 8 else ""
    while cell_len(tail) > (width - 1) // 3:
        tail = tail[1:]
    return set_cell_size(text, width - 1 - cell_len(tail)) + glyphs.cut + tail


def _bytes(done: int | None, total: int | None, speed: float | None) -> str:
    if done is None:
        return ""
    told = size_text(done)
    if total:
        whole = size_text(total)
        here, unit = told.split(" ")
        told = f"{here if whole.endswith(f' {unit}') else told} of {whole}"
    return told + (f", {size_text(speed)}/s" if speed else "")


def summary(done: int, failed: int, cancelled: int, elapsed: float) -> str:
    """Return the last line of a run."""
    parts = [f"{amount(done, 'song')} done"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{cancelled} cancelled"] if cancelled else []
    return f"{', '.join(parts)} in {seconds_text(elapsed)}"
