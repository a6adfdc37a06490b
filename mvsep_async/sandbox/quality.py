"""The quality checker: entries of separated test sets and their scores."""

from __future__ import annotations

import random
from typing import Any

from attrs import define, field

from .names import date_text
from .refusals import invalid

DATASETS = ("Synth dataset", "Multisong dataset", "Piano dataset", "Lead/Back vocals dataset", "Guitar dataset")
_STEMS = ("vocals", "instrum", "bass", "drums", "other")
_FIRST_ID = 7700


@define(eq=False)
class QualityEntry:
    """One submission. Its scores appear at `checked_at` (seconds of the sandbox's clock)."""

    id: int
    dataset_type: str
    algo_name: str
    main_text: str
    ensemble: bool
    password: str
    created: float
    checked_at: float
    message: str = "OK"


@define
class QualityBoard:
    """All entries."""

    _entries: dict[int, QualityEntry] = field(factory=dict)
    _next_id: int = _FIRST_ID

    def add(
        self, *, dataset_type: str, algo_name: str, main_text: str, ensemble: bool, password: str, now: float,
        seconds: float, readable: bool,
    ) -> QualityEntry:  # fmt: skip
        """Add an entry; its check ends `seconds` later."""
        message = "OK" if readable else "The archive could not be opened: it is not a zip file"
        entry = QualityEntry(
            self._next_id, dataset_type, algo_name, main_text, ensemble, password, now, now + seconds, message
        )
        self._entries[entry.id] = entry
        self._next_id += 1
        return entry

    def find(self, number: int | None) -> QualityEntry | None:
        return self._entries.get(number) if number is not None else None

    def delete(self, number: int | None, password: str) -> None:
        """Remove an entry; raise `Refusal` for a wrong password."""
        entry = self.find(number)
        if entry is None:
            raise invalid("id", "Entry not found")
        if entry.password != password:
            raise invalid("password", "Wrong password")
        del self._entries[entry.id]

    def newest(self) -> list[QualityEntry]:
        """Return all entries, newest first."""
        return list(reversed(self._entries.values()))

    def leaders(self, dataset_type: str, name: str, sort: str, now: float) -> list[QualityEntry]:
        """Return the checked entries of a data set whose names contain `name`, the best score first."""
        chosen = [
            entry
            for entry in self._entries.values()
            if entry.dataset_type == dataset_type
            and name.lower() in entry.algo_name.lower()
            and entry.checked_at <= now
            and entry.message == "OK"
        ]
        return sorted(chosen, key=lambda entry: scores(entry).get(sort, 0.0), reverse=True)


def sortables() -> list[str]:
    """Return the keys that the leaderboard can be sorted by."""
    return [f"sdr_{stem}" for stem in _STEMS]


def scores(entry: QualityEntry) -> dict[str, float]:
    """Return the scores of an entry: made up, but always the same for the same entry."""
    chance = random.Random(entry.id)
    return {name: round(chance.uniform(4, 12), 4) for name in sortables()}


def entry_json(entry: QualityEntry, now: float, epoch: float) -> dict[str, Any]:
    """Return the JSON of an entry; `epoch` is the date of the clock's zero."""
    checked = entry.checked_at <= now
    found = scores(entry) if checked and entry.message == "OK" else dict.fromkeys(sortables())
    number = int(entry.dataset_type) if entry.dataset_type.isdecimal() else 0
    return {
        "id": entry.id,
        "dataset_type": entry.dataset_type,
        "date": date_text(epoch + entry.created),
        "algo_name": entry.algo_name,
        "main_text": entry.main_text,
        "ensemble": int(entry.ensemble),
        "proc": 1 if checked else 0,
        "proc_remote_date": date_text(epoch + entry.checked_at) if checked else None,
        "msg": entry.message if checked else "",
        "metrics": {"sdr": {name.removeprefix("sdr_"): value for name, value in found.items()}} if checked else None,
        **found,
        "dataset_name": DATASETS[number] if number < len(DATASETS) else f"Dataset {number}",
    }
