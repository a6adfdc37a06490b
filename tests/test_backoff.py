"""Backoff: pauses double up to the longest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    assert [Backoff(0.5, 5.0).pause(failures) for failures in range(-1, 7)] == [0, 0, 0.5, 1, 2, 4, 5, 5]


@given(st.floats(1e-3, 100), st.floats(1e-3, 1e4), st.integers(0, 10**6))
def test_a_pause_is_within_its_bounds(first: float, longest: float, failures: int) -> None:
    assert 0 <= Backoff(first, longest).pause(failures) <= longest


def test_scaling_scales_every_pause() -> None:
    scaled = Backoff(0.5, 5.0).scaled(0.1)
    assert [scaled.pause(failures) for failures in (1, 2, 9)] == pytest.approx([0.05, 0.1, 0.5])
