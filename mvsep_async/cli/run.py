"""From the words of a command line to an exit code."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import cast

import anyio
from cyclopts import App, CycloptsError, UnknownCommandError, UnusedCliTokensError
from rich.console import Console

from mvsep_async.cli.app import ALIASES, COMPLETE, app
from mvsep_async.cli.exits import DONE, FAILED, INTERRUPTED, USAGE, UsageProblem, error_line, exit_code, root_cause
from mvsep_async.cli.help import print_help
from mvsep_async.cli.signals import interruptible
from mvsep_async.cli.terminal import Terminal, configure, discard_output, open_terminal, terminal
from mvsep_async.sources import is_url

__all__ = ["run"]

Work = Callable[[], Awaitable[int | None]]


def run(argv: Sequence[str] | None) -> int:
    """Run one command and return its exit code; see `main`."""
    with open_terminal() as here:
        try:
            return _run(argv, here)
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:
            discard_output(sys.stdout)
            return FAILED
        except Exception as error:
            cause = root_cause(error)
            if isinstance(cause, BrokenPipeError):
                discard_output(sys.stdout)
                return FAILED
            code = exit_code(cause)
            if code is None:
                raise
            here.error(error_line(cause))
            return code


def _run(argv: Sequence[str] | None, here: Terminal) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    if "" in words and words[0] != COMPLETE:
        # An unset variable of a script; as a path it would mean the current folder, and everything in it be paid for.
        raise UsageProblem("one of the arguments is empty: perhaps a variable is not set")
    if words and words[0] in ALIASES:
        words[:1] = ALIASES[words[0]].split()
    # A lone hyphen stands for standard input; cyclopts takes it for an option.
    words = ["@-" if word == "-" else word for word in words]
    try:
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        here.error(_usage_line(error, words))
        return USAGE
    if getattr(command, "__func__", None) is App.help_print:
        print_help(app, words, Console(highlight=False, markup=False, emoji=False))
        return DONE
    if (common := bound.arguments.get("common")) is not None:
        configure(json=common.json, quiet=common.quiet, verbose=common.verbose)
    work = partial(command, *bound.args, **bound.kwargs)
    if inspect.iscoroutinefunction(command):
        return _awaited(cast("Work", work))
    # A command that asks a person something does so first, and returns what is then to be awaited.
    result = cast("Work | int | None", work())
    return _awaited(result) if callable(result) else result or DONE


def _usage_line(error: CycloptsError, given: Sequence[str]) -> str:
    """Return the line for a command line that is not understood, words that no parameter takes among them."""
    if isinstance(error, UnknownCommandError) and given:
        first = given[0]
        if first.startswith("-"):
            return f"options follow the command: `mvsep-async COMMAND {first}`; `mvsep-async --help` lists the commands"
        if is_url(first) or os.path.exists(first):  # noqa: PTH110 -- not a path, as a rule
            return f"{first!r} is not a command: `mvsep-async separate {shlex.quote(first)}` separates it"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        words = ", ".join(repr("-" if word == "@-" else word) for word in error.unused_tokens)
        return f"unexpected argument{'s' * (len(error.unused_tokens) > 1)} {words}: see --help"
    return error_line(error)


def _awaited(work: Work) -> int:
    return anyio.run(_interruptible, work)


async def _interruptible(work: Work) -> int:
    here = terminal()
    with interruptible(lambda: here.note("stopping (again: at once)")) as scope:
        with scope:
            code = await work() or DONE
        return INTERRUPTED if scope.cancelled_caught else code
