"""The generated drawings of the documentation agree with the code."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from mvsep_async.jobs import lifecycle
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from tests.docs.pages import ROOT

DRAWINGS = ["lifecycle", "layers"]


@pytest.fixture
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script that makes a drawing."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    name = f"draw_{request.param}"
    yield import_module(name)
    sys.modules.pop(name)


@pytest.mark.parametrize("script", DRAWINGS, indirect=True)
def test_a_drawing_is_xml_that_can_stand_in_a_page(script: Any) -> None:
    drawn = script.drawing()
    ElementTree.fromstring(drawn)
    assert "\n\n" not in drawn  # where Markdown would end it


@pytest.mark.parametrize("script", ["lifecycle"], indirect=True)
def test_every_state_and_every_event_is_drawn(script: Any) -> None:
    words = " ".join(ElementTree.fromstring(script.drawing()).itertext()).split()
    drawn = " ".join(words)
    assert [state for state in JobState if state.value not in words] == []
    said = {event for event in JobEvent if event.name.startswith("STATUS_") and event is not JobEvent.STATUS_DONE}
    assert [event for event in JobEvent if event.value not in drawn] == sorted(said, key=list(JobEvent).index)


@pytest.mark.parametrize("script", ["lifecycle"], indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        {(JobState.QUEUED, JobEvent.FOUND): JobState.DONE},
        {(JobState.QUEUED, JobEvent.FAILED): JobState.DONE},
        {(JobState.DONE, JobEvent.CANCELLED): JobState.CANCELLED},
        {(JobState.WAITING, JobEvent.FETCHED): JobState.LOST},
    ],
)
def test_a_table_that_the_drawing_has_no_place_for_is_an_error(
    script: Any, change: dict[tuple[JobState, JobEvent], JobState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "TRANSITIONS", lifecycle.TRANSITIONS | change)
    with pytest.raises((ValueError, KeyError)):
        script.drawing()


@pytest.mark.parametrize("script", ["layers"], indirect=True)
def test_a_part_stands_above_what_it_imports(script: Any) -> None:
    below = script._reduced(script._condensed(script.imports()))
    levels = script._levels(below)
    assert all(levels[node] < levels[lower] for node, lowers in below.items() for lower in lowers)
    assert {name for node in levels for name in node} == set(script.imports())


@pytest.mark.parametrize("script", ["layers"], indirect=True)
def test_imports_for_type_checkers_alone_are_not_drawn(script: Any) -> None:
    code = """
if TYPE_CHECKING:
    from mvsep_async.sandbox import Sandbox
from mvsep_async.client import MVSepClient
def later():
    from mvsep_async.library.run import separate_library
"""
    assert list(script._imported(ast.parse(code))) == ["client", "library"]
    assert "cli" in script.imports()
