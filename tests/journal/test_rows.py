import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings

from mvsep_async.errors import JobFailedError, JournalError
from mvsep_async.http.redaction import protect
from mvsep_async.http.token import Token
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest, Target
from mvsep_async.journal.rows import FACT_COLUMNS, REQUEST_COLUMNS, RowReader, facts_row, request_row
from mvsep_async.journal.schema import STEPS, migrate
from mvsep_async.models.separation import OutputFile, Separation
from mvsep_async.sources import Data, Pair, Spooled
from tests.journal.samples import SETTINGS, SPOOL, a_request, comparable, records

COLUMNS = (*REQUEST_COLUMNS, *FACT_COLUMNS)


@pytest.fixture(scope="module")
def tables() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, STEPS)
        yield connection


def kept(record: Record, tables: sqlite3.Connection) -> Record:
    """Put a record through real tables, whose columns may change what is given to them."""
    values = (*request_row(record.request, spool=SPOOL), *facts_row(record.state, record.facts))
    tables.execute("BEGIN")
    try:
        tables.execute(f"INSERT INTO jobs ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})", values)
        (row,) = tables.execute(f"SELECT {', '.join(COLUMNS)} FROM jobs").fetchall()
    finally:
        tables.execute("ROLLBACK")
    return RowReader(spool=SPOOL).record(row)


@settings(max_examples=300, deadline=None)
@given(record=records)
def test_everything_that_a_job_can_be_comes_back(record: Record, tables: sqlite3.Connection) -> None:
    assert comparable(kept(record, tables)) == comparable(record)


def test_sources_keep_their_types(tables: sqlite3.Connection) -> None:
    sources = ["/a", Path("/a"), Pair("/a", Path("/b")), Spooled(SPOOL / "a", "b"), "https://a/b", None]
    found = [
        kept(Record(a_request(source=source), JobState.QUEUED, NOTHING), tables).request.source for source in sources
    ]
    assert found == sources
    assert [type(source) for source in found] == [str, type(Path()), Pair, Spooled, str, type(None)]


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    order = a_request(source=Pair("a.wav", Path("../b.wav")), target=Target("stems"))
    facts = Facts(paths=(Path("stems/x.mp3"),), planned=(("x", Path("stems/x.mp3")),))
    row = (*request_row(order, spool=SPOOL), *facts_row(JobState.DONE, facts))
    monkeypatch.chdir("/")
    found = RowReader(spool=SPOOL).record(row)
    assert found.request.source == Pair(str(tmp_path / "a.wav"), tmp_path / "../b.wav")
    assert found.request.target == Target(str(tmp_path / "stems"))
    assert found.facts.paths == (tmp_path / "stems/x.mp3",)
    assert found.facts.planned == (("x", tmp_path / "stems/x.mp3"),)


def test_a_spooled_song_moves_with_its_journal() -> None:
    row = request_row(a_request(source=Spooled(SPOOL / "mv1-a.wav", "a.wav")), spool=SPOOL)
    moved = RowReader(spool=Path("/other/j.db.spool")).record((*row, *facts_row(JobState.QUEUED, NOTHING)))
    assert moved.request.source == Spooled(Path("/other/j.db.spool/mv1-a.wav"), "a.wav")


def test_queued_jobs_share_settings_and_targets() -> None:
    reader = RowReader(spool=SPOOL)
    rows = [(*request_row(a_request(target=Target("/t")), spool=SPOOL), *facts_row(JobState.QUEUED, NOTHING))] * 2
    one, two = (reader.record(row) for row in rows)
    assert one.request.settings is two.request.settings
    assert one.request.target is two.request.target
    assert one.facts is NOTHING
    assert two.facts is NOTHING


