"""Faults that the client had once, put back: the simulation finds each of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from attrs import evolve

from benchmarks.simulation.run import Result, run, shrink
from benchmarks.simulation.scenario import Scenario
from mvsep_async.errors import MVSepError, ProtocolError, ServiceUnavailableError
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.scheduling.admission import Admission
from mvsep_async.submission import create
from mvsep_async.submission.create import Fate
from mvsep_async.submission.recovery_policy import HistoryEnd

# A process that is switched off closes nothing.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

CALM = evolve(
    Scenario.of(0),
    songs=8,
    premium=True,
    quiet_after=1200.0,
    job_seconds=(5.0, 20.0),
    page_size=20,
    holes=False,
    listed_after=5.0,
    found_after=0.0,
    queue_shape="count",
    old_jobs=0,
    strangers=0.0,
    regions=False,
    time_zone=0.0,
    latency=0.1,
    rate=1e6,
    faults=0.0,
    kinds=("lost",),
    outages=0,
    crashes=0,
    power_losses=False,
    clock_steps=0,
    suspensions=0,
    full_disks=0,
    cancels=0,
    retags=0,
    moves=0,
    deletions=0,
    failures=0.0,
    journal_latency=0.0,
    keyed=0,
    group_cap=0,
    quota=0,
)


def broken(scenario: Scenario, promise: str, *, seeds: int = 12) -> Result:
    """Return the first run that breaks the promise."""
    for seed in range(seeds):
        result = run(evolve(scenario, seed=seed))
        if result.violation is not None and result.violation.promise == promise:
            return result
    raise AssertionError(f"no seed below {seeds} breaks {promise!r}")


def holds(scenario: Scenario, *, seeds: int = 12) -> None:
    """Assert that no run breaks anything."""
    for seed in range(seeds):
        result = run(evolve(scenario, seed=seed))
        assert result.violation is None, result.describe()


SHORT_PAGES = evolve(CALM, page_size=3, faults=0.3, old_jobs=9)
STEPPED_CLOCKS = evolve(CALM, songs=12, page_size=1, faults=0.3, clock_steps=6)
REDIRECTS = evolve(CALM, songs=3, faults=0.3, kinds=("redirect",))
ONE_ERROR = evolve(CALM, songs=12, premium=False, faults=0.1, kinds=("5xx",))


@pytest.mark.parametrize("scenario", [SHORT_PAGES, STEPPED_CLOCKS, REDIRECTS, ONE_ERROR])
def test_the_client_as_it_is_holds_its_promises(scenario: Scenario) -> None:
    holds(scenario, seeds=3)


def test_it_finds_a_search_that_ends_at_a_short_page(monkeypatch: pytest.MonkeyPatch) -> None:
    read: Callable[..., bool] = HistoryEnd.read
    monkeypatch.setattr(
        HistoryEnd, "read", lambda end, entries, *rest, **more: read(end, entries, *rest, **more) or entries < 20
    )
    result = broken(SHORT_PAGES, "no audio is paid twice")
    assert "lost at separation/create" in result.describe()


def test_it_finds_stamps_by_a_clock_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobRegistry, "stamp", lambda _: time.time())
    result = broken(STEPPED_CLOCKS, "no audio is paid twice", seeds=40)
    assert "sets its clock" in result.describe()


def test_it_finds_a_create_that_is_repeated_after_a_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    fate_of = create.fate_of

    def trusting(error: MVSepError, *, handed_over: bool) -> Fate:
        moved = isinstance(error, ProtocolError) and error.status in (301, 302, 303, 307, 308)
        return fate_of(error, handed_over=handed_over and not moved)

    monkeypatch.setattr(create, "fate_of", trusting)
    result = broken(REDIRECTS, "no audio is paid twice")
    assert "redirect at separation/create" in result.describe()


def test_it_finds_an_error_that_ends_the_whole_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail_all(admission: Admission, error: MVSepError) -> None:
        await admission.fail_queue(error)

    monkeypatch.setattr(Admission, "pause_queue", fail_all)
    result = broken(ONE_ERROR, "a short fault ends no queued song")
    assert ServiceUnavailableError.__name__ in result.describe()


def test_a_failing_run_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create, "fate_of", lambda error, handed_over: Fate.NOT_ACCEPTED)
    result = broken(evolve(CALM, faults=0.5, moves=2, retags=2), "no audio is paid twice")
    smaller = shrink(result, most=10)
    assert smaller.violation is not None
    assert (smaller.scenario.moves, smaller.scenario.retags) == (0, 0)
