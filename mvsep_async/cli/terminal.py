"""The output streams of a command, and what they can show."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from json import dumps
from typing import Any, Final, NoReturn, TextIO

from attrs import define, evolve, field, frozen
from rich.console import Console, RenderableType
from rich.text import Text

from mvsep_async.cli.text import visible
from mvsep_async.http.call import Json

__all__ = ["Terminal", "configure", "discard_output", "open_terminal", "terminal"]

_WIDE: Final = 2000
"""Columns of a stream that is not a terminal: lines for programs are not folded."""

_LOGGERS: Final = ("mvsep_async", "httpx", "httpcore")


class _Console(Console):
    """A console that raises on a broken pipe."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


@frozen(kw_only=True, eq=False)
class Terminal:
    """Standard output for results, standard error for everything else.

    `quiet`: results and errors only. `json`: results are documents for programs, not text for people.
    """

    out: Console = field(factory=lambda: _console(sys.stdout))
    err: Console = field(factory=lambda: _console(sys.stderr, expendable=True))
    quiet: bool = False
    json: bool = False

    @property
    def live(self) -> bool:
        """Whether lanes can be redrawn in place."""
        return self.err.is_terminal and not self.err.is_dumb_terminal

    @property
    def unicode(self) -> bool:
        """Whether more than ASCII can be shown."""
        return self.err.encoding.lower().replace("-", "").startswith("utf")

    def result(self, what: str | Text, *, whole: bool = False) -> None:
        """Print one line of what the command was asked for.

        A terminal gets several lines if it is narrower, broken between words; with `whole`, as for what is to be
        copied, it is left to the terminal.
        """
        self.out.print(_text(what), soft_wrap=whole or not self.out.is_terminal)

    def show(self, what: RenderableType) -> None:
        """Print a table."""
        self.out.print(what)

    def answer(self, document: Json, text: str, *, whole: bool = False) -> None:
        """Print the result of a command: a document for programs, or a line for people; `whole` as for `result`."""
        if self.json:
            self.document(document)
        else:
            self.result(text, whole=whole)

    def document(self, document: Json) -> None:
        """Print one JSON document on a line of its own, in ASCII."""
        self.out.file.write(dumps(document) + "\n")
        self.out.file.flush()

    def note(self, what: str | Text, *, whole: bool = False) -> None:
        """Print a line to standard error, unless quiet; `whole` as for `result`."""
        if not self.quiet:
            self.err.print(_text(what), soft_wrap=whole or not self.err.is_terminal)

    def error(self, message: str) -> None:
        """Print what went wrong, on one line."""
        line = Text.assemble(("error: ", "bold red"), visible(message))
        self.err.print(line, soft_wrap=not self.err.is_terminal)


_current: ContextVar[Terminal] = ContextVar("terminal")


def terminal() -> Terminal:
    """Return the terminal of the command that runs."""
    return _current.get()


def configure(*, json: bool, quiet: bool, verbose: bool) -> None:
    """Print what the options of a command ask for from now on.

    `verbose`: also what the package and the HTTP library log; the package's own filter keeps the token out of it.
    """
    _current.set(evolve(_current.get(), json=json, quiet=quiet))
    if verbose:
        from mvsep_async.http.redaction import guard_logs

        guard_logs()
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.DEBUG)


@contextmanager
def open_terminal() -> Iterator[Terminal]:
    """Use the process's streams as they are now, and send the package's warnings there."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the encoding lacks is shown as an escape and does not end the command.
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


class _Handler(logging.Handler):
    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.NOTSET)
        self._terminal = terminal
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            style = "yellow" if record.levelno >= logging.WARNING else "dim"
            self._terminal.note(Text("\n".join(map(visible, self.format(record).split("\n"))), style=style))


def discard_output(stream: TextIO) -> None:
    """Send what is written to a stream from now on to nowhere: Python itself flushes it at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


@define
class _Expendable:
    """A stream that a run does not depend on: once a write fails (terminal closed, disk full), the rest is dropped."""

    _stream: TextIO

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            discard_output(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            discard_output(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _console(stream: TextIO | None, *, expendable: bool = False) -> Console:
    if stream is None:  # the process was started without it
        return _Console(file=io.StringIO(), width=_WIDE)
    tty = stream.isatty()
    file: Any = _Expendable(stream) if expendable or tty else stream
    return _Console(file=file, highlight=False, emoji=False, width=None if tty else _WIDE)


def _text(what: str | Text) -> Text:
    return Text(visible(what)) if isinstance(what, str) else what
