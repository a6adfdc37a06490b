"""The two streams of a command, and what they can show."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NoReturn

from attrs import field, frozen
from rich.console import Console, RenderableType
from rich.text import Text

from mvsep_async.cli.text import visible
from mvsep_async.http.call import Json

__all__ = ["Terminal", "discard_output", "enable_debug_log", "open_terminal", "terminal"]

_WIDE: Final = 2000
"""Columns of a stream that is no terminal: what is read by a program is not folded."""

_LOGGERS: Final = ("mvsep_async", "httpx", "httpcore")


class _Console(Console):
    """A console that leaves a broken pipe to `main`."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


@frozen(kw_only=True, eq=False)
class Terminal:
    """Standard output for results, standard error for everything else."""

    out: Console = field(factory=lambda: _console(sys.stdout))
    err: Console = field(factory=lambda: _console(sys.stderr))

    @property
    def live(self) -> bool:
        """Whether a display that moves can be shown."""
        return self.err.is_terminal and not self.err.is_dumb_terminal

    @property
    def unicode(self) -> bool:
        """Whether more than ASCII arrives."""
        return self.err.encoding.lower().replace("-", "").startswith("utf")

    def result(self, what: str | Text) -> None:
        """Print one line of what the command was asked for."""
        self.out.print(_text(what), soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """Print a table."""
        self.out.print(what)

    def document(self, document: Json) -> None:
        """Print one JSON document on a line of its own; what the encoding lacks is escaped."""
        self.out.file.write(json.dumps(document) + "\n")
        self.out.file.flush()

    def note(self, what: str | Text) -> None:
        """Print a line beside the results."""
        self.err.print(_text(what), soft_wrap=True)

    def error(self, message: str) -> None:
        """Print what went wrong, on one line."""
        self.note(Text.assemble(("error: ", "bold red"), visible(message)))


_current: ContextVar[Terminal] = ContextVar("terminal")


def terminal() -> Terminal:
    """Return the terminal of the command that runs."""
    return _current.get()


@contextmanager
def open_terminal() -> Iterator[Terminal]:
    """Use the process's streams as they are now, and send the package's warnings there."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the encoding lacks is shown with escapes; it is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    here = Terminal()
    token = _current.set(here)
    handler = _Handler(here)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield here
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        _current.reset(token)


def enable_debug_log() -> None:
    """Show what the package and the HTTP library log; the token is kept out of it by the package's own filter."""
    from mvsep_async.http.redaction import guard_logs

    guard_logs()
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)


class _Handler(logging.Handler):
    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.NOTSET)
        self._terminal = terminal
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            style = "yellow" if record.levelno >= logging.WARNING else "dim"
            self._terminal.note(Text("\n".join(map(visible, self.format(record).split("\n"))), style=style))


def discard_output() -> None:
    """Let nothing more be written to a standard output that nobody reads: Python itself flushes it at the end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _console(stream: object) -> Console:
    tty = isinstance(stream, io.IOBase) and stream.isatty()
    return _Console(file=stream, highlight=False, emoji=False, width=None if tty else _WIDE)  # type: ignore[arg-type]


def _text(what: str | Text) -> Text:
    return Text(visible(what)) if isinstance(what, str) else what
