"""The live display on a terminal that becomes narrower."""

from __future__ import annotations

import io

import anyio
import pytest
from rich.console import Console
from rich.live import Live
from rich.text import Text

from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.live.driver import LiveDisplay, folded_rows, reflows
from mvsep_async.cli.terminal import Terminal
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.stage import Stage


@pytest.mark.parametrize(
    ("widths", "width", "rows"),
    [([80, 40, 0, 1], 80, 0), ([80, 80], 79, 2), ([80], 20, 3), ([81], 20, 4), ([5, 5], 0, 8), ([], 80, 0)],
)
def test_how_many_rows_lines_take_in_addition(widths: list[int], width: int, rows: int) -> None:
    assert folded_rows(widths, width) == rows


@pytest.mark.parametrize(
    ("environ", "folds"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(379)"}, False),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/tmux", "XTERM_VERSION": "XTerm(379)"}, True),
        ({"TERM": "screen", "STY": "1.pts"}, False),
        ({"TERM": "linux"}, False),
    ],
)
def test_which_terminals_fold_what_they_show(environ: dict[str, str], folds: bool) -> None:
    assert reflows(environ) is folds


@pytest.mark.parametrize("folds", [True, False])
@pytest.mark.parametrize("by", ["a frame", "a line"])
def test_the_rows_that_were_folded_are_erased_before_the_next_frame_or_line(folds: bool, by: str) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=24)
    terminal = Terminal(out=console, err=console)
    lane = Lane(name="n" * 60, progress=Progress(stage=Stage.PROCESSING, message="m" * 90))

    async def main() -> None:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            display = LiveDisplay(terminal, live, reflows=folds)
            await display.show(Board(title="a", lanes=(lane,)), [])
            rows = screen.getvalue().splitlines()
            console.width = 40
            screen.seek(0)
            screen.truncate()
            if by == "a frame":
                await display.show(Board(title="a", lanes=(lane,)), [])
            else:
                await display.line(Text("done"))
            # The lane had 80 columns, the others fit into 40. Rich goes up to the first row.
            assert screen.getvalue().count("\x1b[1A") == len(rows) - 1 + folds
            assert screen.getvalue().startswith("\x1b[2K\x1b[1A") is folds

    anyio.run(main)
