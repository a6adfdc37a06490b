"""The separation types known offline, and the script that brings them up to date."""

import json
import shutil
from pathlib import Path

import pytest

import mvsep_async
from mvsep_async.catalogue.sep_types import DATA, catalogue_facts, sep_types
from mvsep_async.sandbox.catalogue_entries import entries
from scripts import update_catalogue
from tests.recorded import FOLDER


def test_the_known_types() -> None:
    known = sep_types()
    assert len(known) == 119
    assert known[40] == ("BS Roformer (vocals, instrumental)", 0)
    assert [number for number, kind in known.items() if kind.orientation == 2] == [26, 28, 30]
    assert {62, 68} <= known.keys()


def test_the_names_are_those_of_the_recorded_answers() -> None:
    sample = json.loads((FOLDER / "algorithms_sample.json").read_text("utf-8"))
    shared = {entry["render_id"]: entry["name"] for entry in sample if entry["render_id"] in sep_types()}
    assert len(shared) == 5
    assert shared == {number: sep_types()[number].name for number in shared}


def test_the_script_reads_the_facts_back_from_answers() -> None:
    by_number = {fact["sep_type"]: fact for fact in catalogue_facts()}
    for entry in entries():
        facts = by_number[entry["render_id"]]
        found = update_catalogue.facts_of(entry)
        if facts["outputs"] is None:  # the sandbox makes them up from the name
            found["outputs"] = None
        if facts["sep_type"] not in RECORDED:
            assert found == facts


RECORDED = {
    entry["render_id"]
    for entry in json.loads(
        (Path(mvsep_async.__file__).parent / "sandbox" / "data" / "recorded_algorithms.json").read_text("utf-8")
    )
}


def test_an_answer_brings_the_files_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in DATA.glob("*.json"):
        shutil.copy(file, tmp_path)
    answer = tmp_path / "answer.json"
    changed = {**entries()[0], "name": "Renamed"}
    added = {**entries()[0], "render_id": 999, "name": "Added"}
    generator = {**entries()[0], "render_id": 998, "audio_widget": "no_upload"}
    answer.write_text(json.dumps({"success": True, "data": [changed, added, generator]}))
    update_catalogue.main([str(answer), "--data", str(tmp_path)])
    facts = json.loads((tmp_path / "catalogue.json").read_text("utf-8"))
    assert (facts[0]["name"], facts[-1]["sep_type"], len(facts)) == ("Renamed", 999, 118)
    assert json.loads((tmp_path / "other_scopes.json").read_text("utf-8"))[-1]["sep_type"] == 998
