"""The local queue: groups take turns, and each group has priorities."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from attrs import define, field

__all__ = ["FairQueue"]

T = TypeVar("T")


@define
class FairQueue(Generic[T]):
    """A queue in which groups take turns; within a group, higher priorities come first, then earlier items.

    `key` returns the group and the priority of an item, which must not change. An item costs one reference in a list.
    Pushing and taking the next item take microseconds. Removing any other item, or finding its place, searches its
    group: a few milliseconds among 100,000 items at worst.
    """

    _key: Callable[[T], tuple[str | None, int]]
    _groups: dict[str | None, list[T]] = field(factory=dict, init=False)
    """The items of each group, in their order. The group with the next turn comes first."""
    _returned: deque[T] = field(factory=deque, init=False)
    """Items that were put back with `push_first`: they come before all others."""

    def push(self, item: T) -> None:
        """Add an item after the others of its group and priority; a group without items gets the last turn."""
        group, priority = self._key(item)
        own = self._groups.setdefault(group, [])
        if own and self._key(own[-1])[1] < priority:
            insort(own, item, key=lambda other: -self._key(other)[1])
        else:
            own.append(item)

    def push_first(self, item: T) -> None:
        """Put back an item that was taken: it comes before all others, whatever its priority."""
        self._returned.appendleft(item)

    def peek(self, has_room: Callable[[str | None], bool] = lambda group: True) -> T | None:
        """Return the next item without removing it; `None` if there is none.

        A group for which `has_room` is false is skipped and keeps its turn.
        """
        for item in self._returned:
            if has_room(self._key(item)[0]):
                return item
        return next((own[0] for group, own in self._groups.items() if has_room(group)), None)

    def take(self, item: T) -> bool:
        """Remove an item and give its group the last turn; `False` if it is not in the queue."""
        group, was_returned = self._key(item)[0], item in self._returned
        if not self.remove(item):
            return False
        if not was_returned and group in self._groups:
            self._groups[group] = self._groups.pop(group)
        return True

    def remove(self, item: T) -> bool:
        """Remove an item without an effect on the turns; `False` if it is not in the queue."""
        group = self._key(item)[0]
        own = self._groups.get(group, [])
        for items in (self._returned, own):
            try:
                items.remove(item)
            except ValueError:
                continue
            if items is own and not own:
                del self._groups[group]
            return True
        return False

    def drain(self) -> list[T]:
        """Remove and return all items, group by group."""
        items = list(self)
        self._groups.clear()
        self._returned.clear()
        return items

    def place(self, item: T) -> int | None:
        """Return how many items come before this one; `None` if it is not in the queue."""
        if item in self._returned:
            return self._returned.index(item)
        group = self._key(item)[0]
        own = _index(self._groups.get(group, []), item)
        if own is None:
            return None
        # Before this item, groups with an earlier turn are served `own + 1` times, the others `own` times.
        turn = list(self._groups).index(group)
        others = sum(
            min(len(items), own + (index < turn))
            for index, (other, items) in enumerate(self._groups.items())
            if other != group
        )
        return len(self._returned) + own + others

    def place_in_group(self, item: T) -> int | None:
        """Return how many items of its group come before this one; `None` if it is not in the queue."""
        group = self._key(item)[0]
        returned = [other for other in self._returned if self._key(other)[0] == group]
        return _index([*returned, *self._groups.get(group, ())], item)

    def __len__(self) -> int:
        return len(self._returned) + sum(map(len, self._groups.values()))

    def __bool__(self) -> bool:
        return bool(self._returned or self._groups)

    def __iter__(self) -> Iterator[T]:
        """Iterate over all items, group by group."""
        yield from self._returned
        for items in self._groups.values():
            yield from items


def _index(items: list[T], item: T) -> int | None:
    return items.index(item) if item in items else None
