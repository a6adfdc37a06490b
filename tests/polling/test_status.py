"""What the answer to a poll means for its job."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import JobCancelledError, JobFailedError, JobNotFoundError
from mvsep_async.jobs.lifecycle import AT_SERVICE, TRANSITIONS, JobEvent, JobState
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.polling.status import classify_status

HASH = "20230327071601-0e3e5c6c85-a.wav"


def status(kind: JobKind, **data: Any) -> JobStatus:
    return JobStatus(kind=kind, status=kind.value, hash=HASH, **data)


@given(st.sampled_from(JobKind), st.sampled_from(sorted(AT_SERVICE)))
def test_whatever_is_seen_can_happen_to_a_job_at_the_service(kind: JobKind, state: JobState) -> None:
    reading = classify_status("mv1", status(kind), fetching=state is JobState.FETCHING)
    assert reading.event is None or (state, reading.event) in TRANSITIONS
    assert (reading.error is not None) is (reading.event in (JobEvent.FAILED, JobEvent.CANCELLED))


@pytest.mark.parametrize("kind", [JobKind.WAITING, JobKind.PROCESSING, JobKind.DISTRIBUTING, JobKind.MERGING])
def test_working_statuses_move_a_job_but_not_a_url_job_that_is_being_fetched(kind: JobKind) -> None:
    assert classify_status("mv1", status(kind), fetching=False).event is JobEvent[f"STATUS_{kind.name}"]
    assert classify_status("mv1", status(kind), fetching=True).event is None


def test_done_means_fetched_first_for_a_url_job() -> None:
    assert classify_status("mv1", status(JobKind.DONE), fetching=True).event is JobEvent.FETCHED
    assert classify_status("mv1", status(JobKind.DONE), fetching=False).event is JobEvent.STATUS_DONE


def test_not_found_fails_the_job() -> None:
    late = classify_status("mv1", status(JobKind.NOT_FOUND), fetching=False)
    assert isinstance(late.error, JobNotFoundError)
    assert HASH in str(late.error)


def test_an_unknown_status_changes_nothing() -> None:
    assert classify_status("mv1", status(JobKind.UNKNOWN), fetching=False).event is None


def test_errors_name_the_job_and_say_the_services_words() -> None:
    failed = classify_status("mv1", status(JobKind.FAILED, message="GPU lost"), fetching=False).error
    silent = classify_status("mv1", status(JobKind.FAILED), fetching=False).error
    cancelled = classify_status("mv1", status(JobKind.CANCELLED), fetching=False).error
    assert isinstance(failed, JobFailedError)
    assert "GPU lost" in str(failed)
    assert "no reason" in str(silent)
    assert isinstance(cancelled, JobCancelledError)
    for error in (failed, silent, cancelled):
        assert error is not None
        assert (error.job, error.hash) == ("mv1", HASH)


def test_numbers_are_passed_on() -> None:
    numbers = {"queue_position": 3, "queue_length": 9, "chunks_done": 1, "chunks_total": 4, "message": "m"}
    progress = classify_status("mv1", status(JobKind.WAITING, **numbers), fetching=False).progress
    assert {name: getattr(progress, name) for name in numbers} == numbers
