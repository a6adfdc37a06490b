"""Classify the text of a refusal by the words that the service is known to use."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

__all__ = ["Refusal", "about_slots", "classify_refusal_text"]


class Refusal(Enum):
    """What a known text of the service means."""

    NO_SLOT = auto()
    """The account has as many unfinished jobs as it may."""
    DAILY_LIMIT = auto()
    """The free account's separations of today are used up."""
    NEEDS_PREMIUM = auto()
    """The algorithm is for premium accounts."""
    UNKNOWN_ALGORITHM = auto()
    """There is no such `sep_type`."""
    NOT_FOUND = auto()
    """There is no job with this hash."""


_KNOWN: Final = (
    (r"already have (?:an )?unprocessed (?:file|job|separation)s? in (?:the )?queue", Refusal.NO_SLOT),
    (r"reached the limit of separations for today|limit of (?:free )?separations? (?:per|a) day", Refusal.DAILY_LIMIT),
    (r"sep[ea]ration type is unavailable until you purchase premium", Refusal.NEEDS_PREMIUM),
    (r"sep[ea]ration type is not set", Refusal.UNKNOWN_ALGORITHM),
    (r"file or file hash not found", Refusal.NOT_FOUND),
)
"""Texts seen by several independent clients, without what may well change. "Seperation" is the service's spelling."""

_PATTERNS: Final = tuple((re.compile(pattern), refusal) for pattern, refusal in _KNOWN)

_JOBS = r"(?:concurren|simultan|unfinished|active|job|separation|task|queue|process)"
_NO_SLOT: Final = re.compile(
    rf"(?:limit|maximum|max|too many)\D{{0,60}}{_JOBS}"
    rf"|{_JOBS}\w*\D{{0,60}}(?:limit|maximum|too many)"
    r"|(?:already|still)\D{0,40}(?:in (?:the )?(?:queue|progress)|processing|running)"
    r"|(?:wait|until)\D{0,60}(?:previous|current|other|finish)"
    r"|no (?:free|more) (?:slot|separation|job)",
    re.IGNORECASE,
)


def classify_refusal_text(text: str) -> Refusal | None:
    """Return what a refusal means if its text is one that the service is known to use, else `None`.

    Case, spaces and surrounding words do not matter.
    """
    words = " ".join(text.lower().split())
    return next((refusal for pattern, refusal in _PATTERNS if pattern.search(words)), None)


def about_slots(text: str) -> bool:
    """Tell whether a refusal speaks of too many unfinished jobs, by its known text or by words that resemble it."""
    known = classify_refusal_text(text)
    return known is Refusal.NO_SLOT if known is not None else _NO_SLOT.search(text) is not None
