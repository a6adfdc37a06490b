import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.download.ranges import Complete, LinkGone, Reject, Restart
from mvsep_async.download.retry import Fail, Finish, Outcome, RenewLink, Retry, RetryState

CUT = Reject("cut", temporary=True)
OTHER_FILE = Reject("another length", temporary=True, wrong_content=True)


def steps(state: RetryState, *attempts: tuple[Outcome, int, float]) -> list[object]:
    """Return the step that follows each attempt, given as outcome, bytes on disk and time."""
    result: list[object] = []
    for outcome, have, now in attempts:
        state, step = state.next(outcome, have, now)
        result.append(step)
    return result


def pauses(state: RetryState, *attempts: tuple[Outcome, int, float]) -> list[float]:
    return [step.pause for step in steps(state, *attempts) if isinstance(step, Retry)]


def test_a_complete_file_ends_the_download() -> None:
    assert steps(RetryState(60, 0), (Complete(), 10, 1)) == [Finish()]


def test_the_first_retry_is_immediate_and_the_pauses_double_up_to_30_seconds() -> None:
    found = pauses(RetryState(1e6, 0), *[(CUT, 0, 1.0)] * 10)
    assert found == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert pauses(RetryState(1e9, 0, failures=5000), (CUT, 0, 1.0)) == [30]


def test_new_bytes_reset_the_pauses_and_the_patience() -> None:
    found = steps(RetryState(60, 0), (CUT, 0, 50), (CUT, 0, 55), (CUT, 1, 59), (CUT, 1, 110), (CUT, 1, 120))
    assert [type(step) for step in found] == [Retry, Retry, Retry, Retry, Fail]
    assert [step.pause for step in found[:4] if isinstance(step, Retry)] == [0, 0.5, 0, 0.5]
    assert found[4] == Fail("cut; no new byte in 61 s")


def test_bytes_that_were_there_before_are_no_progress() -> None:
    state = RetryState(60, 0, have=500)
    assert steps(state, (Restart("changed"), 0, 10), (CUT, 400, 61))[1] == Fail("cut; no new byte in 61 s")


def test_a_restart_asks_for_the_whole_file() -> None:
    assert steps(RetryState(60, 0), (Restart("changed"), 5, 1)) == [Retry(0, "changed", from_start=True)]


def test_a_link_is_renewed_again_after_a_pause_within_patience() -> None:
    gone = LinkGone("404")
    state = RetryState(60, 0, can_renew=True)
    found = steps(state, (gone, 0, 1), (CUT, 5, 2), (gone, 5, 3), (gone, 5, 4), (gone, 5, 5), (gone, 5, 63))
    assert [type(step) for step in found] == [RenewLink, Retry, RenewLink, Retry, RenewLink, Fail]
    assert found[-1] == Fail("404, also with a new link; no new byte in 61 s")


def test_a_new_link_to_something_else_is_tried_a_few_times() -> None:
    found = steps(RetryState(6000, 0, can_renew=True), *[(LinkGone("text", wrong_content=True), 0, 1.0)] * 12)
    assert [type(step) for step in found] == [RenewLink, Retry] * 5 + [RenewLink, Fail]


def test_a_link_that_cannot_be_renewed_ends_the_download() -> None:
    gone = LinkGone("404")
    assert steps(RetryState(60, 0), (gone, 0, 1)) == [
        Fail("404; the link has expired or the file was deleted at the service")
    ]


def test_a_final_rejection_is_not_retried() -> None:
    assert steps(RetryState(60, 0, can_renew=True), (Reject("400", temporary=False), 0, 1)) == [Fail("400")]


def test_the_server_may_ask_for_a_longer_pause_up_to_a_minute() -> None:
    asked = [Reject("503", temporary=True, retry_after=seconds) for seconds in (7.0, 0.1, 3600.0)]
    assert pauses(RetryState(600, 0), *((answer, 0, 1.0) for answer in asked)) == [7, 0.5, 60]


def test_six_wrong_answers_in_a_row_are_believed() -> None:
    found = steps(RetryState(600, 0), *[(OTHER_FILE, 0, 1.0)] * 5, (CUT, 0, 1), (OTHER_FILE, 0, 1))
    assert [type(step) for step in found] == [Retry] * 6 + [Fail]
    found = steps(RetryState(600, 0), *[(OTHER_FILE, 0, 1.0)] * 5, (CUT, 1, 1), (OTHER_FILE, 1, 1))
    assert Fail not in map(type, found)


OUTCOMES: list[Outcome] = [CUT, OTHER_FILE, Restart("r"), LinkGone("g"), Reject("s", temporary=True, retry_after=9.0)]


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES), st.integers(0, 3)), min_size=1), st.floats(1, 1000))
def test_no_sequence_of_outcomes_retries_for_ever(outcomes: list[tuple[Outcome, int]], patience: float) -> None:
    """With at least a second between attempts, the longest run without progress is bounded by the patience."""
    state, now, since, furthest = RetryState(patience, 0.0, can_renew=True), 0.0, 0.0, 0
    for outcome, have in outcomes * 100:
        if have > furthest:
            furthest, since = have, now
        state, step = state.next(outcome, have, now)
        if isinstance(step, Fail):
            return
        now += 1
        if isinstance(step, Retry):
            assert now - since <= patience + 1
            now += step.pause
    pytest.fail(f"it still retries after {now} s")


def test_a_machine_that_was_asleep_does_not_use_up_the_patience() -> None:
    state, step = RetryState(1800, 0).next(CUT, 0, 10)
    assert isinstance(step, Retry)
    state, step = state.next(CUT, 0, 50_000)
    assert isinstance(step, Retry)
    for now in range(50_060, 51_500, 60):
        state, step = state.next(CUT, 0, now)
        assert isinstance(step, Retry)
    _, step = state.next(CUT, 0, 51_540)
    assert isinstance(step, Fail)
