import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.catalogue.algorithm import AccountPlan, Needs
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.errors import InvalidRequestError, MVSepError, ProtocolError
from mvsep_async.http.call import Json
from tests.catalogue.samples import entry, select
from tests.models.mutations import mutated, outcome
from tests.recorded import recorded

SAMPLE = recorded("algorithms_sample")
CATALOGUE = Catalogue(SAMPLE)
MANY = Catalogue(
    [
        entry(40, "BS Roformer (vocals, instrumental)", id=39, order_id=2),
        entry(63, "BS Roformer SW (vocals, bass, drums, guitar, piano, other)", id=61),
        entry(48, "MelBand Roformer (vocals, instrumental)", id=47),
        entry(35, "MVSep MelBand Roformer (vocals, instrum)", id=34),
        entry(14, "Zero Shot (Query Based) (Low quality)"),
        entry(70, "Twin (a, b)"),
        entry(71, "twin (c)"),
        entry(72, "Twin (c)", algorithm_group={"name": "Roformers"}, description="finds strings, not songs"),
        entry(0, "spleeter"),
    ]
)


@pytest.mark.parametrize(
    ("wanted", "sep_type"),
    [
        (40, 40),
        ("40", 40),
        (" 63 ", 63),
        (0, 0),
        ("bs roformer", 40),
        ("BS  ROFORMER SW", 63),
        ("BS Roformer (vocals, instrumental)", 40),
        ("zero shot", 14),
        ("Zero Shot (Query Based) (Low quality)", 14),
        ("twin (a, B)", 70),
        ("Spleeter", 0),
    ],
)
def test_find(wanted: int | str, sep_type: int) -> None:
    assert MANY.find(wanted).sep_type == sep_type


def test_an_algorithm_finds_itself() -> None:
    assert MANY.find(MANY[40]) is MANY[40]


def test_a_number_is_never_an_id() -> None:
    with pytest.raises(InvalidRequestError, match=r"39 is the id of BS Roformer \(vocals, instrumental\) = 40"):
        MANY.find(39)


@pytest.mark.parametrize("wanted", ["twin", "Twin (C)"])
def test_an_ambiguous_name_lists_the_candidates(wanted: str) -> None:
    with pytest.raises(InvalidRequestError, match="is ambiguous") as caught:
        MANY.find(wanted)
    assert "twin (c) = 71" in str(caught.value)
    assert set(caught.value.candidates) >= {"twin (c)", "Twin (c)"}


