"""The fair queue against a naive one, and what its users were promised."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mvsep_async.scheduling.queue import FairQueue

T = TypeVar("T")

groups = st.sampled_from([None, "a", "b", "c"])
priorities = st.integers(-1, 1)


def pop(queue: FairQueue[T], has_room: Callable[[str | None], bool] = lambda group: True) -> T | None:
    item = queue.peek(has_room)
    if item is not None:
        assert queue.take(item)
    return item


class NaiveQueue:
    """The same in the plainest way: a list of what waits, and a list of groups in the order of their turns."""

    def __init__(self) -> None:
        self.first: list[tuple[int, str | None]] = []
        self.waiting: list[tuple[int, str | None, int]] = []
        self.turns: list[str | None] = []

    def push(self, item: int, group: str | None, priority: int) -> None:
        self.waiting.append((item, group, priority))
        if group not in self.turns:
            self.turns.append(group)

    def pop(self, full: set[str | None]) -> int | None:
        for entry in self.first:
            if entry[1] not in full:
                self.first.remove(entry)
                return entry[0]
        for group in self.turns:
            if group not in full:
                own = [entry for entry in self.waiting if entry[1] == group]
                best = max(own, key=lambda entry: entry[2])
                self.turns.remove(group)
                self.turns.append(group)
                self._drop(best)
                return best[0]
        return None

    def remove(self, item: int) -> bool:
        for entry in self.first:
            if entry[0] == item:
                self.first.remove(entry)
                return True
        for entry in self.waiting:
            if entry[0] == item:
                self._drop(entry)
                return True
        return False

    def _drop(self, entry: tuple[int, str | None, int]) -> None:
        self.waiting.remove(entry)
        if all(other[1] != entry[1] for other in self.waiting):
            self.turns.remove(entry[1])


class QueueAgainstNaive(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.keys = keys = dict[int, tuple[str | None, int]]()
        self.queue, self.naive = FairQueue[int](lambda item: keys.get(item, (None, 0))), NaiveQueue()
        self.number = 0
        self.here: dict[int, tuple[str | None, int]] = {}
        self.popped: list[tuple[int, str | None, int]] = []

    @rule(group=groups, priority=priorities, times=st.integers(1, 5))
    def push(self, group: str | None, priority: int, times: int) -> None:
        for _ in range(times):
            self.number += 1
            self.here[self.number] = self.keys[self.number] = (group, priority)
            self.queue.push(self.number)
            self.naive.push(self.number, group, priority)

    @rule(busy=st.dictionaries(groups, st.integers(0, 3)), cap=st.none() | st.integers(1, 3))
    def pop(self, busy: dict[str | None, int], cap: int | None) -> None:
        full = {group for group, number in busy.items() if cap is not None and number >= cap}
        item = pop(self.queue, lambda group: group not in full)
        assert item == self.naive.pop(full)
        if item is not None:
            self.popped.append((item, *self.here.pop(item)))

    @rule()
    def put_back(self) -> None:
        if self.popped:
            item, group, priority = self.popped.pop()
            self.here[item] = (group, priority)
            self.queue.push_first(item)
            self.naive.first.insert(0, (item, group))

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        item = data.draw(st.integers(1, self.number + 1))
        self.here.pop(item, None)
        assert self.queue.remove(item) is self.naive.remove(item)

    @rule(data=st.data())
    def place(self, data: st.DataObject) -> None:
        item = data.draw(st.integers(1, self.number + 1))
        order, queue = [], deepcopy(self.queue)
        while (popped := pop(queue)) is not None:
            order.append(popped)
        expected = order.index(item) if item in order else None
        assert self.queue.place(item) == expected

    @invariant()
    def holds_the_same(self) -> None:
        assert sorted(self.queue) == sorted(self.here)
        assert len(self.queue) == len(self.here)


TestQueueAgainstNaive = QueueAgainstNaive.TestCase


def test_a_single_later_song_is_among_the_next_two() -> None:
    queue = FairQueue[str](lambda item: (item.split()[0], 0))
    for number in range(10_000):
        queue.push(f"library {number}")
    for _ in range(10):
        pop(queue)
    queue.push("single")
    assert queue.place("single") in (0, 1)
    assert "single" in (pop(queue), pop(queue))


def test_a_group_at_its_cap_keeps_its_turn() -> None:
    queue = FairQueue[str](lambda item: (item[0], 0))
    for name in ("a1", "b1", "b2"):
        queue.push(name)
    assert pop(queue, lambda group: group != "a") == "b1"
    assert pop(queue, lambda group: False) is None
    assert pop(queue, lambda group: group != "b") == "a1"


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 30), min_size=1, max_size=8))
def test_between_two_pops_of_a_group_every_other_has_one(sizes: dict[str, int]) -> None:
    queue = FairQueue[tuple[str, int]](lambda item: (item[0], 0))
    for group, size in sizes.items():
        for number in range(size):
            queue.push((group, number))
    left, since = dict(sizes), dict[str, set[str]]()
    while (item := pop(queue)) is not None:
        group = item[0]
        others = {other for other, size in left.items() if size and other != group}
        assert since.get(group, others) >= others
        left[group] -= 1
        for served in since.values():
            served.add(group)
        since[group] = set()
    assert not any(left.values())


def test_popped_and_removed_jobs_are_not_referenced() -> None:
    queue = FairQueue[int](lambda number: (str(number), number))
    for number in range(1000):
        queue.push(number)
    for number in range(0, 1000, 2):
        assert queue.remove(number)
    while pop(queue) is not None:
        pass
    assert not queue
    assert not queue._groups


def test_taking_an_item_gives_its_group_the_last_turn() -> None:
    queue = FairQueue[str](lambda item: (item[0], 0))
    for item in ("a1", "a2", "b1"):
        queue.push(item)
    assert queue.take("a1")
    assert not queue.take("a1")
    assert [pop(queue), pop(queue), pop(queue)] == ["b1", "a2", None]
