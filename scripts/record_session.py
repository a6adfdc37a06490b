"""Record docs/session.svg: a shell in a pseudo-terminal, in which songs are separated at a sandbox, as an animated SVG.

    pip install pyte && python scripts/record_session.py [docs/session.svg]

The commands, their output and its timing are real. It needs Unix.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

import pyte
from attrs import define, field, frozen

from mvsep_async.cli.demo_songs import make_songs
from mvsep_async.sandbox import Sandbox

COLUMNS, ROWS = 92, 17
SONGS: Final = 5
COMMANDS: Final = (
    "mvsep-async separate music --vocals --format flac --out stems",
    "mvsep-async jobs",
)
STAGE: Final = {
    "speed": 2.5,
    "queue_seconds": 1.5,
    "jobs_ahead": 4,
    "long_seconds": 20.0,
    "chunk_seconds": 6.0,
    "premium_limit": 3,
    "link_bytes_per_second": 6_000_000,
}
"""A sandbox that is slow enough to be watched, with a queue and an upload rate."""

_PROMPT: Final = "$ "
_KEY: Final = 0.04
"""Seconds between two keys."""
_READ: Final = 4.0
"""Seconds that the output of a command stays before the next one."""
_FRAME: Final = 0.2
"""Seconds between two frames at least."""

_CELL: Final = (8.4, 18.0)
_PAD: Final = 14.0
_BAR: Final = 30.0
_COLOURS: Final = {
    "black": "#3b4252", "red": "#ff7b72", "green": "#7ee787", "brown": "#e3b341", "blue": "#79c0ff",
    "magenta": "#d2a8ff", "cyan": "#76e3ea", "white": "#e6edf3", "default": "#e6edf3", "brightblack": "#8b949e",
}  # fmt: skip

Line = tuple[tuple[int, str, str, bool], ...]
"""The texts of one row: the column, the text, its colour, and whether it is bold."""


@frozen
class Frame:
    """What the terminal shows from `at` on, in seconds."""

    at: float
    lines: tuple[Line, ...]


@define
class Recorder:
    """A shell in a pseudo-terminal, and what it shows."""

    terminal: int
    started: float = field(factory=time.monotonic)
    frames: list[Frame] = field(factory=list)
    screen: pyte.Screen = field(factory=lambda: pyte.Screen(COLUMNS, ROWS))
    stream: pyte.ByteStream = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stream = pyte.ByteStream(self.screen)

    def watch(self, seconds: float) -> None:
        """Show what comes for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.terminal], [], [], left)[0]:
                self.stream.feed(os.read(self.terminal, 1 << 16))
                self._take()

    def run(self, command: str) -> None:
        """Type a command, and watch until the shell asks for the next one."""
        for key in command:
            os.write(self.terminal, key.encode())
            self.watch(_KEY)
        self.watch(0.4)
        os.write(self.terminal, b"\r")
        self.watch(0.5)
        while not self._at_prompt():
            self.watch(0.1)
        self._take(always=True)
        self.watch(_READ)

    def _at_prompt(self) -> bool:
        row = self.screen.display[self.screen.cursor.y]
        return row.rstrip() == _PROMPT.rstrip() and self.screen.cursor.x == len(_PROMPT)

    def _take(self, *, always: bool = False) -> None:
        now = time.monotonic() - self.started
        lines = tuple(_line(self.screen, row) for row in range(ROWS))
        if self.frames and self.frames[-1].lines == lines:
            return
        if self.frames and now - self.frames[-1].at < _FRAME and not always:
            self.frames[-1] = Frame(self.frames[-1].at, lines)
        else:
            self.frames.append(Frame(now, lines))


