import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.sandbox.server.files import choose

ETAG = '"v1"'
MODIFIED = 784111777.4  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("asked", "status", "start", "length"),
    [
        (None, 200, 0, 100),
        ("bytes=0-", 206, 0, 100),
        ("bytes=10-19", 206, 10, 10),
        ("bytes=90-500", 206, 90, 10),
        ("bytes=-30", 206, 70, 30),
        ("bytes=-300", 206, 0, 100),
        ("bytes=100-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=20-10", 200, 0, 100),
        ("bytes=-", 200, 0, 100),
        ("bytes=0-1,5-6", 200, 0, 100),
        ("lines=0-1", 200, 0, 100),
        ("bytes=0-" + "9" * 5000, 200, 0, 100),
        ("bytes=٠-٩", 200, 0, 100),
    ],
)
def test_ranges(asked: str | None, status: int, start: int, length: int) -> None:
    portion = choose(100, ETAG, MODIFIED, asked, None)
    assert (portion.status, portion.start, portion.length) == (status, start, length)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (ETAG, 206),
        ('"v2"', 200),
        ("W/" + ETAG, 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 206),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("nonsense", 200),
    ],
)
def test_a_range_of_another_version_gives_the_whole_file(condition: str, status: int) -> None:
    assert choose(100, ETAG, MODIFIED, "bytes=5-", condition).status == status


@given(st.integers(0, 1000), st.text(max_size=12) | st.from_regex(r"bytes=\d{0,4}-\d{0,4}", fullmatch=True))
def test_a_range_is_always_inside_the_file(size: int, asked: str) -> None:
    portion = choose(size, ETAG, MODIFIED, asked, None)
    assert 0 <= portion.start <= portion.start + portion.length <= size
    if portion.status == 206:
        assert portion.length > 0
        expected = f"bytes {portion.start}-{portion.start + portion.length - 1}/{size}"
        assert portion.headers["Content-Range"] == expected
