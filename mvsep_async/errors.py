"""All exceptions of the package. They derive from `MVSepError`, most in three branches by who has to act.

    MVSepError
    ├── UsageError                    the call or its settings are wrong: change them
    │   ├── ConfigurationError          a setting is missing or invalid
    │   ├── InvalidRequestError         the song, the algorithm or an option is invalid
    │   └── ClientClosedError           the client was closed while the call waited
    ├── ServiceError                  the service refused the call or did not answer properly
    │   ├── AuthenticationError         wrong token, or wrong email and password
    │   ├── NoFreeSlotError             the account has its limit of unfinished jobs
    │   ├── DailyLimitError             the free separations of today are used up
    │   ├── RateLimitedError            too many requests this minute
    │   ├── ServiceUnavailableError     the service is down or in maintenance
    │   ├── ProtocolError               the answer is damaged or of the wrong shape
    │   ├── JobFailedError              the separation failed
    │   ├── JobNotFoundError            no such job: deleted, expired, or never created
    │   └── JobCancelledError           the job was cancelled
    ├── WireError                     the network or this machine failed on the way
    │   ├── TransportError              no connection, or it broke
    │   ├── UploadError                 the song could not be read or sent
    │   ├── DownloadError               a stem could not be fetched or written
    │   └── SubmissionUnknownError      a job may or may not have been created
    ├── JournalError                  the journal is locked, damaged or not writable, or its disk is full
    └── JobTimeoutError               the wait timed out, the job continues (also a TimeoutError)

No exception contains the token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self

__all__ = [
    "AuthenticationError",
    "ClientClosedError",
    "ConfigurationError",
    "DailyLimitError",
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
    """The base class of every error of this package.

    `message`: the text. `job`, `hash`: the local id and the service's hash of the job concerned, or `None`.
    """

    def __init__(self, message: str, *, job: str | None = None, hash: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.job = job
        self.hash = hash

    def of(self, job: str, hash: str | None) -> Self:
        """Return a copy of this error for one job, without its traceback: one outage can end many jobs."""
        error = copy(self)
        error.job, error.hash = job, hash
        return error

    def __str__(self) -> str:
        return self.message


class UsageError(MVSepError):
    """The call or its settings are wrong; the message says what to change."""


class ConfigurationError(UsageError):
    """A setting is missing or invalid, such as a missing token or an address that is not an http(s) URL."""


class InvalidRequestError(UsageError):
    """The request is invalid, according to a check before it is sent or to the service.

    `fields`: parameter → what is wrong with it, if known. `candidates`: the likely intended values. `status`: the HTTP
    status, `None` if nothing was sent. `reason`: the service's own words, if any.
    """

    def __init__(
        self,
        message: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        candidates: Sequence[str] = (),
        status: int | None = None,
        reason: str = "",
        job: str | None = None,
        hash: str | None = None,
    ) -> None:
        super().__init__(message, job=job, hash=hash)
        self.fields = {name: tuple(texts) for name, texts in (fields or {}).items()}
        self.candidates = tuple(candidates)
        self.status = status
        self.reason = reason


class ClientClosedError(UsageError):
    """The client was closed before or during the call. An accepted job continues at the service."""


class ServiceError(MVSepError):
    """The service refused the call or did not answer properly. `status`: the HTTP status, `None` without one."""

    def __init__(
        self, message: str, *, status: int | None = None, job: str | None = None, hash: str | None = None
    ) -> None:
        super().__init__(message, job=job, hash=hash)
        self.status = status


class AuthenticationError(ServiceError):
    """The service does not accept the token, or the email and password.

    `fields`: parameter → what is wrong with it, if known. `reason`: the service's own words.
    """

    def __init__(
        self,
        message: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        status: int | None = None,
        reason: str = "",
        job: str | None = None,
        hash: str | None = None,
    ) -> None:
        super().__init__(message, status=status, job=job, hash=hash)
        self.fields = {name: tuple(texts) for name, texts in (fields or {}).items()}
        self.reason = reason


class NoFreeSlotError(ServiceError):
    """The account has as many unfinished jobs as its plan allows; try again when one of them is over.

    `stated`: whether the service used its known text for this; `False` if its words only resemble it.
    """

    def __init__(
        self,
        message: str,
        *,
        stated: bool = False,
        status: int | None = None,
        job: str | None = None,
        hash: str | None = None,
    ) -> None:
        super().__init__(message, status=status, job=job, hash=hash)
        self.stated = stated


class DailyLimitError(ServiceError):
    """The free account's separations of today are used up; no create succeeds until the limit is reset.

    `retry_after`: seconds after which it is reset at the latest: 24 hours, unless the service sent a time. It may be
    earlier: `client.site.queue()` reports the separations that are left in `free_separations`.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float = 86_400.0,
        status: int | None = None,
        job: str | None = None,
        hash: str | None = None,
    ) -> None:
        super().__init__(message, status=status, job=job, hash=hash)
        self.retry_after = retry_after


class RateLimitedError(ServiceError):
    """Too many requests this minute. `retry_after`: seconds to wait, `None` if the service did not say."""

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
    """The service or its proxy answered with a 5xx status or an HTML page.

    `retry_after`: seconds to wait, `None` if the service did not say.
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
    """The response could not be decoded: it is truncated, empty, too large, or of the wrong shape."""


class JobFailedError(ServiceError):
    """The separation failed at the service; the message has the service's reason."""


class JobNotFoundError(ServiceError):
    """The service has no such job: it was deleted, has expired, or never existed."""


class JobCancelledError(ServiceError):
    """The job was cancelled, here or elsewhere."""


class WireError(MVSepError):
    """The network or this machine failed between the caller and the service."""


class TransportError(WireError):
    """No connection to the service, or it broke or timed out."""


class UploadError(WireError):
    """The song could not be read or sent. No credits were spent."""


class DownloadError(WireError):
    """A result could not be fetched or written. Received data is kept; downloading again costs no credits."""


class SubmissionUnknownError(WireError):
    """The response to a create was lost, and it is unknown whether the service accepted the job.

    `found`: the hashes of jobs that may be it.
    """

    def __init__(
        self, message: str, *, found: Sequence[str] = (), job: str | None = None, hash: str | None = None
    ) -> None:
        super().__init__(message, job=job, hash=hash)
        self.found = tuple(found)


class JournalError(MVSepError):
    """The journal is locked, damaged, written by a later version, or not writable, for example on a full disk."""


class JobTimeoutError(MVSepError, TimeoutError):
    """The wait for a job timed out. The job continues: wait again, or call `client.attach(hash)` later."""