def test_audio_tags_are_not_kept(tables: sqlite3.Connection) -> None:
    separation = Separation(hash="h", tags={"big": ["x"] * 9}, files=(OutputFile(url="https://a/b.mp3"),))
    row = facts_row(JobState.DONE, Facts(separation=separation))
    assert not any("big" in value for value in row if isinstance(value, str))
    found = kept(Record(a_request(), JobState.DONE, Facts(separation=separation)), tables)
    assert found.facts.separation == attrs.evolve(separation, tags=None)


def test_the_columns_can_be_read_by_a_person() -> None:
    request = JobRequest("mv1", "/music/Jóga.flac", SETTINGS, "Jóga", target=Target("/stems"))
    row = dict(
        zip(COLUMNS, (*request_row(request, spool=SPOOL), *facts_row(JobState.DONE, Facts(hash="h"))), strict=True)
    )
    assert row["source"] == "/music/Jóga.flac"
    assert row["state"] == "done"
    assert row["hash"] == "h"
    assert json.loads(str(row["settings"])) == {
        "algorithm": 40,
        "options": [["add_opt1", "81"]],
        "output_format": "mp3",
    }
    assert row["target"] == '{"directory":"/stems"}'


@pytest.mark.parametrize(
    "job_request",
    [
        a_request(source=Data(b"x", "a.wav")),
        a_request(metadata={"when": object()}),
        a_request(priority=2**63),
    ],
)
def test_a_request_that_cannot_be_stored_is_refused(job_request: JobRequest) -> None:
    with pytest.raises(JournalError, match="cannot be stored") as caught:
        request_row(job_request, spool=SPOOL)
    assert caught.value.job == job_request.id
    assert job_request.id in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("state", "dreaming"),
        ("state", None),
        ("source_kind", "file and more"),
        ("source_kind", "hologram"),
        ("source_kind", None),
        ("source", None),
        ("settings", "{"),
        ("settings", '{"algorithm": 40}'),
        ("settings", '{"output_format": "mp3", "tempo": 3}'),
        ("metadata", "\0"),
        ("target", "[]"),
        ("priority", "high"),
        ("host", "gopher://x"),
        ("attempts", "many"),
        ("separation", "{}"),
        ("error", '{"type": "SystemExit", "message": ""}'),
        ("error", '{"type": "JobFailedError", "message": "", "colour": 1}'),
        ("paths", "7"),
        ("planned", '["a"]'),
        ("hash", 7),
    ],
)
def test_an_invalid_value_is_an_error(column: str, value: object) -> None:
    facts = Facts(hash="h", error=JobFailedError("no"), paths=(Path("/a"),))
    row = dict(zip(COLUMNS, (*request_row(a_request(), spool=SPOOL), *facts_row(JobState.DONE, facts)), strict=True))
    RowReader(spool=SPOOL).record(tuple(row.values()))
    with pytest.raises(JournalError, match=f"job '{row['id']}' cannot be read"):
        RowReader(spool=SPOOL).record(tuple((row | {column: value}).values()))


def test_a_token_that_the_service_repeats_is_not_written(tables: sqlite3.Connection) -> None:
    token = Token("s3cret-Token")
    protect(token)
    files = (
        OutputFile(url="https://files.test/a.mp3?api_token=s3cret-Token&x=1", name="a.mp3", stem="Vocals"),
        OutputFile(url="https://files.test/s3cret-Token/b.mp3", name="b.mp3", stem="Other"),
        OutputFile(url="https://files.test/c.mp3?api_token=of-another-account", name="c.mp3", stem="Bass"),
    )
    separation = Separation(hash="h", algorithm="a", files=files, extra={"link": "https://x/?api_token=s3cret-Token"})
    error = JobFailedError("failed at https://x/get?hash=h&api_token=s3cret-Token")
    record = Record(a_request(), JobState.DONE, Facts(hash="h", separation=separation, error=error))
    stored = repr(facts_row(record.state, record.facts))
    assert "s3cret-Token" not in stored
    assert "of-another-account" not in stored
    found = kept(record, tables).facts.separation
    assert found is not None
    assert [file.name for file in found.files] == ["a.mp3", "b.mp3", "c.mp3"]
