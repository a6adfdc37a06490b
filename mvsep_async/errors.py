"""Every exception of the package.

All derive from `MVSepError`; the three branches say whose turn it is to act.

    MVSepError
    ├── UsageError                    the caller's mistake: change the call
    │   ├── ConfigurationError          no token, no such setting
    │   ├── InvalidRequestError         the song, the algorithm or an option cannot be
    │   ├── ClientClosedError           the client's block was left meanwhile
    │   └── JournalError                the journal cannot be used as it is
    ├── ServiceError                  the service said so
    │   ├── AuthenticationError         it does not know the token, or the password
    │   ├── NoFreeSlotError             the account has its limit of unfinished jobs
    │   ├── RateLimitedError            too many requests this minute
    │   ├── ServiceUnavailableError     it is down, or its edge answers for it
    │   ├── ProtocolError               it answered something that is no answer
    │   ├── JobFailedError              the separation failed
    │   ├── JobNotFoundError            no such job: deleted, expired, or never there
    │   └── JobCancelledError           the job was cancelled
    └── WireError                     the network, or this machine, on the way
        ├── TransportError              no connection, or it broke
        ├── UploadError                 the song could not be read or sent
        ├── DownloadError               a stem could not be fetched or written
        ├── SubmissionUnknownError      a job may or may not have been created
        └── JobTimeoutError             the wait ended, the job goes on (also a TimeoutError)

No exception ever holds the token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self

__all__ = [
    "AuthenticationError",
    "ClientClosedError",
    "ConfigurationError",
    "DownloadError",
    "InvalidRequestError",
    "JobCancelledError",
    "JobFailedError",
    "JobNotFoundError",
    "JobTimeoutError",
    "JournalError",
    "MVSepError",
    "NoFreeSlotError",
    "ProtocolError",
    "RateLimitedError",
    "ServiceError",
    "ServiceUnavailableError",
    "SubmissionUnknownError",
    "TransportError",
    "UploadError",
    "UsageError",
    "WireError",
]


class MVSepError(Exception):
    """What every error of this package is.

    `job` is the local id of the job it happened to and `hash` the service's, where there is one.
    """

    def __init__(self, message: str, *, job: str | None = None, hash: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.job = job
        self.hash = hash

    def of(self, job: str, hash: str | None) -> Self:
        """Return this error as that of one job: a copy, since one outage ends many, without the frames it came from."""
        error = copy(self)
        error.job, error.hash = job, hash
        return error

    def __str__(self) -> str:
        return self.message


class UsageError(MVSepError):
    """The caller's mistake; the message says what to change."""


class ConfigurationError(UsageError):
    """A setting is missing or cannot be: no token, an address that is no address."""


class InvalidRequestError(UsageError):
    """The request cannot be fulfilled as it stands, by our own check or by the service's word.

    `fields` maps a parameter to what is wrong with it, where that is known; `candidates` names what was perhaps meant.
    """

    def __init__(
        self,
        message: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        candidates: Sequence[str] = (),
        status: int | None = None,
        job: str | None = None,
        hash: str | None = None,
    ) -> None:
        super().__init__(message, job=job, hash=hash)
        self.fields = {name: tuple(texts) for name, texts in (fields or {}).items()}
        self.candidates = tuple(candidates)
        self.status = status


class ClientClosedError(UsageError):
    """The client was closed while this waited; a job already accepted goes on at the service."""


class JournalError(UsageError):
    """The journal is locked, damaged, newer than this version, or cannot be written."""


class ServiceError(MVSepError):
    """The service said no, or nothing sensible. `status` is the HTTP status, `None` where there was none."""

    def __init__(
        self, message: str, *, status: int | None = None, job: str | None = None, hash: str | None = None
    ) -> None:
        super().__init__(message, job=job, hash=hash)
        self.status = status


class AuthenticationError(ServiceError):
    """The service does not accept the token, or the email and password."""

    def __init__(
        self,
        message: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        status: int | None = None,
        job: str | None = None,
        hash: str | None = None,
    ) -> None:
        super().__init__(message, status=status, job=job, hash=hash)
        self.fields = {name: tuple(texts) for name, texts in (fields or {}).items()}


class NoFreeSlotError(ServiceError):
    """The account already has as many unfinished jobs as it may; try again when one is over."""


class RateLimitedError(ServiceError):
    """Too many requests this minute. `retry_after`: seconds to wait, `None` when the service did not say."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        status: int | None = 429,
        job: str | None = None,
        hash: str | None = None,
    ) -> None:
        super().__init__(message, status=status, job=job, hash=hash)
        self.retry_after = retry_after


class ServiceUnavailableError(ServiceError):
    """The service or its edge answered 5xx, or an HTML page in place of an answer.

    `retry_after`: seconds to wait, `None` when the service did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        status: int | None = None,
        job: str | None = None,
        hash: str | None = None,
    ) -> None:
        super().__init__(message, status=status, job=job, hash=hash)
        self.retry_after = retry_after


class ProtocolError(ServiceError):
    """An answer that cannot be understood: cut, empty, too large, or of the wrong shape."""


class JobFailedError(ServiceError):
    """The service could not separate the song; the message is the service's own."""


class JobNotFoundError(ServiceError):
    """The service has no such job: it was deleted, has expired, or never existed."""


class JobCancelledError(ServiceError):
    """The job was cancelled, here or elsewhere."""


class WireError(MVSepError):
    """Something between here and the service, or on this machine, gave way."""


class TransportError(WireError):
    """No connection to the service, or it broke, or it took too long."""


class UploadError(WireError):
    """The song could not be read or sent; nothing was paid."""


class DownloadError(WireError):
    """A result could not be fetched or written; what was received whole is kept, the job is not paid again."""


class SubmissionUnknownError(WireError):
    """The answer to a create was lost, and whether the service has the job cannot be known.

    `found` lists the hashes of jobs that might be it.
    """

    def __init__(
        self, message: str, *, found: Sequence[str] = (), job: str | None = None, hash: str | None = None
    ) -> None:
        super().__init__(message, job=job, hash=hash)
        self.found = tuple(found)


class JobTimeoutError(WireError, TimeoutError):
    """The wait for a job ended before the job did: the job goes on, `client.attach(hash)` finds it again."""
