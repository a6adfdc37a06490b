"""The offline list, and the script that writes it."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from mvsep_async.errors import InvalidRequestError
from tests.catalogue.offline import SEP_TYPES, sep_type_of
from tests.recorded import FOLDER

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_sep_types.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sep_types", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_module_is_what_the_script_writes(script: ModuleType) -> None:
    types = script.read_list(script.LIST.read_text("utf-8"))
    assert script.MODULE.read_text("utf-8") == script.write_module(types)
    assert {number: name for number, (name, _) in types.items()} == dict(SEP_TYPES)


def test_the_list_survives_reading_and_writing(script: ModuleType) -> None:
    types = script.read_list(script.LIST.read_text("utf-8"))
    assert script.read_list(script.write_list(types)) == types


def test_a_live_answer_brings_the_list_up_to_date(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "LIST", tmp_path / "list.csv")
    monkeypatch.setattr(script, "MODULE", tmp_path / "module.py")
    script.LIST.write_text("sep_type,name,fields\n40,Old name,\n0,spleeter,add_opt1=Model type\n")
    script.main([str(FOLDER / "algorithms_sample.json")])
    types = script.read_list(script.LIST.read_text("utf-8"))
    assert list(types) == [40, 0, 63, 37, 56, 103]
    assert types[40] == (
        "BS Roformer (vocals, instrumental)",
        "add_opt1=Vocal model type; add_opt2=Overlap; add_opt3=Set of stems",
    )
    found: dict[str, object] = {}
    exec(script.MODULE.read_text("utf-8"), found)
    assert found["SEP_TYPES"] == {number: name for number, (name, _) in sorted(types.items())}


def test_the_names_are_those_of_the_recorded_answers() -> None:
    sample = json.loads((FOLDER / "algorithms_sample.json").read_text("utf-8"))
    known = [entry for entry in sample if entry["render_id"] in SEP_TYPES]
    assert len(known) == 4
    assert all(SEP_TYPES[entry["render_id"]] == entry["name"] for entry in known)


def test_known_offline_by_number_and_name() -> None:
    assert len(SEP_TYPES) == 90
    assert sep_type_of(40) == sep_type_of("40") == sep_type_of("bs roformer") == 40
    assert sep_type_of("BS Roformer SW") == 63
    with pytest.raises(InvalidRequestError, match="Matchering"):
        sep_type_of("matchring")
    with pytest.raises(InvalidRequestError, match="known offline"):
        sep_type_of(9999)
