"""The rules of decoding, one by one."""

from collections.abc import Mapping
from functools import partial

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import ProtocolError
from mvsep_async.http.call import Json
from mvsep_async.http.token import Token
from mvsep_async.models.decode import decode, payload, wire
from mvsep_async.models.values import flat_text, json_text, url_text
from tests.models.mutations import outcome, values


@frozen(kw_only=True)
class Inner:
    url: str = field(metadata=wire("url", "link", via=url_text))
    extra: Mapping[str, Json] = field(factory=dict)


@frozen(kw_only=True)
class Thing:
    id: int
    name: str = "unnamed"
    price: float = 0.0
    on: bool = False
    note: str | None = None
    count: int | None = None
    inner: Inner | None = None
    parts: tuple[Inner, ...] = ()
    api_token: Token | None = None
    labels: tuple[str, ...] = field(default=(), metadata=wire("labels", first=json_text))
    extra: Mapping[str, Json] = field(factory=dict)


def thing(**answer: Json) -> Thing:
    return decode({"id": 1, **answer}, Thing, what="things")


@pytest.mark.parametrize(
    ("sent", "read"),
    [(7, 7), ("7", 7), (" -7 ", -7), (7.0, 7), ("7.0", 7), (True, 1), ("1e3", 1000)],
)
def test_whole_numbers_come_in_many_forms(sent: Json, read: int) -> None:
    assert decode({"id": sent}, Thing, what="things").id == read


@pytest.mark.parametrize("sent", ["", "seven", 7.5, float("nan"), float("inf"), "9" * 400, [7], {}])
def test_other_values_are_not_whole_numbers(sent: Json) -> None:
    with pytest.raises(ProtocolError, match="things"):
        decode({"id": sent}, Thing, what="things")


@pytest.mark.parametrize(
    ("sent", "read"),
    [(1, True), (0, False), ("1", True), ("0", False), ("true", True), ("False", False), (True, True), (" ON ", True)],
)
def test_flags_come_in_many_forms(sent: Json, read: bool) -> None:
    assert thing(on=sent).on is read


def test_other_values_are_not_flags() -> None:
    with pytest.raises(ProtocolError, match="on should be true or false"):
        thing(on=2)


def test_numbers_come_as_text_and_text_as_numbers() -> None:
    found = thing(price="42.5", name=12, note=1.5)
    assert (found.price, found.name, found.note) == (42.5, "12", "1.5")


def test_null_means_the_default() -> None:
    found = thing(name=None, price=None, on=None, note=None, inner=None, parts=None, labels=None)
    assert found == Thing(id=1)


def test_an_empty_php_array_means_no_value() -> None:
    assert thing(inner=[], name=[], price=[], note=[]) == Thing(id=1)


def test_a_required_value_cannot_be_null() -> None:
    with pytest.raises(ProtocolError, match="id should be present"):
        decode({"id": None, "name": "x"}, Thing, what="things")


def test_what_does_not_fit_an_optional_field_stays_in_extra() -> None:
    found = thing(count="many", inner={"no": "url"})
    assert (found.count, found.inner) == (None, None)
    assert found.extra == {"count": "many", "inner": {"no": "url"}}


def test_what_does_not_fit_another_field_names_the_place() -> None:
    with pytest.raises(ProtocolError, match=r"things .*parts\.1\.url should be present"):
        thing(parts=[{"url": "https://a/b"}, {"url": None, "link": None}])


def test_unknown_keys_are_kept_but_peaks_and_secrets_are_not() -> None:
    found = thing(new={"deep": [1, {"peaks": [0.5] * 9, "a": 2}]}, peaks=[1] * 1000, password="secret")
    assert found.extra == {"new": {"deep": [1, {"a": 2}]}}


def test_deeply_nested_answers_are_refused() -> None:
    deep: Json = 1
    for _ in range(400):
        deep = [deep]
    with pytest.raises(ProtocolError):
        thing(new=deep)


def test_an_object_without_a_known_key_is_refused() -> None:
    with pytest.raises(ProtocolError, match="an object with"):
        decode({"fish": 1}, Inner, what="things")


def test_a_list_with_holes_comes_as_an_object() -> None:
    assert [part.url for part in thing(parts={"1": {"url": "a"}, "5": {"url": "b"}}).parts] == ["a", "b"]
    assert decode({"3": {"id": 4}}, list[Thing], what="things") == [Thing(id=4)]


def test_null_entries_of_a_list_are_skipped() -> None:
    assert decode([None, {"id": 4}], tuple[Thing, ...], what="things") == (Thing(id=4),)


def test_the_preferred_key_that_fits_is_used() -> None:
    assert thing(inner={"url": None, "link": "https:\\/\\/a\\/b"}).inner == Inner(url="https://a/b")
    found = thing(inner={"url": "u", "link": "l"}).inner
    assert found == Inner(url="u", extra={"link": "l"})


def test_json_inside_json_is_decoded() -> None:
    assert thing(labels='["a", "b"]').labels == ("a", "b")
    with pytest.raises(ProtocolError, match="labels should be JSON text"):
        thing(labels='["a"')


def test_a_token_is_hidden_as_soon_as_it_is_read() -> None:
    found = thing(api_token="abc123")
    assert found.api_token == Token("abc123")
    assert "abc123" not in repr(found)


def test_a_token_in_an_address_is_removed() -> None:
    assert url_text("https://x/get?api_token=abc&hash=1") == "https://x/get?hash=1"


def test_an_error_shows_little_and_no_secret() -> None:
    with pytest.raises(ProtocolError) as caught:
        thing(name={"api_token": "s3cret-value", "password": "hunter2", "long": "x" * 5000, "many": list(range(5000))})
    text = str(caught.value)
    assert "s3cret" not in text
    assert "hunter2" not in text
    assert len(text) < 350
    assert caught.value.__context__ is None


def test_the_envelope_is_optional() -> None:
    assert payload({"success": True, "data": [1]}) == [1]
    assert payload([1]) == [1]
    assert payload({"id": 1}) == {"id": 1}
    assert payload({"id": 1, "data": None}) == {"id": 1, "data": None}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("a  b\n", "a b"),
        (["a", "b", None], "a; b"),
        ({"email": ["is taken", "is short"]}, "email: is taken; is short"),
        (None, None),
        (True, None),
        ([], None),
        (12, "12"),
    ],
)
def test_a_message_of_any_shape_becomes_one_line(message: Json, text: str | None) -> None:
    assert flat_text(message) == text


@given(values)
def test_any_json_decodes_or_is_refused(value: Json) -> None:
    for answer in (value, {"id": 1, "inner": value, "parts": value}, {"id": value, "name": value, "labels": value}):
        found = outcome(partial(decode, answer, Thing, what="things"))
        assert isinstance(found, Thing) or len(str(found)) < 500


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_message_can_be_flattened(message: Json) -> None:
    assert flat_text(message) is None or isinstance(flat_text(message), str)
