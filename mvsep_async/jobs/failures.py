"""Classify a failed job by when it is worth trying again. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from mvsep_async.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    JobCancelledError,
    JobFailedError,
    JournalError,
    MVSepError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    SubmissionUnknownError,
    WireError,
)

__all__ = ["FailureKind", "classify_failure", "needs_premium", "resumes_later"]


class FailureKind(StrEnum):
    """When a failed song is tried again."""

    TEMPORARY = "temporary"
    """By the next run: an outage, a full disk, the daily limit, no credits left."""
    ON_REQUEST = "on request"
    """When the caller asks for it: the service failed for a reason other than the file."""
    PERMANENT = "permanent"
    """Not until the audio changes: the file is damaged."""


_DAMAGED: Final = re.compile(
    r"(?i)\b(?:corrupt\w*|damaged|decod\w*|unsupported|invalid (?:audio|file|format)|not (?:an? )?(?:valid )?audio)\b"
)
"""Words that mean a damaged file. They are a guess: the service has no error code for it."""

_PREMIUM: Final = re.compile(r"(?i)\bpremium\b")

_ON_REQUEST: Final = (InvalidRequestError, JobCancelledError, JobFailedError, SubmissionUnknownError)

_RESUMED: Final = (
    AuthenticationError,
    ConfigurationError,
    JournalError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    WireError,
)


def classify_failure(error: MVSepError) -> FailureKind:
    """Return when a song that failed with this error is worth retrying."""
    if isinstance(error, JobFailedError | InvalidRequestError) and _DAMAGED.search(str(error)):
        return FailureKind.PERMANENT
    if isinstance(error, InvalidRequestError) and needs_premium(error):
        return FailureKind.TEMPORARY
    return FailureKind.ON_REQUEST if isinstance(error, _ON_REQUEST) else FailureKind.TEMPORARY


def needs_premium(error: InvalidRequestError) -> bool:
    """Tell whether a refusal says that an algorithm or format is for premium accounts: those with credits."""
    named = any(name in error.fields for name in ("sep_type", "output_format"))
    return named and _PREMIUM.search(error.reason) is not None


def resumes_later(error: MVSepError | None) -> bool:
    """Tell whether a job that failed with this error is resumed when the journal is opened the next time.

    This is so if the service did not end the job: for an outage longer than `patience`, a full disk, a revoked token.
    The journal keeps the state from before such an error.
    """
    return isinstance(error, _RESUMED) and not isinstance(error, SubmissionUnknownError)
