"""What the answer to a poll means for its job."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import JobCancelledError, JobFailedError, JobNotFoundError
from mvsep_async.jobs.lifecycle import AT_SERVICE, LIFE, JobEvent, JobState
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.polling.status import classify_status

HASH = "20230327071601-0e3e5c6c85-a.wav"


def status(kind: JobKind, **data: Any) -> JobStatus:
    return JobStatus(kind=kind, status=kind.value, hash=HASH, **data)


@given(st.sampled_from(JobKind), st.sampled_from(sorted(AT_SERVICE)), st.booleans())
def test_whatever_is_seen_can_happen_to_a_job_at_the_service(kind: JobKind, state: JobState, young: bool) -> None:
    reading = classify_status("mv1", status(kind), fetching=state is JobState.FETCHING, young=young)
    assert reading.event is None or (state, reading.event) in LIFE
    assert (reading.error is not None) is (reading.event in (JobEvent.FAILED, JobEvent.CANCELLED))


@pytest.mark.parametrize("kind", [JobKind.WAITING, JobKind.PROCESSING, JobKind.DISTRIBUTING, JobKind.MERGING])
def test_working_statuses_move_a_job_but_not_a_url_job_that_is_being_fetched(kind: JobKind) -> None:
    assert classify_status("mv1", status(kind), fetching=False, young=False).event is JobEvent[f"SAID_{kind.name}"]
    assert classify_status("mv1", status(kind), fetching=True, young=False).event is None


def test_done_means_fetched_first_for_a_url_job() -> None:
    assert classify_status("mv1", status(JobKind.DONE), fetching=True, young=False).event is JobEvent.FETCHED
    assert classify_status("mv1", status(JobKind.DONE), fetching=False, young=False).event is JobEvent.SAID_DONE


def test_not_found_means_not_yet_while_it_is_young() -> None:
    assert classify_status("mv1", status(JobKind.NOT_FOUND), fetching=False, young=True).event is None
    late = classify_status("mv1", status(JobKind.NOT_FOUND), fetching=False, young=False)
    assert isinstance(late.error, JobNotFoundError)
    assert HASH in str(late.error)


def test_an_unknown_status_changes_nothing() -> None:
    assert classify_status("mv1", status(JobKind.UNKNOWN), fetching=False, young=False).event is None


def test_errors_name_the_job_and_say_the_services_words() -> None:
    failed = classify_status("mv1", status(JobKind.FAILED, message="GPU lost"), fetching=False, young=False).error
    silent = classify_status("mv1", status(JobKind.FAILED), fetching=False, young=False).error
    cancelled = classify_status("mv1", status(JobKind.CANCELLED), fetching=False, young=False).error
    assert isinstance(failed, JobFailedError)
    assert "GPU lost" in str(failed)
    assert "no reason" in str(silent)
    assert isinstance(cancelled, JobCancelledError)
    for error in (failed, silent, cancelled):
        assert error is not None
        assert (error.job, error.hash) == ("mv1", HASH)


def test_numbers_are_passed_on() -> None:
    numbers = {"queue_position": 3, "queue_length": 9, "chunks_done": 1, "chunks_total": 4, "message": "m"}
    progress = classify_status("mv1", status(JobKind.WAITING, **numbers), fetching=False, young=False).progress
    assert {name: getattr(progress, name) for name in numbers} == numbers
