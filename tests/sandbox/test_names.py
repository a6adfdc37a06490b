import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.sandbox.names import date_text, job_hash, size_text, slug, split_extension


def test_a_hash_has_the_recorded_form() -> None:
    assert (
        job_hash(1679901361, "0e3e5c6c85ffff", "13 Dimensions.mp3", 80) == "20230327071601-0e3e5c6c85-13-dimensions.mp3"
    )


def test_slug_is_cut_at_its_end() -> None:
    assert slug("tag1 A Very Long Title", 12) == "tag1-a-very"


@given(st.text(), st.integers(1, 60))
def test_slug_is_safe_and_short(text: str, limit: int) -> None:
    made = slug(text, limit)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made)
    assert len(made) <= max(limit, len("audio"))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.b.MP3", ("a.b", "mp3")),
        ("dir/evil\\x.wav", ("x", "wav")),
        ("none", ("none", "")),
        (".hidden", (".hidden", "")),
        ("v1.0 final mix", ("v1.0 final mix", "")),
    ],
)
def test_extension_is_split_off(name: str, parts: tuple[str, str]) -> None:
    assert split_extension(name) == parts


def test_sizes_have_the_recorded_form() -> None:
    assert [size_text(n) for n in (5, 5_976_883, 3 * 1024**3)] == ["5.00 B", "5.70 MB", "3.00 GB"]


def test_dates_have_the_recorded_form() -> None:
    assert date_text(0) == "1970-01-01 00:00:00"
