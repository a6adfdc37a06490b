"""The time to decode the catalogue, compared with `json.loads` of its megabyte.

Ratios of the best of several rounds in one run, so that a slow machine does not matter. The catalogue is the sandbox's,
which has the size of the real one, brought to the 117 algorithms of the real one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from benchmarks.report import Row
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.store import SCOPES
from mvsep_async.sandbox.catalogue import catalogue_json

__all__ = ["answer", "measure"]

ALGORITHMS: Final = 117
"""As many as the service had when its answer was recorded."""


def answer() -> bytes:
    """Return an answer of `app/algorithms` with as many algorithms as the real one."""
    entries = json.loads(catalogue_json(SCOPES))
    number = max(entry["render_id"] for entry in entries)
    more = [
        {**entry, "render_id": number + place, "name": f"Another {entry['name']}", "algorithm_descriptions": []}
        for place, entry in enumerate(entries[: ALGORITHMS - len(entries)], 1)
    ]
    return json.dumps([*entries, *more]).encode()


def measure(quick: bool) -> list[Row]:
    """Time decoding the catalogue, alone and with a first use of it."""
    body = answer()
    rounds = 5 if quick else 30
    cases: Sequence[tuple[str, Callable[[], Any], float | None]] = [
        ("the catalogue", lambda: Catalogue(json.loads(body)), 3.0),
        ("… and one algorithm found by name, its options checked", lambda: _use(Catalogue(json.loads(body))), 3.0),
        ("… and one search", lambda: Catalogue(json.loads(body)).search("bs roformer"), 3.0),
        ("… and every algorithm decoded whole", lambda: list(Catalogue(json.loads(body))), None),
    ]
    alone = _best(lambda: json.loads(body), rounds)
    return [
        Row(name=name, unit="s", ours=_best(call, rounds), peer=alone, peer_name="json.loads", goal=goal)
        for name, call, goal in cases
    ]


def _use(catalogue: Catalogue) -> dict[str, str]:
    return catalogue.validate("BS Roformer", {"add_opt1": "81", "Overlap": "87.5%"})


def _best(call: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times)
