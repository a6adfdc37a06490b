"""Notices between the processes with one shared journal, by PostgreSQL's LISTEN and NOTIFY."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Self

from attrs import frozen

__all__ = ["Notice", "NoticeKind"]

_DIGITS: Final = 24
"""Digits of an account's digest in the name of its channel, which PostgreSQL limits to 63 bytes."""


class NoticeKind(StrEnum):
    """What a notice is about."""

    SLOTS = "slots"
    """A slot was taken or freed."""
    JOBS = "jobs"
    """Jobs may be taken over."""
    TURN = "turn"
    """A slot is free, and it is the turn of the process `about`."""
    OWNER = "owner"
    """A job of the process `about` has a request or an answer from another process."""
    CHANGED = "changed"
    """The job `about` has changed, and another process has a handle to it."""
    PING = "ping"
    """A test of whether notices arrive."""


@frozen
class Notice:
    """A notice. `about`: the id of a process or of a job."""

    kind: NoticeKind
    about: str = ""

    @staticmethod
    def channel(account: str) -> str:
        """Return the name of an account's channel."""
        return f"mvsep_{account[:_DIGITS]}"

    def text(self) -> str:
        """Return the notice as the payload of NOTIFY."""
        return f"{self.kind.value} {self.about}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the notice of a payload; `None` for one of another version."""
        kind, _, about = text.partition(" ")
        return cls(NoticeKind(kind), about) if kind in set(NoticeKind) else None
