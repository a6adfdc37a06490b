"""The slots: never more than the limit, and others' use found out with few refusals."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mvsep_async.scheduling.slots import FIRST_PAUSE, LONGEST_PAUSE, Slots


class AnyHistory(RuleBasedStateMachine):
    """Whatever is said in whatever order, no create begins beyond the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.slots, self.now, self.number = Slots(5), 0.0, 0

    @rule()
    def create_all_that_may(self) -> None:
        before = len(self.slots.held)
        for _ in range(self.slots.free(self.now)):
            self.number += 1
            self.slots.acquire(str(self.number))
        assert len(self.slots.held) <= max(before, self.slots.limit)

    @precondition(lambda self: self.slots.held)
    @rule(how=st.sampled_from(["release", "refused"]))
    def end(self, how: str) -> None:
        job = min(self.slots.held)
        if how == "refused":
            self.slots.refused(self.now)
        self.slots.release(job)
        assert job not in self.slots.held

    @rule()
    def accept(self) -> None:
        self.slots.accepted(self.now)

    @rule(unfinished=st.integers(0, 20), ours=st.none() | st.integers(0, 10))
    def observe(self, unfinished: int, ours: int | None) -> None:
        self.slots.account_reported(unfinished, self.now, ours=ours)

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(limit=st.integers(1, 12))
    def change_plan(self, limit: int) -> None:
        self.slots.relimit(limit)

    @invariant()
    def never_stuck(self) -> None:
        """With nothing held and time passing, a create may always begin again."""
        change = self.slots.next_change(self.now)
        if not self.slots.held and not self.slots.free(self.now):
            assert change is not None
            assert self.now < change <= self.now + LONGEST_PAUSE
            assert self.slots.free(change) > 0


TestAnyHistory = AnyHistory.TestCase


def refused(slots: Slots, job: str, now: float) -> None:
    slots.refused(now)
    slots.release(job)


def held(limit: int, number: int) -> Slots:
    slots = Slots(limit)
    for job in range(number):
        slots.acquire(f"old{job}")
    return slots


def test_all_slots_are_free_until_something_else_is_known() -> None:
    slots = held(10, 3)
    assert slots.free(0.0) == 7
    assert slots.next_change(0.0) == inf
    slots.release("old0")
    slots.release("old0")
    assert slots.free(0.0) == 8


def test_resumed_jobs_hold_slots_even_beyond_the_limit() -> None:
    slots = held(1, 4)
    assert len(slots.held) == 4
    assert slots.free(0.0) == 0
    for job in range(3):
        slots.release(f"old{job}")
    assert slots.free(0.0) == 0
    slots.release("old3")
    assert slots.free(0.0) == 1


def test_a_refusal_lowers_the_room_and_is_probed_ever_more_rarely() -> None:
    slots, now, pauses = held(10, 6), 0.0, []
    for _ in range(7):
        assert slots.free(now) >= 1
        slots.acquire("new")
        refused(slots, "new", now)
        assert set(slots.held) == {f"old{job}" for job in range(6)}
        assert slots.free(now) == 0
        change = slots.next_change(now)
        assert change is not None
        pauses.append(change - now)
        now = change
        assert slots.free(now) == 1, "one is tried, not four"
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_a_slot_of_ours_that_comes_free_is_used_without_waiting_for_a_probe() -> None:
    slots = held(10, 6)
    slots.acquire("new")
    refused(slots, "new", 0.0)
    slots.release("old0")
    assert slots.free(0.1) == 1


def test_a_probe_that_is_accepted_is_followed_by_the_next() -> None:
    slots = held(10, 6)
    slots.acquire("new")
    refused(slots, "new", 0.0)
    now = FIRST_PAUSE
    for job in range(4):
        assert slots.free(now) == 1
        slots.acquire(f"probe{job}")
        assert slots.free(now) == 0
        slots.accepted(now)
    assert len(slots.held) == 10
    assert slots.free(now) == 0


def test_the_accounts_count_is_believed_at_once_both_ways() -> None:
    slots = held(10, 4)
    slots.account_reported(9, 0.0)  # others have five
    assert slots.free(0.0) == 1
    slots.account_reported(4, 1.0)
    assert slots.free(1.0) == 6
    slots.account_reported(12, 2.0)
    assert slots.free(2.0) == 0


def test_creates_under_way_are_not_taken_for_jobs_at_the_service() -> None:
    slots = held(10, 8)
    slots.account_reported(8, 0.0, ours=6)  # two of ours still upload, others have two
    assert slots.free(0.0) == 0


def test_a_refused_create_is_repeated_at_once_when_the_account_has_room_after_all() -> None:
    slots = held(10, 9)
    slots.acquire("new")
    refused(slots, "new", 0.0)
    slots.account_reported(9, 0.5)
    assert slots.free(0.5) == 1


def test_a_limit_that_promises_too_much_costs_few_refusals() -> None:
    """The caller says 20, the account takes 10, and its count is asked every three seconds for an hour."""
    slots, refusals = Slots(20), 0
    for second in range(0, 3600, 3):
        while slots.free(second):
            slots.acquire(f"{second} {len(slots.held)}")
            if len(slots.held) > 10:
                refused(slots, max(slots.held), second)
                refusals += 1
            else:
                slots.accepted(second)
        slots.account_reported(len(slots.held), second)
    assert len(slots.held) == 10
    assert refusals <= 3600 / LONGEST_PAUSE + 10


@given(st.integers(1, 20), st.integers(1, 20))
def test_the_same_limit_again_forgets_nothing(limit: int, other: int) -> None:
    slots = Slots(limit)
    slots.acquire("new")
    refused(slots, "new", 0.0)
    slots.relimit(limit)
    assert slots.free(0.0) == 0
    slots.relimit(other)
    assert slots.free(0.0) == (0 if other == limit else other)


def test_a_group_has_room_below_its_cap() -> None:
    slots = Slots(10, group_cap=2)
    for job in ("a1", "a2", "b1"):
        slots.acquire(job, job[0])
    assert [slots.group_has_room(group) for group in ("a", "b", None)] == [False, True, True]
    assert slots.held_by("a") == 2
    slots.release("a1")
    assert slots.group_has_room("a")
