"""The API token, in a type whose `repr` hides it."""

from __future__ import annotations

from typing import Final, final

__all__ = ["Token", "revealed"]


@final
class Token:
    """An API token whose `repr` and `str` hide it; only `reveal()` gives it away.

    It cannot be pickled or copied into text by accident, and compares by value.
    """

    __slots__ = ("__weakref__", "_value")
    MASK: Final = "[token]"

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the token itself. Call it only where the bytes of a request are made."""
        return self._value

    def __repr__(self) -> str:
        return f"Token({self.MASK})"

    def __str__(self) -> str:
        return self.MASK

    def __format__(self, spec: str) -> str:
        return format(self.MASK, spec)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Token cannot be pickled: it would end up in a file")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def revealed(value: str | int | Token) -> str:
    """Return a parameter as text, a token revealed. Call it only where the bytes of a request are made."""
    return value.reveal() if isinstance(value, Token) else str(value)
