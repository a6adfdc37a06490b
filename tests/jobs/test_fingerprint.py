import os
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.fingerprint import fingerprint, fingerprint_of
from mvsep_async.jobs.request import JobSettings
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.sources import Data, JobSource, Pair, Spooled
from tests.journal.samples import SETTINGS, full_texts, settings_

CHANGES_THE_RESULT = {"algorithm", "options", "output_format", "demo"}


def test_it_is_the_same_in_every_release() -> None:
    """Pinned: another hash would have every journal's songs paid again."""
    found = fingerprint("/music/Jóga.flac", 12345, 1_700_000_000_000_000_000, SETTINGS)
    assert found == "ebf35305b6a638f4ed134f34b1caad"


@given(full_texts, st.integers(0), st.integers(0), settings_, full_texts, st.integers(0), st.integers(0), settings_)
def test_it_tells_files_apart(
    path: str, size: int, time: int, how: JobSettings, path_2: str, size_2: int, time_2: int, how_2: JobSettings
) -> None:
    def what_counts(settings: JobSettings) -> tuple[object, ...]:
        return settings.algorithm, sorted(settings.options), settings.output_format, settings.demo

    same = (path, size, time, what_counts(how)) == (path_2, size_2, time_2, what_counts(how_2))
    assert (fingerprint(path, size, time, how) == fingerprint(path_2, size_2, time_2, how_2)) is same


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": 41},
        {"options": (("add_opt1", "82"),)},
        {"output_format": OutputFormat.FLAC_24},
        {"remote_type": "mega"},
        {"demo": True},
        {"webhook_url": "https://me/x"},
        {"on_unknown": "resubmit"},
        {"anyway": True},
    ],
)
def test_only_what_changes_the_result_counts(changes: dict[str, object]) -> None:
    before, after = (fingerprint("/a", 1, 2, settings) for settings in (SETTINGS, attrs.evolve(SETTINGS, **changes)))
    assert (before != after) is bool(CHANGES_THE_RESULT & set(changes))


def test_the_order_of_options_does_not_count() -> None:
    one, two = JobSettings(options=(("a", "1"), ("b", "2"))), JobSettings(options=(("b", "2"), ("a", "1")))
    assert fingerprint("/a", 1, 2, one) == fingerprint("/a", 1, 2, two)


async def test_a_file_is_known_by_place_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song = tmp_path / "song.flac"
    song.write_bytes(b"abc")
    monkeypatch.chdir(tmp_path)
    names: list[JobSource] = [song, str(song), "song.flac", Path("song.flac"), f"../{tmp_path.name}/song.flac"]
    (known,) = {await fingerprint_of(name, SETTINGS) for name in names}
    status = song.stat()
    assert known == fingerprint(str(song), status.st_size, status.st_mtime_ns, SETTINGS)
    os.utime(song, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert await fingerprint_of(song, SETTINGS) != known


async def test_other_sources_have_their_own_identity(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"abc")
    a, b = tmp_path / "a", tmp_path / "b"
    sources: list[JobSource] = [
        a,
        b,
        Pair(a, b),
        Pair(b, a),
        Data(b"abc", "a"),
        Data(b"abd", "a"),
        "https://a/b",
        "https://a/c",
    ]
    found = [await fingerprint_of(source, SETTINGS) for source in sources]
    assert None not in found
    assert len(set(found)) == len(sources)
    assert await fingerprint_of(Data(b"abc", "other name"), SETTINGS) == found[4]


async def test_what_has_no_identity_has_no_fingerprint(tmp_path: Path) -> None:
    song = tmp_path / "song.flac"
    song.write_bytes(b"abc")
    for source in (None, Spooled(song, "song.flac"), tmp_path / "missing", Pair(song, tmp_path / "missing"), "a\0b"):
        assert await fingerprint_of(source, SETTINGS) is None
