from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.cli.text import amount, plain, seconds_text, size_text, visible


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert all(unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") for char in visible(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("春の歌 é 🎵", "春の歌 é 🎵"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("two\nlines\t", "two\\nlines\\t"),
        ("song\u202e3pm.exe", "song\\u202e3pm.exe"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\xe9"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (5_700_000, "5.7 MB"), (123_456_789, "123 MB"), (2e12, "2.0 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (723, "12:03"), (3723, "1:02:03"), (277200, "3 d 5 h")]
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_html_becomes_text() -> None:
    assert plain("<p>New&nbsp;&amp; old</p><ul><li>one</li><li>two</li></ul><script>no()</script>") == (
        "New & old\n\n- one\n\n- two"
    )


def test_amounts() -> None:
    assert [amount(1, "song"), amount(2, "song"), amount(2, "entry", "entries")] == ["1 song", "2 songs", "2 entries"]
