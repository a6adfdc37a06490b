"""Any response is decoded, or mapped to an error of this package."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import (
    AuthenticationError,
    InvalidRequestError,
    JobNotFoundError,
    MVSepError,
    NoFreeSlotError,
    ProtocolError,
    ServiceUnavailableError,
)
from mvsep_async.http.call import Call, Json
from mvsep_async.http.redaction import protect
from mvsep_async.http.response import MAX_BODY, HTTPResponse, about_slots, decode_response, excerpt, parse_json, reasons
from mvsep_async.http.token import Token

GET = Call(method="GET", path="app/queue")
LOOK = Call(method="GET", path="separation/get", tolerant=True)
CREATE = Call(method="POST", path="separation/create", repeatable=False)
PAGE = b"<!DOCTYPE html>\n<html><head><title>mvsep.com | 502: Bad gateway</title></head></html>"

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("\ud83d"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
envelopes = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("success", "data", "message", "errors", "error", "status"), values)
)
bodies = st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()) | envelopes.map(
    lambda value: json.dumps(value).encode()
)  # fmt: skip
headers = st.dictionaries(
    st.sampled_from(["retry-after", "x-ratelimit-reset", "date", "content-type", "location"]), st.text(max_size=30)
)


@given(st.sampled_from([GET, LOOK, CREATE]), st.integers(100, 999), headers, bodies, st.booleans())
def test_any_answer_is_understood_or_one_of_our_errors(
    call: Call, status: int, headers: dict[str, str], body: bytes, overlong: bool
) -> None:
    error = failure_of(call, HTTPResponse(status, headers, body, overlong))
    assert "\n" not in str(error)
    assert str(error).encode()
    assert len(str(error)) < 6000


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb'"a\ud83d"', "a\ufffd"),
        (rb'"\uDC00\ud800\ud83d\ude00"', "\ufffd\ufffd😀"),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
        (rb'"\\ud83d \\\ud83d \\\\ud83d"', "\\ud83d \\\ufffd \\\\ud83d"),
        (rb'"\ud83"', None),
        (b'\xef\xbb\xbf"bom"', "bom"),
        (b'"\xed\xa0\x80"', None),
    ],
)
def test_half_a_surrogate_pair_comes_as_a_replacement_character(body: bytes, text: str | None) -> None:
    answer = HTTPResponse(200, {}, body)
    if text is not None:
        assert decode_response(GET, answer) == text
    else:
        assert isinstance(failure_of(GET, answer), ProtocolError)


@pytest.mark.parametrize("depth", [10, 300, 600, 900, 950, 990, 5000, 100_000])
@pytest.mark.parametrize("wrap", ['{{"success": false, "message": {}}}', '{{"data": {}}}', "{}"])
def test_deep_nesting_ends_in_an_answer_or_an_error(depth: int, wrap: str) -> None:
    body = wrap.format("[" * depth + "]" * depth).encode()
    with suppress(RecursionError):  # which the wire turns into our own
        failure_of(GET, HTTPResponse(200, {}, body))


def failure_of(call: Call, answer: HTTPResponse) -> MVSepError | None:
    try:
        decode_response(call, answer)
    except MVSepError as error:
        return error
    return None


def said(status: int, body: Json | bytes, call: Call = GET) -> MVSepError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(MVSepError) as caught:
        decode_response(call, HTTPResponse(status, {}, raw))
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"", ProtocolError),
        (200, b" \r\n", ProtocolError),
        (200, b'{"success": tr', ProtocolError),
        (200, b"\xff\xfe", ProtocolError),
        (200, PAGE, ServiceUnavailableError),
        (200, b"<!-- a --> <!-- b -->\n<html>", ServiceUnavailableError),
        (500, b"{}", ServiceUnavailableError),
        (503, PAGE, ServiceUnavailableError),
        (520, b"", ServiceUnavailableError),
        (524, PAGE, ServiceUnavailableError),
        (599, b"", ServiceUnavailableError),
        (413, PAGE, InvalidRequestError),
        (401, b"", AuthenticationError),
        (401, PAGE, ServiceUnavailableError),
        (403, PAGE, ServiceUnavailableError),
        (404, PAGE, ServiceUnavailableError),
        (404, {"message": "No such thing"}, ServiceUnavailableError),
        (404, {"success": False, "message": "No such thing"}, JobNotFoundError),
        (404, {"errors": ["File or File Hash not found"]}, JobNotFoundError),
        (403, {"message": "Forbidden"}, ServiceUnavailableError),
        (403, {"success": False, "errors": ["Forbidden"]}, AuthenticationError),
        *((status, {"message": "?"}, ServiceUnavailableError) for status in (405, 408, 409, 418, 425, 451)),
        (302, b"{}", ProtocolError),
        (400, {"success": False, "data": {"message": "Wrong api token"}}, AuthenticationError),
        (400, {"success": False, "errors": {"api_token": ["is required"]}}, AuthenticationError),
        (200, {"success": False, "message": "Invalid hash"}, InvalidRequestError),
        (200, {"success": "false", "message": "Invalid hash"}, InvalidRequestError),
        (200, {"success": 0}, InvalidRequestError),
        (400, {"success": True}, InvalidRequestError),
    ],
)
def test_refusals_have_their_own_errors(status: int, body: Json | bytes, kind: type[MVSepError]) -> None:
    error = said(status, body)
    assert type(error) is kind
    assert getattr(error, "status", status) == status


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {"timestamp": 1, "status": 404, "error": "Not Found", "path": "/api/x"}, ServiceUnavailableError),
        (400, {"timestamp": 1, "status": 400, "error": "Bad Request", "path": "/api/x"}, InvalidRequestError),
        (404, {"status": "error", "message": "no route"}, ServiceUnavailableError),
        (404, {"success": False, "errors": ["no route"]}, ServiceUnavailableError),
        (403, {"success": False, "errors": ["Forbidden"]}, ServiceUnavailableError),
        (403, {"success": False, "errors": {"api_token": ["is wrong"]}}, AuthenticationError),
        (404, {"success": False, "errors": ["Seperation type is not set"]}, InvalidRequestError),
    ],
)
def test_a_gateway_that_answers_a_create_in_json_refuses_nothing(
    status: int, body: Json, kind: type[MVSepError]
) -> None:
    assert type(said(status, body, CREATE)) is kind


@pytest.mark.parametrize("success", [True, "true", 1, "1", None])
def test_success_comes_in_many_forms(success: Json) -> None:
    assert decode_response(GET, HTTPResponse(200, {}, json.dumps({"success": success, "data": 1}).encode()))


def test_many_comments_before_nothing_are_distinguished_at_once() -> None:
    assert isinstance(said(200, b"<!--a-->" * 20_000 + b"x"), ProtocolError)
    assert isinstance(said(200, b"<!--" * 20_000), ProtocolError)


def test_an_answer_beyond_the_cap_is_not_parsed() -> None:
    with pytest.raises(ProtocolError, match=str(MAX_BODY)):
        decode_response(GET, HTTPResponse(200, {}, b"{}", overlong=True))


@pytest.mark.parametrize("status", [200, 400, 404])
def test_a_look_says_not_yet_by_a_refusal(status: int) -> None:
    body = {"success": False, "status": "not_found"}
    assert decode_response(LOOK, HTTPResponse(status, {}, json.dumps(body).encode())) == body


@pytest.mark.parametrize(
    "words",
    [
        "You already have 10 unfinished separations, please wait until one is finished",
        "Too many concurrent jobs",
        "Maximum number of active separations reached",
        "Your limit of simultaneous jobs is 1",
        "No free slots",
        "A file is already in queue",
        "Please wait for the previous job to finish",
    ],
)
def test_words_about_slots(words: str) -> None:
    assert about_slots(words)
    body: Json = {"success": False, "data": {"message": words}}
    assert isinstance(said(400, body, CREATE), NoFreeSlotError)
    assert isinstance(said(400, body), InvalidRequestError)
    assert isinstance(said(400, {"success": False, "errors": {"audiofile": [words]}}, CREATE), InvalidRequestError)


@pytest.mark.parametrize(
    "words", ["The selected sep type is invalid.", "The audiofile field is required.", "The url format is invalid."]
)
def test_words_about_something_else(words: str) -> None:
    assert not about_slots(words)
    assert isinstance(said(400, {"success": False, "message": words}, CREATE), InvalidRequestError)


@pytest.mark.parametrize(
    ("body", "fields", "texts"),
    [
        ({"data": {"message": "one"}}, {}, ("one",)),
        ({"message": "one"}, {}, ("one",)),
        ({"errors": ["one", "two", "one"]}, {}, ("one", "two")),
        ({"errors": {"a": ["one", "two"], "b": "three"}}, {"a": ("one", "two"), "b": ("three",)},
         ("a: one", "a: two", "b: three")),
        ({"message": {"email": ["wrong"]}}, {"email": ("wrong",)}, ("email: wrong",)),
        ({"data": "one"}, {}, ("one",)),
        ({"data": {"errors": {"a": {"b": ["one"]}}}}, {"a": ("one",)}, ("a: one",)),
        ({"message": None, "errors": []}, {}, ()),
        ([], {}, ()),
        (None, {}, ()),
    ],
)  # fmt: skip
def test_reasons_are_found_wherever_they_stand(
    body: Json, fields: dict[str, tuple[str, ...]], texts: tuple[str, ...]
) -> None:
    assert reasons(body) == (fields, texts)


@given(st.binary(max_size=2000))
def test_an_excerpt_is_one_short_printable_line(body: bytes) -> None:
    text = excerpt(body)
    assert len(text) <= 200
    assert text.isprintable()


def test_an_excerpt_does_not_repeat_the_token() -> None:
    token = Token("abc-1234-secret")
    protect(token)
    for at in range(150, 260, 7):
        assert "1234" not in excerpt(b"x" * at + b" abc-1234-secret " + b"y" * 50)
    error = said(400, {"success": False, "errors": {"abc-1234-secret": ["abc-1234-secret"]}})
    assert isinstance(error, InvalidRequestError)
    assert "1234" not in f"{error}{error.fields}"


@pytest.mark.parametrize("wrong", ["1", "a", "true", "success", "errors", "token"])
def test_json_is_read_whatever_word_somebody_takes_for_a_token(wrong: str) -> None:
    token = Token(wrong)
    protect(token)
    data = {"success": True, "errors": {}, "data": {"a token": 1}}
    assert parse_json(HTTPResponse(200, {}, json.dumps(data).encode()), "app/algorithms") == data


def test_an_excerpt_does_not_end_within_the_token() -> None:
    token = Token("abc-1234-secret")
    protect(token)
    for spaces in range(780, 800):
        assert "abc" not in excerpt(b" " * spaces + b"abc-1234-secret")


@pytest.mark.parametrize(
    "body",
    [
        '{"success":true,"data":{"api_token":"hunter2hunter2',
        r"{\"api_token\":\"hunter2hunter2\"}",
        "token=hunter2%2Bhunter2",
        "the token hunter2hunter2 is wrong",
    ],
)
def test_an_excerpt_does_not_repeat_a_token_that_we_do_not_know(body: str) -> None:
    assert "hunter" not in excerpt(body.encode())


@pytest.mark.parametrize("words", ["Invalid token. Authentication required", "The API token provided is invalid"])
def test_an_excerpt_keeps_the_words_about_a_token(words: str) -> None:
    assert excerpt(words.encode()) == words


def test_the_repr_of_a_response_shows_neither_headers_nor_body() -> None:
    shown = repr(HTTPResponse(302, {"location": "/api/app/user?api_token=secret"}, b"secret"))
    assert "302" in shown
    assert "secret" not in shown
