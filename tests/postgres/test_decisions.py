"""Who is next, who may take over, what a lease still allows: pure functions, for every combination of values."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.lifecycle import AT_SERVICE, JobState
from mvsep_async.postgres.decisions import (
    RESERVE,
    Candidate,
    Lease,
    ProcessRow,
    alive,
    choose,
    full_groups,
    granted,
    may_take,
    ready,
    share_of,
)

times = st.floats(0, 100)
processes = st.lists(
    st.builds(ProcessRow, st.sampled_from("abcdef"), times, st.one_of(times, st.just(-inf))),
    unique_by=lambda row: row.id,
)
candidates = st.lists(
    st.builds(Candidate, st.uuids().map(str), st.sampled_from("abc"), st.sampled_from("uvwxyz"), st.integers(0, 50)),
    unique_by=(lambda one: one.group, lambda one: one.turn),
)


@given(processes, times)
def test_only_processes_with_a_valid_lease_take_slots(rows: list[ProcessRow], now: float) -> None:
    able = ready(rows, now, "a")
    assert able <= alive(rows, now)
    assert ("a" in able) == ("a" in alive(rows, now))
    for row in rows:
        if row.id != "a" and row.skipped_until > now:
            assert row.id not in able


@given(candidates, st.dictionaries(st.sampled_from("uvwxyz"), st.integers(0, 4)), st.none() | st.integers(1, 4))
def test_the_group_that_was_served_longest_ago_is_next(
    waiting: list[Candidate], held: dict[str, int], cap: int | None
) -> None:
    full = full_groups(held, cap)
    chosen = choose(waiting, full)
    open_ones = [one for one in waiting if cap is None or held.get(one.group, 0) < cap]
    if chosen is None:
        assert not open_ones
    else:
        assert chosen in open_ones
        assert all(chosen.turn <= one.turn for one in open_ones)


@given(st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=60))
def test_groups_take_turns(jobs: list[str]) -> None:
    """However many jobs a group has, it never gets a second slot while another one waits for its first."""
    turns = {group: number for number, group in enumerate(dict.fromkeys(jobs))}
    left = {group: jobs.count(group) for group in turns}
    number, served = len(turns), []
    while any(left.values()):
        chosen = choose([Candidate(group, "a", group, turn) for group, turn in turns.items() if left[group]])
        assert chosen is not None
        left[chosen.group] -= 1
        turns[chosen.group] = number = number + 1
        served.append(chosen.group)
    for first in range(len(served)):
        waiting = set(served[first:])
        assert len(set(served[first : first + len(waiting)])) == len(waiting)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 200), st.booleans())
def test_no_more_requests_are_granted_than_the_limit(asked: int, used: int, limit: int, urgent: bool) -> None:
    count = granted(asked, used=used, limit=limit, urgent=urgent)
    assert 0 <= count <= asked
    assert count == 0 or used + count <= limit
    if not urgent and count:
        assert used + count <= limit - min(RESERVE, limit - 1)
    if urgent and asked and used < limit:
        assert count


@given(st.lists(st.tuples(st.booleans(), times), max_size=20), times)
def test_a_lease_ends_here_before_it_ends_in_the_database(steps: list[tuple[bool, float]], now: float) -> None:
    lease, until = Lease(30.0, 5.0), -inf
    for succeeds, sent_at in steps:
        if succeeds:
            lease.renewed(sent_at)
            until = max(until, sent_at + 30.0)  # the database received it later, so its lease is over later still
    assert not lease.valid(now) or now + 5.0 <= until + 1e-6
    lease.ended()
    assert not lease.valid(now)


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("needs_file", [False, True])
@pytest.mark.parametrize("has_target", [False, True])
@pytest.mark.parametrize("machine", [None, "here", "there"])
def test_who_may_take_over(state: JobState, needs_file: bool, has_target: bool, machine: str | None) -> None:
    taken = may_take(state, needs_file=needs_file, has_target=has_target, machine=machine, mine="here")
    if state in AT_SERVICE or state in (JobState.CREATING, JobState.LOST):
        assert taken
    elif state in (JobState.QUEUED, JobState.UPLOADING):
        assert taken == (machine != "there" or not needs_file)
    elif state in (JobState.DONE, JobState.DOWNLOADING):
        assert taken == (has_target and machine != "there")
    else:
        assert not taken


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20))
def test_a_process_polls_in_proportion_to_its_slots(holding: int, elsewhere: int, processes: int) -> None:
    share = share_of(holding, elsewhere, processes)
    assert 0 < share <= 1
    assert processes == 1 or share >= 0.5 / processes
