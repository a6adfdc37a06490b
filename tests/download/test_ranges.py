import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.download.ranges import (
    Complete,
    LinkGone,
    Receive,
    Reject,
    Restart,
    ResumeState,
    classify_download_response,
    identity,
    request_headers,
)

URL = "https://Host.example/a/b.wav?sig=hush"
HERE = ResumeState("host.example/a/b.wav", 1000, '"v1"')


def test_an_identity_is_host_and_path() -> None:
    assert identity(URL) == "host.example/a/b.wav"


def test_only_a_part_with_a_validator_is_continued() -> None:
    assert request_headers(400, HERE)["Range"] == "bytes=400-"
    assert request_headers(400, HERE)["If-Range"] == '"v1"'
    for have, state in ((0, HERE), (400, None), (400, ResumeState("x", 1000, None))):
        assert "Range" not in request_headers(have, state)
    assert request_headers(0, None)["Accept-Encoding"] == "identity"


def test_a_whole_response_restarts_the_download() -> None:
    headers = {"content-length": "1000", "etag": '"v2"'}
    assert classify_download_response(200, headers, url=URL, have=400, state=HERE) == Receive(
        0, ResumeState(HERE.identity, 1000, '"v2"')
    )


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"a"'}, '"a"'),
        ({"etag": 'W/"a"'}, None),
        ({"etag": "bare"}, None),
        ({"last-modified": "Mon, 27 Mar 2023 07:16:01 GMT"}, "Mon, 27 Mar 2023 07:16:01 GMT"),
        ({"etag": 'W/"a"', "last-modified": "Mon, 27 Mar 2023 07:16:01 GMT"}, "Mon, 27 Mar 2023 07:16:01 GMT"),
        ({"last-modified": "Mon, 27 Mar 2023 07:16:01 GMT", "date": "Mon, 27 Mar 2023 07:16:01 GMT"}, None),
        ({"last-modified": "Mon, 27 Mar 2023 07:16:01 GMT", "date": "Mon, 27 Mar 2023 07:16:02 GMT"},
         "Mon, 27 Mar 2023 07:16:01 GMT"),
        ({"last-modified": "yesterday"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_validators(headers: dict[str, str], validator: str | None) -> None:
    answer = classify_download_response(200, headers, url=URL)
    assert isinstance(answer, Receive)
    assert answer.state.validator == validator


@given(st.integers(1, 2000), st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000) | st.none())
def test_a_part_is_written_only_where_it_belongs(have: int, first: int, last: int, total: int | None) -> None:
    headers = {"content-range": f"bytes {first}-{last}/{'*' if total is None else total}"}
    answer = classify_download_response(206, headers, url=URL, have=have, state=HERE)
    if isinstance(answer, Receive):
        assert answer.offset == have == first
        assert answer.state.total == 1000
        assert total in (None, 1000)
    else:
        assert isinstance(answer, Restart)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-range": "bytes */1000"},
        {"content-range": "octets 400-999/1000"},
        {"content-range": "bytes 400-999/1000", "content-length": "7"},
        {"content-range": "bytes 400-999/1000", "etag": '"v2"'},
        {"content-range": "bytes 400-999/1000", "etag": 'W/"v2"'},
        {"content-range": f"bytes 400-999/{'9' * 5000}"},
    ],
)
def test_a_contradictory_part_is_not_used(headers: dict[str, str]) -> None:
    assert isinstance(classify_download_response(206, headers, url=URL, have=400, state=HERE), Restart)


DATED = ResumeState("host.example/a/b.wav", 1000, "Mon, 27 Mar 2023 07:16:01 GMT")


