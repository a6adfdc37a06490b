"""The address of a journal: the path of a file, or a `postgresql://` URL, whose password is never shown."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias, final

from mvsep_async.errors import ConfigurationError

__all__ = ["JournalAddress", "PostgresURL", "journal_address"]

JournalAddress: TypeAlias = "Path | PostgresURL"

_URL: Final = re.compile(r"\s*([a-z][a-z0-9+.-]+):/", re.IGNORECASE)
"""The beginning of a URL. One slash is enough: `Path` removes the other one."""

_SCHEMES: Final = ("postgresql", "postgres")

_CONNECTION_STRING: Final = re.compile(r"\s*\w+\s*=.*\b(?:host|dbname|user|password)\s*=|\s*(?:host|dbname)\s*=")

_HOST: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/?#@\[\]]*)(?::\d*)?")
_HOST_PARAMETER: Final = re.compile(r"(?:^|&)host=([^&@]*)")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9a-fA-F]{2})|%00")

_FORM: Final = "write postgresql://user:password@host:port/database"


def journal_address(journal: str | PathLike[str] | PostgresURL) -> JournalAddress:
    """Return the journal that an argument or a setting names. Invalid URLs are found by `PostgresURL.check`."""
    if isinstance(journal, PostgresURL):
        return journal
    text = os.fspath(journal)
    if _URL.match(text) or _CONNECTION_STRING.match(text):
        return PostgresURL(text)
    return Path(text)


@final
class PostgresURL:
    """The URL of a PostgreSQL database. `str` and `repr` show it without user, password and parameters.

    Creating one never fails, so that an error does not have the password in the variables of its frames.
    """

    __slots__ = ("_problem", "_shown", "_value")

    def __init__(self, value: str) -> None:
        self._value = value.strip()
        self._shown, self._problem = _parse(self._value)

    def check(self) -> None:
        """Raise `ConfigurationError` if it is not a valid URL of a PostgreSQL database."""
        if self._problem is not None:
            raise ConfigurationError(f"the journal's URL {self._problem}")

    def reveal(self) -> str:
        """Return the whole URL. Call it only to connect, or to write it to a file of the user."""
        scheme, colon, rest = self._value.partition(":")
        return f"{scheme.lower()}{colon}{rest}"  # libpq knows the scheme in lower case only

    @property
    def has_password(self) -> bool:
        """Whether the URL itself holds a password, which others must not read."""
        rest = self._value.partition("://")[2]
        return ":" in rest.partition("/")[0].rpartition("@")[0] or "password=" in rest.lower()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PostgresURL) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"PostgresURL({self._shown})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a PostgresURL cannot be pickled: it may hold a password")


def _parse(value: str) -> tuple[str, str | None]:
    """Return what may be shown of a URL, and what is wrong with it."""
    scheme, found, rest = value.partition("://")
    scheme = scheme.lower()
    if not found:
        return "postgresql://…", f"must be a str that begins with postgresql://: {_FORM}"
    if scheme not in _SCHEMES:
        return f"{scheme}://…", f"begins with {scheme}://, not postgresql://: {_FORM}, or the path of an SQLite file"
    authority, _, tail = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    if not at:
        hosts = hosts.partition("?")[0]
    database, _, parameters = tail.partition("?")
    # A password with one of these characters ends elsewhere than its owner thinks, and the rest would be shown.
    unclear = "@" in user or "@" in database or (not at and ":" in authority and "@" in tail)
    if unclear or not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        return "postgresql://…", (
            f"is malformed: {_FORM}, and percent-encode the characters @ : / ? # % in user and password ('@' is %40)"
        )
    shown = f"postgresql://{hosts or _socket(parameters)}/{database}"
    if _BAD_PERCENT.search(value):
        return shown, "has a '%' that is not followed by two hexadecimal digits: write '%' as %25"
    return shown, None


def _socket(parameters: str) -> str:
    found = _HOST_PARAMETER.search(parameters)
    return found[1] if found else "localhost"
