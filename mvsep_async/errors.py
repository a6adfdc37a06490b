"""Every exception of the package. All derive from `MVSepError`, most in three branches by who has to act.

    MVSepError
    ├── UsageError                    the call or its settings are wrong: change them
    │   ├── ConfigurationError          a setting is missing or not valid
    │   ├── InvalidRequestError         the song, the algorithm or an option is not valid
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
    └── JobTimeoutError               the wait ended, the job goes on (also a TimeoutError)

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

    `message`: the text. `job`, `hash`: the local id and the service's hash of the job concerned, `None` where there is
    none.
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
    """A setting is missing or not valid: no token, an address that is not an http(s) URL."""


class InvalidRequestError(UsageError):
    """The request is not valid, by a check before it is sent or by the service's refusal.

    `fields`: parameter → what is wrong with it, where that is known. `candidates`: the likely intended values.
    `status`: the HTTP status, `None` where nothing was sent. `reason`: the service's own words, empty where there are
    none.
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
    """The client was closed while the call waited. An accepted job goes on at the service."""


class ServiceError(MVSepError):
    """The service refused the call or did not answer properly. `status`: the HTTP status, `None` without one."""

    def __init__(
        self, message: str, *, status: int | None = None, job: str | None = None, hash: str | None = None
    ) -> None:
        super().__init__(message, job=job, hash=hash)
        self.status = status


class AuthenticationError(ServiceError):
    """The service does not accept the token, or the email and password.

    `fields`: parameter → what is wrong with it, where that is known. `reason`: the service's own words.
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

    `stated`: the service used its known text for this. `False`: its words only resemble it.
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
    """The free account's separations of today are used up; no create succeeds until the day is over.

    `retry_after`: seconds after which the day is over, however the service counts it: 24 hours, unless it said when.
    `client.site.queue()` reports in `free_separations` whether there are some earlier.
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
    """Too many requests this minute. `retry_after`: seconds to wait, `None` where the service did not say."""

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

    `retry_after`: seconds to wait, `None` where the service did not say.
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
    """The answer could not be decoded: truncated, empty, too large, or of the wrong shape."""


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
    """The answer to a create was lost, and nothing shows whether the service accepted the job.

    `found`: the hashes of jobs that may be it.
    """

    def __init__(
        self, message: str, *, found: Sequence[str] = (), job: str | None = None, hash: str | None = None
    ) -> None:
        super().__init__(message, job=job, hash=hash)
        self.found = tuple(found)


class JournalError(MVSepError):
    """The journal is locked, damaged, made by a later version, or not writable; a full disk is among the reasons."""


class JobTimeoutError(MVSepError, TimeoutError):
    """The wait for a job timed out. The job goes on: wait again, or `client.attach(hash)` later."""