@pytest.mark.parametrize(
    ("state", "now", "same"),
    [
        (HERE, {"etag": '"v1"', "last-modified": "Tue, 28 Mar 2023 07:16:01 GMT"}, True),
        (HERE, {"etag": 'W/"v1"'}, True),
        (HERE, {}, True),
        (DATED, {"last-modified": DATED.validator}, True),
        (DATED, {"last-modified": DATED.validator, "etag": '"of any"'}, True),
        (DATED, {}, True),
        (DATED, {"last-modified": "Tue, 28 Mar 2023 07:16:01 GMT"}, False),
        (DATED, {"last-modified": "Tue, 28 Mar 2023 07:16:01 GMT", "date": "Tue, 28 Mar 2023 07:16:01 GMT"}, False),
    ],
)
def test_a_part_of_another_file_is_not_used_if_the_server_ignores_if_range(
    state: ResumeState, now: dict[str, str], same: bool
) -> None:
    answer = classify_download_response(
        206, {"content-range": "bytes 400-999/1000", **now}, url=URL, have=400, state=state
    )
    assert isinstance(answer, Receive if same else Restart)


def test_a_416_completes_a_file_only_at_its_length() -> None:
    at_end = {"content-range": "bytes */1000"}
    assert classify_download_response(416, at_end, url=URL, have=1000, state=HERE) == Complete()
    assert (
        classify_download_response(416, at_end, url=URL, have=1000, state=ResumeState("x", None, '"v1"')) == Complete()
    )
    assert isinstance(classify_download_response(416, at_end, url=URL, have=1200, state=HERE), Restart)
    assert isinstance(classify_download_response(416, {}, url=URL, have=1000, state=HERE), Restart)
    assert isinstance(classify_download_response(416, at_end, url=URL), Reject)
    assert isinstance(classify_download_response(416, at_end, url=URL, have=1000, state=HERE, promised=999), Restart)


def test_promised_sizes_are_compared_with_the_response() -> None:
    assert isinstance(classify_download_response(200, {"content-length": "999"}, url=URL, promised=1000), Reject)
    assert isinstance(classify_download_response(200, {"content-length": "0"}, url=URL), Reject)
    kept = classify_download_response(200, {}, url=URL, promised=1000)
    assert isinstance(kept, Receive)
    assert kept.state.total == 1000


@pytest.mark.parametrize("status", [200, 206])
def test_an_encoded_body_is_not_the_file(status: int) -> None:
    headers = {"content-encoding": "gzip", "content-range": "bytes 400-999/1000"}
    assert isinstance(classify_download_response(status, headers, url=URL, have=400, state=HERE), Reject)


def test_other_statuses() -> None:
    for status in (401, 403, 404, 410):
        assert isinstance(classify_download_response(status, {}, url=URL), LinkGone)
    for status in (408, 429, 500, 502, 503, 520, 524):
        answer = classify_download_response(status, {"retry-after": "9"}, url=URL)
        assert answer == Reject(f"the server answered {status}", temporary=True, retry_after=9)
    for status in (201, 204, 304, 400, 405, 411, 412, 421, 451):
        rejected = Reject(f"the server answered {status}", temporary=True)
        assert classify_download_response(status, {}, url=URL) == rejected


HEADERS = ["etag", "content-range", "content-length", "last-modified", "date", "content-encoding", "retry-after"]


def test_endless_numbers_are_ignored() -> None:
    endless = "9" * 5000
    assert classify_download_response(503, {"retry-after": endless}, url=URL) == Reject(
        "the server answered 503", temporary=True
    )
    assert isinstance(
        classify_download_response(416, {"content-range": f"bytes */{endless}"}, url=URL, have=1000, state=HERE),
        Restart,
    )
    assert classify_download_response(200, {"content-length": endless}, url=URL) == classify_download_response(
        200, {}, url=URL
    )


@pytest.mark.parametrize("url", ["http://[bad/a.wav", "https://ex℀mple.com/a.wav", "http://a]/b"])
def test_an_invalid_url_identifies_no_file(url: str) -> None:
    assert identity(url) not in (identity(URL), HERE.identity)


@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(HEADERS), st.text()),
    st.integers(0, 5),
    st.integers(1, 9) | st.none(),
)
def test_no_header_is_too_strange(status: int, headers: dict[str, str], have: int, promised: int | None) -> None:
    classify_download_response(status, headers, url=URL, have=have, state=HERE, promised=promised)
