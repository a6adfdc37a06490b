"""Asking a person at the terminal; before the event loop runs, so that Ctrl-C works as everywhere."""

from __future__ import annotations

import sys
import warnings
from getpass import GetPassWarning, getpass

from mvsep_async.cli.exits import UsageProblem

__all__ = ["ask", "ask_secret"]


def ask(question: str) -> str:
    """Ask for a line; raises `UsageProblem` for none."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return _needed(sys.stdin.readline().strip(), question)


def ask_secret(question: str, *, from_stdin: bool = False) -> str:
    """Ask for a line that is not shown, at the terminal itself, or read it from standard input.

    Raises `UsageProblem` for an empty one, and where it would be shown.
    """
    if from_stdin:
        return _needed(sys.stdin.readline().rstrip("\r\n"), question)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            return _needed(getpass(question), question)
        except (GetPassWarning, EOFError):
            raise UsageProblem(
                "there is no terminal to ask for the password: use --password-stdin and pipe it in"
            ) from None


def _needed(text: str, question: str) -> str:
    if not text:
        raise UsageProblem(f"no answer to {question.strip().rstrip(':')!r}")
    return text
