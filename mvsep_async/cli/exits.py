"""Turn errors into exit codes and one-line messages."""

from __future__ import annotations

from typing import Final

from mvsep_async.errors import (
    AuthenticationError,
    ClientClosedError,
    InvalidRequestError,
    JournalError,
    MVSepError,
    UsageError,
)

__all__ = ["DONE", "FAILED", "INTERRUPTED", "USAGE", "UsageProblem", "error_line", "exit_code", "root_cause"]

DONE: Final = 0
FAILED: Final = 1
"""A job failed, a file that was given or found cannot be separated, or the service rejected a request."""
USAGE: Final = 2
"""Nothing was sent: the command, the token or the configuration must be changed."""
INTERRUPTED: Final = 130
"""Ctrl-C, or SIGTERM (128 + SIGINT, as shells have it)."""


class UsageProblem(Exception):
    """Invalid usage: an argument, the configuration or the environment. The message says what to change."""


def root_cause(error: BaseException) -> BaseException:
    """Return the error inside exception groups: an `MVSepError` if there is one, else the first."""
    while isinstance(error, BaseExceptionGroup):
        error = next((one for one in error.exceptions if isinstance(root_cause(one), MVSepError)), error.exceptions[0])
    return error


def exit_code(error: BaseException) -> int | None:
    """Return the exit code of an error of the user or the service, `None` for a bug of this program."""
    match error:
        case ClientClosedError():
            return FAILED
        case InvalidRequestError() if error.status is not None:
            return FAILED  # rejected by the service, not by this program
        case UsageProblem() | UsageError() | AuthenticationError() | JournalError():
            return USAGE
        case MVSepError() | OSError():
            return FAILED
        case _:
            return None


def error_line(error: BaseException) -> str:
    """Return what happened, on one line."""
    if isinstance(error, OSError) and not isinstance(error, MVSepError):
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror or error}"
    return " ".join(str(error).split()) or type(error).__name__
