"""The live display: on a terminal that becomes narrower, and of a command in the background."""

from __future__ import annotations

import io
import os
import sys

import anyio
import pytest
from rich.console import Console
from rich.text import Text

from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.live.dashboard import LiveDisplay, folded_rows, reflows
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
        display = LiveDisplay(terminal, reflows=folds)
        console.push_render_hook(display)
        await display.show(Board(title="a", lanes=(lane,)), [])
        rows = screen.getvalue().splitlines()
        console.width = 40
        screen.seek(0)
        screen.truncate()
        if by == "a frame":
            await display.show(Board(title="a", lanes=(lane,)), [])
        else:
            await display.line(Text("done"))
        # The lane had 80 columns, the others fit into 40. It goes up to the first row.
        assert screen.getvalue().count("\x1b[2K\x1b[1A") == len(rows) - 1 + folds

    anyio.run(main)


CHILD = """
import os, signal, sys, time
import anyio
from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.live.dashboard import open_display
from mvsep_async.cli.terminal import open_terminal
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.stage import Stage

def put_into(group):
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(2, group)

async def main(shell):
    lane = Lane(name="a song", progress=Progress(stage=Stage.PROCESSING))
    with open_terminal() as terminal, open_display(terminal) as display:
        for title, group in (("front", os.getpgrp()), ("back", shell), ("again", os.getpgrp())):
            put_into(group)
            await display.show(Board(title=title, lanes=(lane,)), [])
            terminal.note(f"a note at the {title}")
    put_into(shell)

shell = os.getpgrp()
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    anyio.run(main, shell)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals there")
def test_a_command_in_the_background_of_its_terminal_draws_nothing() -> None:
    import pty

    pid, master = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        os.execv(sys.executable, [sys.executable, "-c", CHILD])
    said = b""
    try:
        while piece := os.read(master, 4096):
            said += piece
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert os.waitpid(pid, 0)[1] == 0, said.decode()
    shown = said.decode()
    assert "Traceback" not in shown
    between = shown.partition("a note at the front")[2].partition("again")[0].partition("a note at the back")
    assert "front" in shown.partition("a note at the front")[0]
    assert "back" not in between[0]
    assert between[2].count("\x1b[1A") == 0  # what is above the cursor is not its own any longer
    assert shown.endswith("\x1b[?25h")
