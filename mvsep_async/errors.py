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

from attrs import define, field

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


def _texts(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(given)


def _texts_by_name(given: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    return {name: tuple(texts) for name, texts in (given or {}).items()}


@define(slots=False, eq=False, repr=False, auto_exc=False)
class MVSepError(Exception):
    """The base class of every error of this package.

    `message`: the text. `job`, `hash`: the local id and the service's hash of the job concerned, or `None`.
    """

    message: str
    job: str | None = field(default=None, kw_only=True)
    hash: str | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        self.args = (self.message,)  # for `repr`, `copy` and `pickle`

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


@define(slots=False, eq=False, repr=False, auto_exc=False)
class InvalidRequestError(UsageError):
    """The request is invalid, according to a check before it is sent or to the service.

    `fields`: parameter → what is wrong with it, if known. `candidates`: the likely intended values. `status`: the HTTP
    status, `None` if nothing was sent. `reason`: the service's own words, if any.
    """

    fields: dict[str, tuple[str, ...]] = field(default=None, converter=_texts_by_name, kw_only=True)
    candidates: tuple[str, ...] = field(default=(), converter=_texts, kw_only=True)
    status: int | None = field(default=None, kw_only=True)
    reason: str = field(default="", kw_only=True)


class ClientClosedError(UsageError):
    """The client was closed before or during the call. An accepted job continues at the service."""


@define(slots=False, eq=False, repr=False, auto_exc=False)
class ServiceError(MVSepError):
    """The service refused the call or did not answer properly. `status`: the HTTP status, `None` without one."""

    status: int | None = field(default=None, kw_only=True)


@define(slots=False, eq=False, repr=False, auto_exc=False)
class AuthenticationError(ServiceError):
    """The service does not accept the token, or the email and password.

    `fields`: parameter → what is wrong with it, if known. `reason`: the service's own words.
    """

    fields: dict[str, tuple[str, ...]] = field(default=None, converter=_texts_by_name, kw_only=True)
    reason: str = field(default="", kw_only=True)


@define(slots=False, eq=False, repr=False, auto_exc=False)
class NoFreeSlotError(ServiceError):
    """The account has as many unfinished jobs as its plan allows; try again when one of them is over.

    `stated`: whether the service used its known text for this; `False` if its words only resemble it.
    """

    stated: bool = field(default=False, kw_only=True)


@define(slots=False, eq=False, repr=False, auto_exc=False)
class DailyLimitError(ServiceError):
    """The free account's separations of today are used up; no create succeeds until the limit is reset.

    `retry_after`: seconds after which it is reset at the latest: 24 hours, unless the service sent a time. It may be
    earlier: `client.site.queue()` reports the separations that are left in `free_separations`.
    """

    retry_after: float = field(default=86_400.0, kw_only=True)


@define(slots=False, eq=False, repr=False, auto_exc=False)
class RateLimitedError(ServiceError):
    """Too many requests this minute. `retry_after`: seconds to wait, `None` if the service did not say."""

    retry_after: float | None = field(default=None, kw_only=True)
    status: int | None = field(default=429, kw_only=True)


@define(slots=False, eq=False, repr=False, auto_exc=False)
class ServiceUnavailableError(ServiceError):
    """The service or its proxy answered with a 5xx status or an HTML page.

    `retry_after`: seconds to wait, `None` if the service did not say.
    """

    retry_after: float | None = field(default=None, kw_only=True)


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


@define(slots=False, eq=False, repr=False, auto_exc=False)
class SubmissionUnknownError(WireError):
    """The response to a create was lost, and it is unknown whether the service accepted the job.

    `found`: the hashes of jobs that may be it.
    """

    found: tuple[str, ...] = field(default=(), converter=_texts, kw_only=True)


class JournalError(MVSepError):
    """The journal is locked, damaged, written by a later version, or not writable, for example on a full disk."""


class JobTimeoutError(MVSepError, TimeoutError):
    """The wait for a job timed out. The job continues: wait again, or call `client.attach(hash)` later."""
