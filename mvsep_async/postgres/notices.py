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
    """It is the turn of the process that is named."""
    OWNER = "owner"
    """Another process wants something of a job of the process that is named."""
    CHANGED = "changed"
    """The job that is named has changed, and is followed."""
    PING = "ping"
    """A test whether notices arrive."""


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