@pytest.mark.parametrize(
    ("wanted", "suggested"),
    [
        ("BS Rofromer", "BS Roformer (vocals, instrumental) = 40"),
        ("melband", "MelBand Roformer (vocals, instrumental) = 48"),
        ("sw guitar piano", "BS Roformer SW"),
        ("splitter", "spleeter = 0"),
    ],
)
def test_an_unknown_name_suggests_the_nearest_with_their_numbers(wanted: str, suggested: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        MANY.find(wanted)
    assert suggested in str(caught.value)
    assert caught.value.candidates


@pytest.mark.parametrize("wanted", ["", "???", "x" * 10_000, 9999, "9" * 5000, -1])
def test_an_unknown_algorithm_has_a_short_error(wanted: int | str) -> None:
    with pytest.raises(InvalidRequestError, match="unknown algorithm") as caught:
        MANY.find(wanted)
    assert len(str(caught.value)) < 300


def test_search_ranks_and_needs_no_order() -> None:
    assert [found.sep_type for found in MANY.search("bs roformer sw")] == [63]
    assert [found.sep_type for found in MANY.search("roformer BS")] == [40, 63]
    assert [found.sep_type for found in MANY.search("Rofo")] == [40, 63, 48, 35, 72]
    assert [found.sep_type for found in MANY.search("roformers")] == [72]
    assert [found.sep_type for found in MANY.search("strings")] == [72]
    assert MANY.search("saxophone") == []
    assert MANY.search("") == []


def test_a_search_without_full_match_returns_partial_matches() -> None:
    assert MANY.search("melband tuba")[0].sep_type == 48


def test_find_decodes_only_the_algorithm_that_it_returns() -> None:
    class Forbidden(str):
        __slots__ = ()

        def casefold(self) -> str:
            raise AssertionError("a description was read")

    broken = entry(2, "Broken", algorithm_fields=[{"options": "{"}])
    catalogue = Catalogue([entry(1, "Good", description=Forbidden("x")), broken])
    assert catalogue.find("good").sep_type == 1
    with pytest.raises(ProtocolError):
        catalogue.find("broken")


def test_the_recorded_sample() -> None:
    assert len(CATALOGUE) == 5
    assert [found.sep_type for found in CATALOGUE] == [63, 40, 37, 56, 103]
    found = CATALOGUE.find("BS Roformer")
    assert (found.id, found.group, found.plan, found.needs) == (
        39,
        "Vocals / Instrumental",
        AccountPlan.EVERYONE,
        Needs.FILE,
    )
    assert (str(found.rating), found.usage, found.price_coefficient) == ("4.6244", 116844, 1)
    assert [field.name for field in found.fields] == ["add_opt1", "add_opt2", "add_opt3"]
    assert found.fields[0].options["171"] == "124 bands (SDR vocals: 12.33, SDR instrum: 18.64)"
    assert (found.fields[0].default, found.fields[0].required) == ("81", True)
    assert found.fields[1].help_link == "https://mvsep.com/faq/11"
    assert found.short_description("ru").startswith("Модель BS Roformer")
    assert found.short_description("de").startswith("BS Roformer model")
    assert found.allow_resample is True
    assert found.extra["rating"] == {"average": "4.6244", "total": 205}
    assert isinstance(found.extra["algorithm_group"], dict)
    assert CATALOGUE.find(103).fields[1].free_text


def test_the_stems_of_the_recorded_sample() -> None:
    assert CATALOGUE.stems("BS Roformer SW") == (
        "Vocals",
        "Bass",
        "Drums",
        "Guitar",
        "Piano",
        "Other",
        "Instrumental",
    )
    assert CATALOGUE.stems(40) == ("Vocals", "Other")
    assert CATALOGUE.stems(40, {"add_opt1": "85"}) == ("Vocals", "Instrumental")
    assert CATALOGUE.stems(40, {"add_opt1": 171, "Set of stems": "Include fullness stems"}) == (
        "Vocals",
        "Instrumental",
        "Vocals (fullness 1)",
        "Instrumental (fullness 1)",
        "Vocals (fullness 2)",
        "Vocals (fullness 3)",
    )
    assert CATALOGUE.stems("DrumSep")[:2] == ("Crash", "Drums (full)")
    assert CATALOGUE.stems("DrumSep", {"add_opt1": "6", "add_opt2": 1}) == (
        "Cymbals",
        "Kick",
        "Residual",
        "Snare",
        "Toms",
    )
    assert CATALOGUE.stems("VibeVoice") == ()


def test_several_answers_are_joined_and_the_first_entry_wins() -> None:
    joined = Catalogue([entry(1, "A")], {"success": "true", "data": [entry(1, "B"), entry(2, "C")]})
    assert joined.names == {1: "A", 2: "C"}
    assert Catalogue(joined.entries).names == joined.names


def test_entries_without_number_or_name_are_left_out() -> None:
    assert Catalogue([entry(1, "A"), entry(2, ""), {"render_id": None, "name": "x"}, {"name": "y"}]).names == {1: "A"}


@pytest.mark.parametrize("answer", [None, 7, "x", {"success": True}, [7], [[]], [None]])
def test_other_answers_are_protocol_errors(answer: Json) -> None:
    with pytest.raises(ProtocolError, match="app/algorithms"):
        Catalogue(answer)


def test_what_an_algorithm_needs() -> None:
    def needs(**changes: Json) -> Needs:
        return Catalogue([entry(1, "A", **changes)])[1].needs

    assert needs(audio_widget="single_upload") is Needs.FILE
    assert needs(audio_widget=None) is Needs.FILE
    assert needs(audio_widget="matchering_upload") is Needs.PAIR
    assert needs(audio_widget="no_upload") is Needs.NOTHING
    assert needs(audio_upload_disabled="1", audio_widget="single_upload") is Needs.NOTHING


def test_an_older_answer_without_the_newer_keys() -> None:
    older = {"render_id": "9", "name": "Old", "orientation": 1, "additional_fields": None}
    described = json.dumps({"add_opt1": {"text": "Model", "options": ["a", "b"]}})
    catalogue = Catalogue([older, {**older, "render_id": 10, "additional_fields": described}])
    assert (catalogue[9].plan, catalogue[9].fields, catalogue[9].price_coefficient) == (AccountPlan.REGISTERED, (), 1)
    (field,) = catalogue[10].fields
    assert (field.name, field.label, field.options) == ("add_opt1", "Model", {"0": "a", "1": "b"})


@pytest.mark.parametrize("overrides", [[1], {"171": 7}, {"171": {"mode": []}}, "{", 7])
def test_unreadable_overrides_are_ignored(overrides: Json) -> None:
    field = select(1, {"171": "new"}, "171", output_overrides=overrides)
    catalogue = Catalogue([entry(1, "A", algorithm_fields=[field], output_stems='["vocals"]')])
    assert catalogue.stems(1) == ("vocals",)


@given(mutated(SAMPLE), st.text(max_size=12))
def test_any_mutation_of_a_catalogue_decodes_or_is_refused(answer: Json, text: str) -> None:
    catalogue = outcome(lambda: Catalogue(answer))
    if isinstance(catalogue, MVSepError):
        return
    outcome(lambda: catalogue.find(text))
    outcome(lambda: catalogue.search(text))
    for number in catalogue.names:
        outcome(lambda number=number: catalogue.validate(number, {text: text}))
        outcome(lambda number=number: catalogue.stems(number, {}))
        price = outcome(lambda number=number: catalogue.credits(number, {}, 200))
        assert isinstance(price, MVSepError) or price >= 1


@given(st.text(max_size=30))
def test_find_returns_one_algorithm_or_refuses(text: str) -> None:
    found = outcome(lambda: MANY.find(text))
    assert isinstance(found, InvalidRequestError) or found.sep_type in MANY


@given(st.sampled_from(list(MANY)))
def test_a_whole_name_in_any_case_is_found(algorithm) -> None:  # type: ignore[no-untyped-def]
    alike = [other for other in MANY if other.name.casefold() == algorithm.name.casefold()]
    found = outcome(lambda: MANY.find(f"  {algorithm.name.upper()} "))
    assert found is algorithm if len(alike) == 1 else isinstance(found, InvalidRequestError)


def test_an_answer_that_is_nested_by_group() -> None:
    entries = recorded("algorithms_sample")
    assert isinstance(entries, list)
    groups: Json = [
        {"id": 1, "name": "A", "algorithms": entries[:2]},
        {"id": 2, "name": "B", "algorithms": entries[2:]},
    ]
    assert Catalogue(groups).names == Catalogue(entries).names
