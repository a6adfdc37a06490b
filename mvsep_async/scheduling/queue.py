"""The local queue: groups take turns, and each group has priorities."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from attrs import define, field

__all__ = ["FairQueue"]

T = TypeVar("T")

_NONE_BUSY: Final[Mapping[str | None, int]] = MappingProxyType({})


@define
class _Group(Generic[T]):
    """The queued items of one group: a lane for each priority, with `priorities` in ascending order."""

    lanes: dict[int, deque[T]] = field(factory=dict)
    priorities: list[int] = field(factory=list)
    size: int = 0

    def push(self, item: T, priority: int) -> None:
        lane = self.lanes.get(priority)
        if lane is None:
            lane = self.lanes[priority] = deque()
            insort(self.priorities, priority)
        lane.append(item)
        self.size += 1

    def peek(self) -> T:
        return self.lanes[self.priorities[-1]][0]

    def pop(self) -> T:
        priority = self.priorities[-1]
        item = self.lanes[priority].popleft()
        self._shrink(priority)
        return item

    def remove(self, item: T, priority: int) -> bool:
        try:
            self.lanes[priority].remove(item)
        except (KeyError, ValueError):
            return False
        self._shrink(priority)
        return True

    def place(self, item: T, priority: int) -> int | None:
        try:
            place = self.lanes[priority].index(item)
        except (KeyError, ValueError):
            return None
        higher = self.priorities[bisect_left(self.priorities, priority) + 1 :]
        return place + sum(len(self.lanes[other]) for other in higher)

    def _shrink(self, priority: int) -> None:
        self.size -= 1
        if not self.lanes[priority]:
            del self.lanes[priority]
            del self.priorities[bisect_left(self.priorities, priority)]


@define
class FairQueue(Generic[T]):
    """A queue in which groups take turns; within a group, higher priorities come first, then earlier items.

    An item costs one reference in a deque. Pushing and popping take constant time. Removing an item, or finding its
    place, searches its lane: a few milliseconds among 100,000 items at worst.
    """

    _groups: dict[str | None, _Group[T]] = field(factory=dict, init=False)
    _turns: deque[str | None] = field(factory=deque, init=False)
    """The groups that have items, the next one first."""
    _returned: deque[tuple[T, str | None]] = field(factory=deque, init=False)
    """Items that were put back with `push_first`: they come before all others."""
    _size: int = field(default=0, init=False)

    def push(self, item: T, *, group: str | None, priority: int = 0) -> None:
        """Add an item after the others of its group and priority; a group without items gets the last turn."""
        if group not in self._groups:
            self._groups[group] = _Group()
            self._turns.append(group)
        self._groups[group].push(item, priority)
        self._size += 1

    def push_first(self, item: T, *, group: str | None, priority: int = 0) -> None:
        """Put back an item that was popped: it comes before all others, whatever its priority."""
        self._returned.appendleft((item, group))
        self._size += 1

    def pop(self, *, busy: Mapping[str | None, int] = _NONE_BUSY, cap: int | None = None) -> T | None:
        """Remove and return the next item; `None` if there is none, or if every group has reached the cap.

        A group with `cap` or more `busy` items is skipped and keeps its turn.
        """
        for index, (item, group) in enumerate(self._returned):
            if cap is None or busy.get(group, 0) < cap:
                del self._returned[index]
                self._size -= 1
                return item
        for index, group in enumerate(self._turns):
            if cap is None or busy.get(group, 0) < cap:
                item = self._groups[group].pop()
                del self._turns[index]
                if self._groups[group].size:
                    self._turns.append(group)
                else:
                    del self._groups[group]
                self._size -= 1
                return item
        return None

    def peek(self, *, busy: Mapping[str | None, int] = _NONE_BUSY, cap: int | None = None) -> T | None:
        """Return the item that `pop` would return, without removing it."""
        for item, group in self._returned:
            if cap is None or busy.get(group, 0) < cap:
                return item
        for group in self._turns:
            if cap is None or busy.get(group, 0) < cap:
                return self._groups[group].peek()
        return None

    def drain(self) -> list[T]:
        """Remove and return all items, group by group."""
        items = list(self)
        self._groups.clear()
        self._turns.clear()
        self._returned.clear()
        self._size = 0
        return items

    def remove(self, item: T, *, group: str | None, priority: int = 0) -> bool:
        """Remove an item that was pushed with this group and priority; `False` if it is not in the queue."""
        if (item, group) in self._returned:
            self._returned.remove((item, group))
            self._size -= 1
            return True
        if group not in self._groups or not self._groups[group].remove(item, priority):
            return False
        if not self._groups[group].size:
            del self._groups[group]
            self._turns.remove(group)
        self._size -= 1
        return True

    def take(self, item: T, *, group: str | None, priority: int = 0) -> bool:
        """Remove an item as `pop` does, so that its group gets the last turn; `False` if it is not in the queue."""
        was_returned = (item, group) in self._returned
        if not self.remove(item, group=group, priority=priority):
            return False
        if not was_returned and group in self._groups:
            self._turns.remove(group)
            self._turns.append(group)
        return True

    def place(self, item: T, *, group: str | None, priority: int = 0) -> int | None:
        """Return how many items would be popped before this one; `None` if it is not in the queue."""
        if (item, group) in self._returned:
            return self._returned.index((item, group))
        own = self._groups[group].place(item, priority) if group in self._groups else None
        if own is None:
            return None
        # Before this item, groups with an earlier turn are served `own + 1` times, the others `own` times.
        turn = self._turns.index(group)
        others = sum(
            min(self._groups[other].size, own + (index < turn))
            for index, other in enumerate(self._turns)
            if other != group
        )
        return len(self._returned) + own + others

    def place_in_group(self, item: T, *, group: str | None, priority: int = 0) -> int | None:
        """Return how many items of its group would be popped before this one; `None` if it is not in the queue."""
        returned = [other for other, of_group in self._returned if of_group == group]
        if item in returned:
            return returned.index(item)
        own = self._groups[group].place(item, priority) if group in self._groups else None
        return None if own is None else len(returned) + own

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        """Iterate over all items, group by group."""
        for item, _ in self._returned:
            yield item
        for group in self._groups.values():
            for priority in reversed(group.priorities):
                yield from group.lanes[priority]
