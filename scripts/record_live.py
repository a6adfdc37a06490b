"""Draw docs/live.svg: the liveliest moment of a demo run, by the renderer that the command line uses.

python scripts/record_live.py [docs/live.svg]
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from rich.console import Console
from rich.terminal_theme import MONOKAI

from mvsep_async.cli.commands.demo import perform
from mvsep_async.cli.live.board import Board
from mvsep_async.cli.live.render import render
from mvsep_async.cli.terminal import open_terminal

WIDTH: Final = 100
SONGS: Final = 12


def main(target: Path) -> None:
    boards: list[Board] = []
    with open_terminal(), tempfile.TemporaryDirectory() as folder:
        anyio.run(partial(perform, Path(folder), SONGS, json=True, on_board=boards.append))
    console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    console.print(render(max(boards, key=liveliness), width=WIDTH))
    drawn = console.export_svg(title="mvsep-async demo", theme=MONOKAI, unique_id="live")
    # No fonts from elsewhere: a page that shows the picture asks nobody but us.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(line.rstrip() for line in drawn.splitlines()) + "\n", "utf-8")


def liveliness(board: Board) -> tuple[int, int, int]:
    """Prefer many different stages at one time, known figures, and something done already."""
    stages = {lane.progress.stage for lane in board.lanes}
    return len(stages), board.left is not None, board.done


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "live.svg")
