"""Compatibility with httpx and httpx2: the caller may give a client of either.

httpx2 is the maintained successor of httpx: the same API, but classes of its own. Code outside this folder imports
neither for more than types. It builds requests by the client's own library and tells errors apart by their names.
"""

from __future__ import annotations

import ssl
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import asdict, frozen

if TYPE_CHECKING:
    import httpx
    import httpx2

__all__ = ["Timeouts", "error_names", "library_of", "tls_error"]

_LIBRARIES: Final = frozenset({"httpx", "httpx2"})


@frozen
class Timeouts:
    """Seconds for each network operation, as `httpx.Timeout` has them; `None` is no limit."""

    connect: float | None
    read: float | None
    write: float | None
    pool: float | None

    @classmethod
    def of(cls, given: float | Timeouts | httpx.Timeout | httpx2.Timeout | None) -> Self:
        """Take seconds for all operations, or the timeouts of either library."""
        if given is None or isinstance(given, int | float):
            return cls(given, given, given, given)
        return cls(**given.as_dict())

    def as_dict(self) -> dict[str, float | None]:
        """Return what a request's extension `timeout` holds."""
        return asdict(self)


def library_of(http: object) -> Any:
    """Return the module, httpx or httpx2, that a client comes from."""
    for base in type(http).__mro__:
        module: ModuleType | None = sys.modules.get(_root(base))
        if module is not None and _root(base) in _LIBRARIES:
            return module
    return import_module("httpx")


def error_names(error: BaseException) -> frozenset[str]:
    """Return the names of those classes of an error that belong to httpx or httpx2; empty for any other error."""
    return frozenset(base.__name__ for base in type(error).__mro__ if _root(base) in _LIBRARIES)


def tls_error(error: BaseException | None) -> str | None:
    """Return why a certificate was not accepted if that is what failed a connection, else `None`."""
    for _ in range(10):
        if error is None:
            return None
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message or str(error)
        error = error.__cause__ or error.__context__
    return None


def _root(cls: type) -> str:
    return cls.__module__.partition(".")[0]
