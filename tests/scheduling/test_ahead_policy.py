"""When the next song is sent ahead of its slot."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest

from mvsep_async.jobs.request import JobRequest, JobSettings
from mvsep_async.scheduling.ahead_policy import FIRST_REST, LEAD, LONGEST_REST, MOST, SLOW, AheadPolicy, upload_size
from mvsep_async.sources import Data, JobSource, Pair, Spooled

SIZE = 10_000_000
RATE = 1_000_000.0


def delay(policy: AheadPolicy, now: float = 0.0, **given: Any) -> float:
    return policy.delay(now, **({"size": SIZE, "rate": RATE, "seconds_left": [600.0], "ahead": 0} | given))


def test_it_begins_in_time_for_the_slot_that_is_expected_first() -> None:
    assert delay(AheadPolicy()) == 600 - SLOW * 10 - LEAD
    assert delay(AheadPolicy(), seconds_left=[900.0, 600.0, 700.0]) == 600 - SLOW * 10 - LEAD
    assert delay(AheadPolicy(), seconds_left=[900.0, 600.0, 700.0], ahead=1) == 700 - SLOW * 10 - LEAD
    assert delay(AheadPolicy(), seconds_left=[20.0]) == 0


def test_it_begins_at_once_while_nothing_is_known() -> None:
    assert delay(AheadPolicy(), rate=None) == 0
    assert delay(AheadPolicy(), seconds_left=[None]) == 0
    assert delay(AheadPolicy(), seconds_left=[600.0, None]) == 0


def test_there_are_never_more_than_slots_and_few_at_most() -> None:
    assert delay(AheadPolicy(), seconds_left=[]) == inf
    assert delay(AheadPolicy(), seconds_left=[1.0], ahead=1) == inf
    assert delay(AheadPolicy(), seconds_left=[1.0] * 10, ahead=MOST) == inf


def test_small_songs_are_not_sent_ahead() -> None:
    assert delay(AheadPolicy(), size=1000, seconds_left=[1.0]) == inf


def test_after_a_song_was_sent_for_nothing_it_rests_ever_longer() -> None:
    policy = AheadPolicy()
    policy.failed(100.0)
    assert delay(policy, 100.0, seconds_left=[1.0]) == FIRST_REST
    assert delay(policy, 100.0 + FIRST_REST, seconds_left=[1.0]) == 0
    policy.failed(200.0)
    assert delay(policy, 200.0, seconds_left=[1.0]) == 2 * FIRST_REST
    for _ in range(20):
        policy.failed(300.0)
    assert delay(policy, 300.0, seconds_left=[1.0]) == LONGEST_REST
    policy.used()
    assert delay(policy, 300.0, seconds_left=[1.0]) == 0


def test_after_a_song_was_sent_for_nothing_a_slot_must_come_free_before_it_tries_without_an_estimate() -> None:
    policy = AheadPolicy()
    policy.failed(0.0)
    assert delay(policy, 1e6, seconds_left=[None]) == inf
    policy.slot_freed()
    assert delay(policy, 1e6, seconds_left=[None]) == 0


@pytest.mark.parametrize(
    ("source", "size"),
    [
        (Data(b"12345", "a.wav"), 5),
        (None, 0),
        ("https://example.com/a.wav", 0),
        (Path("song"), 3),
        (Spooled(Path("song"), "a.wav"), 3),
        (Pair("song", "song"), 6),
        (Path("missing"), 0),
    ],
)
def test_the_size_of_an_upload(source: JobSource, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song").write_bytes(b"abc")
    assert upload_size(JobRequest("mv1", source, JobSettings())) == size
