"""How long the service has failed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.outage import Outage


def test_patience_is_counted_from_the_first_failure_without_a_break() -> None:
    outage = Outage(patience=10.0)
    assert not outage.failed(100.0)
    assert not outage.failed(109.5)
    assert outage.failed(110.0)
    outage.ended()
    assert not outage.failed(111.0)
    assert outage.failed(121.0)


def test_a_night_in_which_the_machine_slept_is_no_outage() -> None:
    outage = Outage(patience=1800.0)
    assert not outage.failed(0.0)
    assert not outage.failed(8 * 3600.0)
    assert not outage.failed(8 * 3600.0 + 30)
    now, ended = 8 * 3600.0 + 30, False
    while not ended:
        now += 75.0
        ended = outage.failed(now)
    assert 1000 < now - 8 * 3600.0 <= 1800


@given(st.integers(1, 40), st.floats(0.01, 1))
def test_rests_grow_up_to_a_bound_in_proportion_to_the_pace(failures: int, time_scale: float) -> None:
    outage = Outage(patience=1e9, time_scale=time_scale)
    rests = []
    for number in range(failures):
        outage.failed(float(number))
        rests.append(outage.rest)
    assert rests == sorted(rests)
    assert rests[0] == 0.5 * time_scale
    assert rests[-1] <= 30.0 * time_scale
    outage.ended()
    assert outage.rest == 0.0
