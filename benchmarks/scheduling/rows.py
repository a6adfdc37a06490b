"""The results of the polling policy in virtual time, with their goals."""

from __future__ import annotations

from benchmarks.report import Row
from benchmarks.scheduling.measure import TWO_CLIENTS, Measured
from benchmarks.scheduling.measure import measure as play_all

__all__ = ["measure"]


def measure(quick: bool) -> list[Row]:
    """Run all scenarios, the first one also with other polling policies."""
    return [row for measured in play_all(quick) for row in _rows(measured)]


def _rows(measured: Measured) -> list[Row]:
    label, outcome, goals = f"{measured.scenario} ({measured.client})", measured.outcome, measured.goals
    rows = [
        Row(
            name=f"{label}: slots in use",
            unit="of time",
            ours=outcome.use,
            peer=outcome.use / measured.use,
            peer_name="oracle",
            goal=None if goals is None else goals.use,
            at_least=True,
        )
    ]
    if measured.scenario in TWO_CLIENTS:
        rows = []  # they upload ahead for each other's slots, which no oracle with one client does
    if goals is not None:
        figures = (
            ("polls", "of the limit", outcome.poll_share, goals.poll_share),
            ("longest time not polled", "s", outcome.longest_gap, goals.gap),
            ("longest wait of a create", "s", outcome.slowest_create, goals.create),
            ("answers 429", "", float(outcome.refused_requests), goals.refused),
            ("stage shown, median", "s", outcome.shown_median, None),
            ("stage shown, p95", "s", outcome.shown_p95, None),
            ("end noticed, median", "s", outcome.noticed_median, None),
        )
        rows += [Row(name=f"{label}: {name}", unit=unit, ours=value, goal=goal) for name, unit, value, goal in figures]
    return rows