def _line(screen: pyte.Screen, row: int) -> Line:
    parts: list[tuple[int, str, str, bool]] = []
    cells = screen.buffer[row]
    for column in range(COLUMNS):
        cell = cells[column]
        colour = _COLOURS.get(cell.fg) or (f"#{cell.fg}" if re.fullmatch("[0-9a-f]{6}", cell.fg) else "#e6edf3")
        if cell.data == "":
            continue  # the second half of a wide character
        if parts and parts[-1][2:] == (colour, cell.bold) and parts[-1][0] + len(parts[-1][1]) == column:
            start, text, *_ = parts[-1]
            parts[-1] = (start, text + cell.data, colour, cell.bold)
        else:
            parts.append((column, cell.data, colour, cell.bold))
    return tuple(part for part in parts if part[1].strip())


def draw(frames: Sequence[Frame], length: float) -> str:
    """Return the recording as SVG: all frames stand below each other, and one after the other is moved into view."""
    (width, height), numbers = _CELL, dict[Line, int]()
    tall = ROWS * height + 2 * _PAD
    wide = COLUMNS * width + 2 * _PAD
    shown = []
    for place, frame in enumerate(frames):
        uses = []
        for row, line in enumerate(frame.lines):
            if line:
                number = numbers.setdefault(line, len(numbers))
                uses.append(f'<use href="#l{number}" y="{place * tall + row * height:g}"/>')
        shown.append("".join(uses))
    symbols = "\n".join(f'<g id="l{number}">{_texts(line)}</g>' for line, number in numbers.items())
    steps = "".join(
        f"{100 * frame.at / length:.3f}%{{transform:translateY({-place * tall:g}px)}}"
        for place, frame in enumerate(frames)
    )
    last = -(len(frames) - 1) * tall
    style = (
        "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        f"@keyframes play{{{steps}100%{{transform:translateY({last:g}px)}}}}"
        f"#film{{animation:play {length:.1f}s step-end infinite}}"
        f"@media(prefers-reduced-motion:reduce){{#film{{animation:none;transform:translateY({last:g}px)}}}}"
    )
    dots = "".join(
        f'<circle cx="{18 + 18 * place}" cy="15" r="5.5" fill="{colour}"/>'
        for place, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {tall + _BAR:g}" role="img">'
        "<title>A terminal session: mvsep-async separates a folder of songs, then lists its jobs</title>"
        f"<style>{style}</style>\n<defs>\n{symbols}\n</defs>\n"
        f'<rect width="100%" height="100%" rx="9" fill="#11151c"/>{dots}'
        f'<svg y="{_BAR:g}" width="{wide:g}" height="{tall:g}"><g id="film">\n'
        + "\n".join(shown)
        + "\n</g></svg></svg>\n"
    )


def _texts(line: Line) -> str:
    width, height = _CELL
    return "".join(
        f'<text x="{_PAD + column * width:.4g}" y="{_PAD + height - 5:g}" fill="{colour}"'
        f' textLength="{len(text) * width:.5g}"{" font-weight=" + chr(34) + "700" + chr(34) if bold else ""}>'
        f"{escape(text)}</text>"
        for column, text, colour, bold in line
    )


def record(folder: Path) -> Recorder:
    """Run the commands in a shell in `folder`."""
    make_songs(folder / "music", SONGS)
    with Sandbox(**STAGE) as sandbox:
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "PS1": _PROMPT,
            "MVSEP_API_TOKEN": sandbox.premium_token,
            "MVSEP_BASE_URL": sandbox.url,
        }
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(folder)
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile"], environment)  # noqa: S606 -- a shell is meant
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        recorder = Recorder(terminal)
        recorder.watch(0.8)
        for command in COMMANDS:
            recorder.run(command)
        os.write(terminal, b"exit\r")
        os.waitpid(process, 0)
    return recorder


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        recorder = record(Path(folder))
    length = recorder.frames[-1].at + _READ
    target.write_text(draw(recorder.frames, length), "utf-8")
    print(f"{target}: {len(recorder.frames)} frames, {length:.0f} s, {target.stat().st_size // 1000} kB")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "session.svg")
