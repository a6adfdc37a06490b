"""Find algorithms by name or by words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from mvsep_async.errors import InvalidRequestError

__all__ = ["LISTS", "NameIndex", "folded", "head", "nearest", "numeric", "search", "weighted_words"]

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


def weighted_words(texts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the words of some texts, each with the highest weight of the texts that it is in."""
    found: dict[str, int] = {}
    for text, weight in texts:
        for word in _WORD.findall(text.casefold()):
            found[word] = max(weight, found.get(word, 0))
    return found


def search(text: str, entries: Mapping[int, Mapping[str, int]]) -> list[int]:
    """Return the numbers whose words include all words of `text`, or else some, best match first.

    `entries`: number → its words with their weights. A whole word counts fully, the beginning of a longer word half.
    Equal matches keep the order of the entries.
    """
    wanted = list(dict.fromkeys(_WORD.findall(text.casefold())))
    scores = {number: list(filter(None, (_score(one, words) for one in wanted))) for number, words in entries.items()}
    matched = [number for number in scores if scores[number]]
    complete = [number for number in matched if len(scores[number]) == len(wanted)]
    return sorted(complete or matched, key=lambda number: (-len(scores[number]), -sum(scores[number])))


def _score(wanted: str, words: Mapping[str, int]) -> float:
    starting = (weight / (1 if word == wanted else 2) for word, weight in words.items() if word.startswith(wanted))
    return max(starting, default=0)
