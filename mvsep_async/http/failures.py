"""Map errors of the HTTP library, or of a caller's transport, to errors of this package. No I/O."""

from __future__ import annotations

from typing import Final, TypeVar

from mvsep_async.errors import ConfigurationError, MVSepError, TransportError
from mvsep_async.transport.compat import error_names, tls_error

__all__ = ["failure_of", "was_sent", "without_frames"]

E = TypeVar("E", bound=BaseException)

_NEVER_SENT: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})

_REASONS: Final = {
    "ConnectTimeout": "no connection to the service within the timeout",
    "ConnectError": "no connection to the service",
    "PoolTimeout": "all connections to the service are busy",
    "TimeoutException": "the service stopped answering",
    "ProxyError": "the proxy refused the connection",
    "UnsupportedProtocol": "the address is not one that HTTP can reach",
    "TransportError": "the connection to the service broke",
}
"""By the name of the error's class, the most special one first."""


def failure_of(error: Exception, place: str, *, closed: bool) -> MVSepError:
    """Return our error for one that ended a request before its answer was complete.

    `place`: host and path, for the message. `closed`: whether the HTTP client is closed. The text of `error` is left
    out: it may hold the URL.
    """
    names = error_names(error)
    if isinstance(error, MVSepError):
        return error
    if (why := tls_error(error)) is not None:
        return ConfigurationError(
            f"the certificate of the service is not trusted: {why} ({place}). If a proxy or an antivirus program "
            "inspects TLS, set SSL_CERT_FILE to the file of its certificate authority; if it is set, check it"
        )
    if "ProxyError" in names and "407" in str(error):
        return ConfigurationError(
            f"the proxy asks for a user name and password (407, {place}): put them into the proxy's URL"
        )
    for name, reason in _REASONS.items():
        if name in names:
            return TransportError(f"{reason} ({place})")
    if closed:
        return ConfigurationError("the HTTP client given as http= is closed: keep it open as long as this client")
    return TransportError(f"the HTTP client failed with {type(error).__name__} ({place})")


def was_sent(error: Exception, *, closed: bool) -> bool:
    """Tell whether any of a request may have reached the service before this error."""
    names = error_names(error)
    never = isinstance(error, ConfigurationError) or (closed and "TransportError" not in names)
    return not (_NEVER_SENT & names or never)


def without_frames(error: E) -> E:
    """Remove from an error the frames and the errors that it came through, whose variables may hold the token."""
    error.__cause__ = error.__context__ = None
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            without_frames(inner)
    return error.with_traceback(None)
