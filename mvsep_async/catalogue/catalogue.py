"""The catalogue: every algorithm, found by number, name or words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.names import LISTS, NameIndex, numeric, search, weighted_words
from mvsep_async.catalogue.options import Options, validate
from mvsep_async.catalogue.price import credits_for
from mvsep_async.catalogue.stems import outputs_for
from mvsep_async.errors import InvalidRequestError, ProtocolError
from mvsep_async.http.call import Json
from mvsep_async.models.decode import decode, payload
from mvsep_async.models.values import Unfit, read_int

__all__ = ["Catalogue"]

_WHAT: Final = "app/algorithms"
_NAME, _GROUP, _DESCRIPTION = 4, 2, 1
"""Weights of a word in a search, by the text that it is in."""


class Catalogue:
    """All algorithms of the service, by number and name.

    The service's answer has about a megabyte, most of which is never used, so each algorithm is decoded on first use.
    """

    def __init__(self, *answers: Json) -> None:
        """Index one or more answers of `app/algorithms`; of two entries with the same number, the first is used.

        Raises `ProtocolError` for any other answer.
        """
        self._raw: dict[int, dict[str, Json]] = {}
        for answer in answers:
            for entry in _entries(answer):
                number = _number(entry)
                if number is not None:
                    self._raw.setdefault(number, entry)
        self._names = {number: str(entry["name"]) for number, entry in self._raw.items()}
        self._by_name = NameIndex(self._names)
        self._decoded: dict[int, Algorithm] = {}
        self._words: dict[int, dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[Algorithm]:
        return (self[number] for number in self._raw)

    def __contains__(self, sep_type: object) -> bool:
        return sep_type in self._raw

    def __getitem__(self, sep_type: int) -> Algorithm:
        """Return the algorithm with this number; raises `KeyError` if there is none."""
        found = self._decoded.get(sep_type)
        if found is None:
            found = self._decoded[sep_type] = decode(self._raw[sep_type], Algorithm, what=_WHAT)
        return found

    def __repr__(self) -> str:
        return f"<Catalogue of {len(self)} algorithms>"

    @property
    def entries(self) -> list[Json]:
        """The entries of the service's answer: a cache stores them, and `Catalogue` takes them."""
        return list(self._raw.values())

    @property
    def names(self) -> dict[int, str]:
        """Every algorithm's name by its number (`sep_type`)."""
        return dict(self._names)

    def find(self, wanted: int | str | Algorithm) -> Algorithm:
        """Return the algorithm with this number or name.

        A number, or a text of digits, is a `sep_type`, never an `id`. A name is compared without case: the whole name,
        or else the part before the parenthesis. Raises `InvalidRequestError` for an ambiguous name, with the
        candidates, and for an unknown one, with the nearest names and their numbers.
        """
        if isinstance(wanted, Algorithm):
            return wanted
        number = numeric(wanted)
        if number is not None:
            return self._numbered(number)
        try:
            return self[self._by_name.find(str(wanted))]
        except InvalidRequestError as error:
            if error.candidates:
                raise
        # No similar name: suggest algorithms with the same words.
        return self[self._by_name.find(str(wanted), also=self._search(str(wanted)))]

    def search(self, words: str) -> list[Algorithm]:
        """Return the algorithms with all these words in name, group or description, best match first.

        If none has all of them, those with some. Words in a name count most.
        """
        return [self[number] for number in self._search(words)]

    def validate(self, algorithm: int | str | Algorithm, options: Options | None = None) -> dict[str, str]:
        """Return the options in the service's form, `add_optN` → key.

        Raises `InvalidRequestError` for an unknown algorithm and for invalid options.
        """
        return validate(self.find(algorithm), options)

    def credits(self, algorithm: int | str | Algorithm, options: Options | None, duration_seconds: float) -> int:
        """Return the price of a premium job of this length in credits, by the service's formula and price rules."""
        return credits_for(self.find(algorithm), options, duration_seconds)

    def stems(self, algorithm: int | str | Algorithm, options: Options | None = None) -> tuple[str, ...]:
        """Return the stems of the results, named as in `OutputFile.stem`; empty if the service does not list them."""
        return tuple(outputs_for(self.find(algorithm), options).values())

    def _numbered(self, number: int) -> Algorithm:
        if number in self._raw:
            return self[number]
        by_id = [found for found, entry in self._raw.items() if entry.get("id") == number]
        hint = (
            f": {number} is the id of {self._by_name.listed(by_id)}; give the sep_type, not the id" if by_id else LISTS
        )
        raise InvalidRequestError(
            f"unknown algorithm: there is no sep_type {number}{hint}",
            candidates=[self._names[found] for found in by_id],
        )

    def _search(self, words: str) -> list[int]:
        self._words = self._words or {number: weighted_words(_texts(entry)) for number, entry in self._raw.items()}
        return search(words, self._words)


def _entries(answer: Json) -> list[dict[str, Json]]:
    entries = payload(answer)
    if isinstance(entries, dict) and entries and all(key.isdecimal() for key in entries):
        entries = list(entries.values())
    if not isinstance(entries, list):
        raise ProtocolError(f"the answer to {_WHAT} should be a list of algorithms, not {type(entries).__name__}")
    # With a token, the service was seen to answer groups that hold the algorithms.
    flat = [inner for entry in entries for inner in _of_group(entry)]
    found = [entry for entry in flat if isinstance(entry, dict)]
    if len(found) < len(flat):
        raise ProtocolError(f"the answer to {_WHAT} has entries that are not algorithms")
    return found


def _of_group(entry: Json) -> list[Json]:
    algorithms = entry.get("algorithms") if isinstance(entry, dict) else None
    return algorithms if isinstance(algorithms, list) else [entry]


def _number(entry: dict[str, Json]) -> int | None:
    """Return an entry's `sep_type`; `None` for an unusable entry, without number or name."""
    name, number = entry.get("name"), entry.get("render_id")
    if not isinstance(name, str) or not name.strip() or number is None:
        return None
    try:
        return read_int(number)
    except Unfit:
        return None


def _texts(entry: dict[str, Json]) -> list[tuple[str, int]]:
    group = entry.get("algorithm_group")
    texts = [
        (entry.get("name"), _NAME),
        (group.get("name") if isinstance(group, dict) else None, _GROUP),
        (entry.get("description"), _DESCRIPTION),
    ]
    return [(text, weight) for text, weight in texts if isinstance(text, str)]
