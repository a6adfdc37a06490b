"""Valid answers with one value changed anywhere, for tests of the decoding."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st

from mvsep_async.errors import MVSepError
from mvsep_async.http.call import Json

T = TypeVar("T")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        ["", "0", "1", "true", "nan", "1e999", "-3", "9" * 400, "\ud800", "{", "[1]", "null", "https://["]
    )
    | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def outcome(call: Callable[[], T]) -> T | MVSepError:
    """Return what `call` returns, or the `MVSepError` that it raises; anything else that it raises goes on."""
    try:
        return call()
    except MVSepError as error:
        return error


@st.composite
def mutated(draw: st.DrawFn, answer: Json) -> Json:
    """Replace, remove or add one to three values at any depth of `answer`."""
    found = copy.deepcopy(answer)
    for _ in range(draw(st.integers(1, 3))):
        found = _mutate(draw, found)
    return found


def _mutate(draw: st.DrawFn, node: Json) -> Json:
    if isinstance(node, dict) and node and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(node)))
        match draw(st.sampled_from(["into", "into", "remove", "add"])):
            case "remove":
                del node[key]
            case "add":
                node[draw(st.text(max_size=6))] = draw(values)
            case _:
                node[key] = _mutate(draw, node[key])
        return node
    if isinstance(node, list) and node and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(node) - 1))
        node[place] = _mutate(draw, node[place])
        return node
    return draw(values)
