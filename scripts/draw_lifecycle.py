"""Draw the life of a job, from the table in `mvsep_async/jobs/lifecycle.py`; the documentation does when it is built.

    python scripts/draw_lifecycle.py > lifecycle.svg

What there is to draw comes from the table, where it goes stands here. States that the same events take to the same
states are drawn as one; failing and being cancelled start from a whole area, as drawing twenty arrows would hide the
rest. A change of the table that this drawing has no place for is an error.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Final, TypeAlias

from attrs import frozen
from drawing import Anchor, Point, arrow, box, document, region, text

from mvsep_async.jobs.lifecycle import HOLDS_SLOT, OVER, TRANSITIONS, JobEvent, JobState

_WIDTH, _HEIGHT = 870, 680
_BOX: Final = (116, 40)

_PLACES: Final[Mapping[JobState, Point]] = {
    JobState.QUEUED: (100, 74),
    JobState.UPLOADING: (250, 156),
    JobState.CREATING: (400, 74),
    JobState.FETCHING: (742, 74),
    JobState.LOST: (100, 336),
    JobState.WAITING: (352, 336),
    JobState.DISTRIBUTING: (482, 336),
    JobState.PROCESSING: (612, 336),
    JobState.MERGING: (742, 336),
    JobState.DONE: (352, 480),
    JobState.DOWNLOADING: (572, 480),
    JobState.FINISHED: (782, 480),
    JobState.FAILED: (572, 628),
    JobState.CANCELLED: (100, 628),
}

_WORKING: Final = (280, 302, 814, 386)
"""Left, top, right, bottom of the area of the states that follow each other in any order."""

_CANCELLABLE: Final[tuple[Point, ...]] = ((22, 32), (848, 32), (848, 404), (22, 404))
_FAILING: Final[tuple[Point, ...]] = ((10, 12), (860, 12), (860, 420), (648, 420), (648, 530), (10, 530))

Edge: TypeAlias = tuple[JobState, JobState]
"""From and to; a state stands for all that behave as it does."""


@frozen
class Route:
    """How an arrow goes, and where its label stands: its middle, and how many letters wide it may be."""

    way: tuple[Point, ...]
    label: Point
    letters: int
    anchor: Anchor = "middle"


_ROUTES: Final[Mapping[Edge, Route]] = {
    (JobState.QUEUED, JobState.CREATING): Route(((158, 66), (342, 66)), (250, 58), 40),
    (JobState.CREATING, JobState.QUEUED): Route(((342, 82), (158, 82)), (250, 103), 24),
    (JobState.QUEUED, JobState.UPLOADING): Route(((132, 94), (132, 148), (192, 148)), (140, 124), 40, "start"),
    (JobState.UPLOADING, JobState.QUEUED): Route(((192, 164), (80, 164), (80, 94)), (88, 184), 14, "start"),
    (JobState.UPLOADING, JobState.CREATING): Route(((308, 156), (356, 156), (356, 94)), (312, 178), 10, "start"),
    (JobState.CREATING, JobState.FETCHING): Route(((458, 74), (684, 74)), (571, 66), 40),
    (JobState.CREATING, JobState.WAITING): Route(
        ((410, 94), (410, 240), (336, 240), (336, 316)), (418, 160), 40, "start"
    ),
    (JobState.CREATING, JobState.LOST): Route(((382, 94), (382, 220), (142, 220), (142, 316)), (254, 212), 40),
    (JobState.LOST, JobState.QUEUED): Route(((54, 316), (54, 94)), (62, 268), 14, "start"),
    (JobState.LOST, JobState.WAITING): Route(((158, 336), (294, 336)), (218, 357), 20),
    (JobState.FETCHING, JobState.WAITING): Route(((742, 94), (742, 264), (368, 264), (368, 316)), (555, 256), 40),
    (JobState.WAITING, JobState.DONE): Route(((352, 386), (352, 460)), (344, 432), 40, "end"),
    (JobState.DONE, JobState.DOWNLOADING): Route(((410, 472), (514, 472)), (462, 451), 15),
    (JobState.DOWNLOADING, JobState.DONE): Route(((514, 488), (410, 488)), (462, 511), 18),
    (JobState.DOWNLOADING, JobState.FINISHED): Route(((630, 472), (724, 472)), (689, 451), 14),
    (JobState.FINISHED, JobState.DOWNLOADING): Route(((724, 488), (630, 488)), (689, 511), 14),
    (JobState.FAILED, JobState.DOWNLOADING): Route(((602, 608), (602, 500)), (610, 572), 40, "start"),
}

_AREAS: Final = {
    JobEvent.FAILED: (_FAILING, JobState.FAILED, Route(((542, 530), (542, 608)), (534, 572), 40, "end")),
    JobEvent.CANCELLED: (_CANCELLABLE, JobState.CANCELLED, Route(((100, 404), (100, 608)), (108, 572), 40, "start")),
}
"""Events that happen in a whole area: the area, where they lead, and the arrow out of it."""


def drawing() -> str:
    """Return the drawing as SVG; raises `ValueError` for a table that it has no place for."""
    if missing := set(JobState) - set(_PLACES):
        raise ValueError(f"the drawing has no place for {missing}")
    edges = _edges()
    if edges.keys() != _ROUTES.keys():
        raise ValueError(f"the drawing lacks {edges.keys() - _ROUTES.keys()}, has {_ROUTES.keys() - edges.keys()}")
    parts = [region(_FAILING, "fail"), region(_CANCELLABLE, "cancel"), _working()]
    for event, (area, target, route) in _AREAS.items():
        _check_area(event, area, target)
        parts += _drawn(route, [event])
    for edge, events in edges.items():
        parts += _drawn(_ROUTES[edge], events)
    parts += [_state(state) for state in JobState]
    parts.append(_legend())
    return document(_WIDTH, _HEIGHT, "The life of a job", parts)


def _drawn(route: Route, events: Iterable[JobEvent]) -> list[str]:
    lines = [line for event in events for line in wrap(event.value, route.letters)]
    return [arrow(route.way), text(route.label, lines, anchor=route.anchor, halo=True)]


def _edges() -> dict[Edge, list[JobEvent]]:
    """Return what is drawn as an arrow of its own, and the events that it stands for."""
    alike = _alike()
    edges: dict[Edge, list[JobEvent]] = defaultdict(list)
    for (state, event), then in TRANSITIONS.items():
        group = alike[state]
        if event in _AREAS or (then in group and len(group) > 1):
            continue
        edge = (group[0], alike[then][0])
        if event not in edges[edge]:
            edges[edge].append(event)
    return dict(edges)


def _alike() -> dict[JobState, tuple[JobState, ...]]:
    """Return with each state those that every event takes to the same states, itself among them."""
    groups: dict[frozenset[tuple[JobEvent, JobState]], list[JobState]] = defaultdict(list)
    for state in JobState:
        leads_to = frozenset((event, then) for (at, event), then in TRANSITIONS.items() if at is state)
        groups[leads_to or frozenset({(JobEvent.FAILED, state)})].append(state)
    # Ends that can be reopened alike have nothing else in common.
    return {
        state: tuple(group) if not OVER.intersection(group) else (state,)
        for group in groups.values()
        for state in group
    }


def _check_area(event: JobEvent, area: tuple[Point, ...], target: JobState) -> None:
    inside = {state for state, (x, y) in _PLACES.items() if _contains(area, x, y)}
    from_table = {state for (state, happened), then in TRANSITIONS.items() if happened is event and then is target}
    if inside != from_table:
        raise ValueError(f"the area of {event.name} holds {inside}, the table has {from_table}")


def _contains(area: tuple[Point, ...], x: float, y: float) -> bool:
    inside = False
    for (x1, y1), (x2, y2) in zip(area, (*area[1:], area[0]), strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


def _working() -> str:
    left, top, right, bottom = _WORKING
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    group = max(_alike().values(), key=len)
    if {state for state, (x, y) in _PLACES.items() if _contains(corners, x, y)} != set(group):
        raise ValueError(f"the area of those that follow each other should hold {group}")
    note = text(((left + right) / 2, bottom - 8), ["any of these follows any other, as the service says"])
    return region(corners, "working") + "\n" + note


def _state(state: JobState) -> str:
    kinds = [kind for kind, has in (("slot", state in HOLDS_SLOT), ("over", state in OVER)) if has]
    return box(_PLACES[state], _BOX, state.value, *kinds)


def _legend() -> str:
    at = 758
    entries: Iterable[tuple[str, str]] = (("slot", "holds a slot"), ("over", "nothing more by itself"))
    rows = []
    for row, (kind, meaning) in enumerate(entries):
        y = 610 + 26 * row
        rows.append(box((at - 50, y), (24, 16), "", kind))
        rows.append(text((at - 32, y + 4), [meaning], anchor="start"))
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(drawing())
