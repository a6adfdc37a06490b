"""The address of a shared journal: a `postgresql://` URL, whose password is never shown."""

from __future__ import annotations

from typing import Final, final
from urllib.parse import urlsplit

from mvsep_async.errors import ConfigurationError

__all__ = ["PostgresURL", "is_postgres_url"]

_SCHEMES: Final = ("postgresql://", "postgres://")


def is_postgres_url(journal: object) -> bool:
    """Tell whether a journal is given as the URL of a PostgreSQL database."""
    return isinstance(journal, str) and journal.lower().startswith(_SCHEMES)


@final
class PostgresURL:
    """The URL of a PostgreSQL database. `str` and `repr` show it without user and password."""

    __slots__ = ("_shown", "_value")

    def __init__(self, value: str) -> None:
        try:
            parts = urlsplit(value)
            place = parts.hostname or "localhost"
            place += f":{parts.port}" if parts.port else ""
            self._shown = f"{parts.scheme}://{place}{parts.path}"
        except ValueError:
            raise ConfigurationError(
                "the journal's PostgreSQL URL is malformed: write postgresql://user:password@host:port/database, with "
                "special characters percent-encoded"
            ) from None
        self._value = value

    def reveal(self) -> str:
        """Return the whole URL. Call it only to connect."""
        return self._value

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"PostgresURL({self._shown})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a PostgresURL cannot be pickled: it may hold a password")
