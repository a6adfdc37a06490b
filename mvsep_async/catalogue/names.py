"""Find algorithms by name or by words."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from mvsep_async.errors import InvalidRequestError

__all__ = ["LISTS", "NameIndex", "WordIndex", "folded", "head", "nearest", "numeric"]

LISTS: Final = "; `mvsep-async algorithms --all` and client.catalogue() list all"
"""The end of an error about an unknown algorithm."""

_WORD: Final = re.compile(r"\w+")


def folded(text: str) -> str:
    """Return `text` in lower case with single spaces, the form in which names are compared."""
    return " ".join(text.casefold().split())


def head(text: str) -> str:
    """Return the part of a name before its parenthesis, folded; the whole name if there is no parenthesis."""
    return folded(text.partition("(")[0]) or folded(text)


def nearest(text: str, names: Iterable[str], *, most: int = 5) -> list[str]:
    """Return the names most similar to `text`, best match first; a name may leave out its parenthesis."""
    wanted = folded(text)[:200]
    forms: dict[str, list[str]] = {}
    for name in names:
        for form in dict.fromkeys((head(name), folded(name))):
            forms.setdefault(form, []).append(name)
    found = difflib.get_close_matches(wanted, forms, n=most, cutoff=0.5)
    return list(dict.fromkeys(name for form in found for name in forms[form]))[:most]


def numeric(wanted: int | str) -> int | None:
    """Return the number of a number or a text of digits; `None` for a name."""
    if isinstance(wanted, bool):
        return None
    if isinstance(wanted, int):
        return wanted
    text = wanted.strip()
    return int(text[:20]) if text.isascii() and text.isdigit() else None


class NameIndex:
    """Numbers by name, without case: by the whole name, or else by the part before the parenthesis."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
        self._whole: dict[str, list[int]] = {}
        self._heads: dict[str, list[int]] = {}
        for number, name in names.items():
            self._whole.setdefault(folded(name), []).append(number)
            self._heads.setdefault(head(name), []).append(number)

    def find(self, name: str, *, also: Sequence[int] = ()) -> int:
        """Return the number with this name; `also`: numbers to suggest besides the nearest names.

        Raises `InvalidRequestError` with the candidates for a name that several have, and for an unknown one.
        """
        found = self._whole.get(folded(name)) or self._heads.get(folded(name)) or []
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidRequestError(
                f"the algorithm {name[:80]!r} is ambiguous: {self.listed(found)}; give the number or the whole name",
                candidates=[self._names[number] for number in found],
            )
        near = [number for like in nearest(name, self._names.values()) for number in self._whole[folded(like)]]
        numbers = list(dict.fromkeys([*near, *also]))[:5]
        hint = f"; did you mean {self.listed(numbers)}?" if numbers else LISTS
        raise InvalidRequestError(
            f"unknown algorithm {name[:80]!r}{hint}", candidates=[self._names[number] for number in numbers]
        )

    def listed(self, numbers: Iterable[int]) -> str:
        """Return names with their numbers, for an error message."""
        return ", ".join(f"{self._names[number]} = {number}" for number in numbers)


class WordIndex:
    """Numbers by the words of their texts.

    `texts`: number → its texts with their weights. Equal matches keep the order of the numbers.
    """

    def __init__(self, texts: Mapping[int, Sequence[tuple[str, int]]]) -> None:
        self._weights: dict[str, dict[int, int]] = {}
        self._order = {number: place for place, number in enumerate(texts)}
        for number, weighted in texts.items():
            for text, weight in weighted:
                for word in set(_WORD.findall(text.casefold())):
                    of_word = self._weights.setdefault(word, {})
                    of_word[number] = max(weight, of_word.get(number, 0))
        self._words = sorted(self._weights)

    def search(self, text: str) -> list[int]:
        """Return the numbers with all words of `text`, or else with some, best match first.

        A whole word counts fully, the beginning of a longer word half.
        """
        words = list(dict.fromkeys(_WORD.findall(text.casefold())))
        scores: dict[int, float] = {}
        matched: dict[int, int] = {}
        for word in words:
            for number, weight in self._of(word).items():
                scores[number] = scores.get(number, 0) + weight
                matched[number] = matched.get(number, 0) + 1
        best = max(matched.values(), default=0)
        found = [number for number, count in matched.items() if count == len(words) or best < len(words)]
        return sorted(found, key=lambda number: (-matched[number], -scores[number], self._order[number]))

    def _of(self, word: str) -> dict[int, float]:
        found: dict[int, float] = {}
        for longer in self._starting_with(word):
            for number, weight in self._weights[longer].items():
                found[number] = max(found.get(number, 0), weight if longer == word else weight / 2)
        return found

    def _starting_with(self, word: str) -> Iterator[str]:
        for place in range(bisect_left(self._words, word), len(self._words)):
            if not self._words[place].startswith(word):
                return
            yield self._words[place]
