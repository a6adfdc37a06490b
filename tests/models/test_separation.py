"""Finished separations and the status of jobs."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import MVSepError, ProtocolError
from mvsep_async.http.call import Json
from mvsep_async.models.decode import decode
from mvsep_async.models.job_status import JobKind, JobStatus, read_job, read_remote
from mvsep_async.models.separation import Created, OutputFile, hash_in_link
from mvsep_async.models.values import parse_size
from tests.models.mutations import mutated, outcome
from tests.recorded import recorded

HASH = "20240119124024-413c481b80-song.mp3"


def output(**answer: Json) -> OutputFile:
    return decode(answer, OutputFile, what="files")


def test_the_recorded_done_answer() -> None:
    status = read_job(recorded("separation_get_done"), hash=HASH)
    assert status.kind is JobKind.DONE
    found = status.separation
    assert found is not None
    assert (found.hash, found.size, found.output_format, found.files) == (HASH, "5.70 MB", "mp3 (320 kbps)", ())
    assert found.algorithm == "Ensemble 8 models (vocals, bass, drums, other)"
    assert found.date == "2024-01-19 12:40:25"
    assert isinstance(found.tags, dict)
    assert found.input_file is not None
    assert found.input_file.name == "20240119124024-413c481b80-10-luke-s-theme-a-madman-s-symphony_[mvsep.test].mp3"
    assert found.input_file.size_bytes == 5976883
    assert found.extra == {}


def test_a_stem_with_everything() -> None:
    found = output(
        url="https:\\/\\/mvsep.com\\/storage\\/a b\\/Vocals ä.flac",
        size="5.70 MB",
        download="song_vocals.flac",
        type="Vocals",
        peaks=[0.1] * 100_000,
        bitrate=1,
    )
    assert found == OutputFile(
        url="https://mvsep.com/storage/a b/Vocals ä.flac",
        name="song_vocals.flac",
        stem="Vocals",
        size="5.70 MB",
        extra={"bitrate": 1},
    )


@pytest.mark.parametrize(
    ("answer", "name", "stem"),
    [
        ({"url": "https://x/y/song%20vocals.mp3?sig=1"}, "song vocals.mp3", "song vocals"),
        ({"link": "https://x/drums.wav", "name": "Drums", "download": ""}, "drums.wav", "Drums"),
        ({"link": "https://x/1", "name": "vocals.wav", "size": 5000000}, "vocals.wav", "vocals"),
        ({"url": "https://x/a.mp3", "stem": "bass", "type": None}, "a.mp3", "bass"),
        ({"url": "https://x/"}, "file", "file"),
        ({"url": "https://[x/a.mp3"}, "file", "file"),
    ],
)
def test_name_and_stem_are_found_where_they_are(answer: dict[str, Json], name: str, stem: str) -> None:
    found = output(**answer)
    assert (found.name, found.stem) == (name, stem)


def test_a_stem_without_url_is_refused() -> None:
    with pytest.raises(ProtocolError, match="url should be present"):
        output(download="a.mp3", type="Vocals")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5.70 MB", 5976883),
        ("12 KB", 12288),
        ("1,5 GiB", 1610612736),
        ("5000000", 5000000),
        ("90 B", 90),
        ("1 byte", 1),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", [None, "", "MB", "5.7 apples", "1.2.3 MB", "-5 MB"])
def test_a_text_without_size(text: str | None) -> None:
    assert parse_size(text) is None


@given(st.text())
def test_any_size_text_is_parsed_or_none(text: str) -> None:
    size = parse_size(text)
    assert size is None or size >= 0


def test_the_recorded_waiting_answer() -> None:
    assert read_job(recorded("separation_get_waiting"), hash=HASH) == JobStatus(
        kind=JobKind.WAITING, status="waiting", hash=HASH, queue_position=2, queue_length=3
    )


def test_chunks_of_a_long_file() -> None:
    answer: Json = {
        "success": "true",
        "status": "Distributing",
        "data": {"queue_count": "7", "current_order": None, "finished_chunks": "3", "all_chunks": 12},
    }
    status = read_job(answer, hash=HASH)
    assert (status.kind, status.status) == (JobKind.DISTRIBUTING, "distributing")
    assert (status.queue_length, status.queue_position, status.chunks_done, status.chunks_total) == (7, None, 3, 12)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("processing", JobKind.PROCESSING),
        ("merging", JobKind.MERGING),
        ("failed", JobKind.FAILED),
        ("not_found", JobKind.NOT_FOUND),
        ("Not Found", JobKind.NOT_FOUND),
        ("cancelled", JobKind.CANCELLED),
        ("canceled", JobKind.CANCELLED),
        ("queued", JobKind.UNKNOWN),
        ("pending", JobKind.UNKNOWN),
    ],
)
@pytest.mark.parametrize("success", [True, "true", False, None])
def test_every_status_word(word: str, kind: JobKind, success: Json) -> None:
    for read in (read_job, read_remote):
        status = read({"success": success, "status": word, "data": {"message": "because"}}, hash=HASH)
        assert (status.kind, status.message, status.hash) == (kind, "because", HASH)


def test_final_kinds() -> None:
    assert {kind for kind in JobKind if kind.final} == {
        JobKind.DONE,
        JobKind.FAILED,
        JobKind.NOT_FOUND,
        JobKind.CANCELLED,
    }


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"success": False, "message": "Your audio file is being downloaded, please wait a while..."}, JobKind.UNKNOWN),
        ({"success": "false", "data": {"message": "Please wait"}}, JobKind.UNKNOWN),
        ({"success": False, "message": "Separation not found"}, JobKind.NOT_FOUND),
        ({"success": False, "data": "Job does not exist"}, JobKind.NOT_FOUND),
        ({"success": False, "errors": ["The selected hash is invalid."]}, JobKind.NOT_FOUND),
        ({"success": False, "errors": {"hash": ["unknown hash"]}}, JobKind.NOT_FOUND),
        ({"success": False}, JobKind.NOT_FOUND),
        ({"success": True, "data": {"files": []}}, JobKind.DONE),
    ],
)
def test_an_answer_without_status_is_classified_by_its_message(answer: Json, kind: JobKind) -> None:
    assert read_job(answer, hash=HASH).kind is kind


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "done",
        {},
        {"success": True},
        {"success": True, "data": {}},
        {"success": False, "message": "Something went wrong"},
        {"success": True, "status": "done"},
        {"success": True, "status": "done", "data": {"fish": 1, "files": "none"}},
        {"success": True, "status": "done", "data": {"files": [{"type": "Vocals"}]}},
    ],
)
def test_other_answers_are_not_a_job_status(answer: Json) -> None:
    with pytest.raises(ProtocolError):
        read_job(answer, hash=HASH)


@pytest.mark.parametrize(
    "data",
    [
        {"hash": "long"},
        {"hash": "long", "link": "https://mvsep.com/api/separation/get?hash=long"},
        {"link": "https:\\/\\/de.mvsep.com\\/api\\/separation\\/get?mirror=0&hash=long"},
        {"hash": None, "link": "https://mvsep.com/api/separation/get?hash=long&amp;mirror=0"},
    ],
)
def test_a_url_job_names_the_real_one(data: dict[str, Json]) -> None:
    status = read_remote({"success": True, "status": "done", "data": data}, hash="short")
    assert (status.kind, status.hash, status.separation) == (JobKind.DONE, "long", None)
    assert status.link is None or "\\" not in status.link


def test_a_url_job_that_answers_the_result_itself() -> None:
    answer: Json = {"status": "done", "data": {"files": [{"url": "https://x/a.mp3", "type": "Vocals"}]}}
    status = read_remote(answer, hash="short")
    assert status.hash == "short"
    assert status.separation is not None
    assert [file.stem for file in status.separation.files] == ["Vocals"]


def test_a_done_url_job_without_the_real_hash_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no hash of the real job"):
        read_remote({"status": "done", "data": {"link": "https://mvsep.com/"}}, hash="short")


def test_created_from_hash_or_link() -> None:
    assert decode({"hash": "a", "link": "https:\\/\\/x"}, Created, what="c") == Created(hash="a", link="https://x")
    assert decode({"link": "https://x/get?hash=a%20b"}, Created, what="c").hash == "a b"
    with pytest.raises(ProtocolError):
        decode({"link": "https://x/get"}, Created, what="c")


@given(st.text())
def test_any_link_is_parsed_or_none(link: str) -> None:
    assert hash_in_link(link) is None or hash_in_link(link)


def test_unknown_keys_beside_the_data_are_kept() -> None:
    waiting = read_job({"success": True, "status": "waiting", "eta": 5, "data": {"queue_count": 3, "x": 1}}, hash=HASH)
    assert waiting.extra == {"eta": 5, "x": 1}
    done = read_job({**recorded("separation_get_done"), "hash": "another", "eta": 0}, hash=HASH)
    assert (done.hash, done.extra) == (HASH, {"eta": 0})
    remote: Json = {"success": True, "status": "done", "hash": "short", "data": {"link": "https://x/get?hash=long"}}
    assert read_remote(remote, hash="short").hash == "long"


@pytest.mark.parametrize("place", ["message", "errors", "data"])
def test_a_message_of_any_depth_decodes(place: str) -> None:
    deep: Json = "end"
    for _ in range(900):
        deep = {"a": deep}
    for read in (read_job, read_remote):
        found = outcome(partial(read, {"success": True, "status": "processing", place: deep}, hash=HASH))
        assert isinstance(found, MVSepError) or found.kind is JobKind.PROCESSING


DONE: Json = {
    "success": "true",
    "status": "done",
    "data": {
        "algorithm": "A",
        "output_format": "wav",
        "size": "1 MB",
        "tags": None,
        "input_file": {"url": "https:\\/\\/x\\/a.mp3", "size": "1 MB", "download": "a.mp3"},
        "files": [
            {"url": "https:\\/\\/x\\/v.mp3", "size": "1 MB", "download": "v.mp3", "type": "Vocals", "peaks": [1]}
        ],
        "date": "2024-01-19",
    },
}


@given(st.sampled_from([DONE, recorded("separation_get_waiting"), recorded("separation_get_done")]).flatmap(mutated))
def test_any_mutation_decodes_or_is_refused(answer: Json) -> None:
    for read in (read_job, read_remote):
        found = outcome(partial(read, answer, hash=HASH))
        if isinstance(found, MVSepError):
            assert len(str(found)) < 500
        else:
            files = found.separation.files if found.separation else ()
            assert not any("peaks" in extra for extra in (found.extra, *(file.extra for file in files)))


DONE: Json = {
    "success": True,
    "status": "done",
    "data": {
        "hash": "h",
        "message": "finished early",
        "image": "https:\\/\\/x\\/image.png",
        "transcription": "la la",
        "files": [{"url": "https://x/a.wav", "bytes": "1048577", "size": "1 MB"}],
    },
}


def test_a_done_answer_has_its_message_image_and_transcription() -> None:
    status = read_job(DONE, hash="h")
    assert status.message == "finished early"
    assert status.separation is not None
    assert (status.separation.image, status.separation.transcription) == ("https://x/image.png", "la la")
    assert status.separation.extra == {}


def test_an_exact_size_wins_over_the_rounded_text() -> None:
    status = read_job(DONE, hash="h")
    assert status.separation is not None
    (file,) = status.separation.files
    assert (file.bytes, file.size_bytes) == (1048577, 1048577)
    assert decode({"url": "https://x/a.wav", "size": "1 MB"}, OutputFile, what="f").size_bytes == 1048576


@pytest.mark.parametrize("sent", [-1, "many", 1.5, {}])
def test_a_size_that_does_not_fit_stays_in_extra(sent: Json) -> None:
    file = decode({"url": "https://x/a.wav", "bytes": sent}, OutputFile, what="f")
    assert (file.bytes, file.extra["bytes"]) == (None, sent)
