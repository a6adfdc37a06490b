"""The table of a job's states and events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.lifecycle import (
    AT_SERVICE,
    HOLDS_SLOT,
    OVER,
    TRANSITIONS,
    IllegalEventError,
    JobEvent,
    JobState,
    next_state,
    stage_of,
)
from mvsep_async.models.stage import Stage


@given(st.lists(st.sampled_from(JobEvent)))
def test_random_events_never_leave_the_table(events: list[JobEvent]) -> None:
    state = JobState.QUEUED
    for event in events:
        if (state, event) in TRANSITIONS:
            state = next_state("mv1", state, event)
            continue
        with pytest.raises(IllegalEventError) as caught:
            next_state("mv1", state, event)
        assert "mv1" in str(caught.value)
        assert state.name in str(caught.value)
        assert event.name in str(caught.value)


BEFORE_A_SLOT = (JobState.QUEUED, JobState.UPLOADING)


def reachable(*begin: JobState) -> set[JobState]:
    found, todo = set(begin), list(begin)
    while todo:
        state = todo.pop()
        for (before, _), then in TRANSITIONS.items():
            if before is state and then not in found:
                found.add(then)
                todo.append(then)
    return found


def test_every_state_can_be_reached_and_left() -> None:
    assert reachable(JobState.QUEUED) == set(JobState)
    for state in set(JobState) - OVER:
        assert reachable(state) & OVER


def test_every_state_but_the_ends_can_fail() -> None:
    for state in JobState:
        assert ((state, JobEvent.FAILED) in TRANSITIONS) is (state not in OVER)


def test_a_job_can_be_cancelled_until_the_service_is_through_with_it() -> None:
    for state in JobState:
        assert ((state, JobEvent.CANCELLED) in TRANSITIONS) is (state in BEFORE_A_SLOT or state in HOLDS_SLOT)


def test_a_create_is_begun_only_from_the_queue_and_never_from_a_state_in_which_one_may_be_paid() -> None:
    begins = {state for state, event in TRANSITIONS if event is JobEvent.SLOT_TAKEN}
    assert begins == set(BEFORE_A_SLOT)
    back = {state for (state, _), then in TRANSITIONS.items() if then is JobState.QUEUED}
    assert back == {JobState.UPLOADING, JobState.CREATING, JobState.LOST}
    assert not back & AT_SERVICE


def test_what_failed_may_only_be_downloaded_again() -> None:
    assert {event for state, event in TRANSITIONS if state is JobState.FAILED} == {JobEvent.DOWNLOAD_BEGAN}
    assert not any(state is JobState.CANCELLED for state, _ in TRANSITIONS)


@pytest.mark.parametrize("creating", [Stage.UPLOADING, Stage.FETCHING, Stage.WAITING])
def test_every_state_has_a_stage(creating: Stage) -> None:
    shown = {state: stage_of(state, creating=creating) for state in JobState}
    assert shown[JobState.CREATING] is shown[JobState.LOST] is creating
    assert all(
        stage.value == state.value for state, stage in shown.items() if state not in (JobState.CREATING, JobState.LOST)
    )
