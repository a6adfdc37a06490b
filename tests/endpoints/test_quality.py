from pathlib import Path

import pytest

from mvsep_async.endpoints.quality import QualityAPI
from mvsep_async.errors import AuthenticationError, InvalidRequestError, JobNotFoundError, ProtocolError, UploadError
from mvsep_async.http.call import Auth, Call, Json
from mvsep_async.models.quality import QualityAdded
from tests.endpoints.fake import FakeCaller
from tests.recorded import recorded


def _entries(call: Call) -> list[Json]:
    start, limit = int(call.query["start"]), int(call.query["limit"])
    return [
        {"id": n, "algo_name": f"a{n}", "sdr_vocals": str(10 - n / 10)} for n in range(start, min(start + limit, 33))
    ]


async def test_queue_and_all_its_pages() -> None:
    caller = FakeCaller(by=lambda call: _entries(call))
    api = QualityAPI(caller)
    assert [entry.id for entry in await api.queue(limit=3)] == [0, 1, 2]
    assert (caller.last.path, caller.last.query) == ("quality_checker/queue", {"start": 0, "limit": 3})
    assert caller.last.auth is Auth.NONE
    assert len([entry async for entry in api.queue_all()]) == 33


async def test_leaderboard_over_several_pages() -> None:
    caller = FakeCaller(
        by=lambda call: {"data": _entries(call), "dataset_type": "2", "sortables": ["vocals"], "sort": "vocals"}
    )
    api = QualityAPI(caller)
    board = await api.leaderboard(2, limit=30, algo_name_filter="roformer", sort="vocals")
    assert [entry.id for entry in board.entries] == list(range(30))
    assert (board.dataset_type, board.sortables) == ("2", ("vocals",))
    assert caller.calls[0].query == {
        "dataset_type": 2,
        "start": 0,
        "limit": 20,
        "algo_name_filter": "roformer",
        "sort": "vocals",
    }
    assert len([entry async for entry in api.leaderboard_all()]) == 33


async def test_an_empty_leaderboard() -> None:
    assert (await QualityAPI(FakeCaller({"data": []})).leaderboard()).entries == ()


async def test_add_streams_the_zip(tmp_path: Path) -> None:
    zipped = tmp_path / "stems.zip"
    zipped.write_bytes(b"PK" * 50_000)
    caller = FakeCaller(recorded("quality_checker_add"))
    heard: list[tuple[int, int]] = []

    def hear(sent: int, total: int) -> None:
        heard.append((sent, total))

    added = await QualityAPI(caller).add(
        zipped, algo_name="A", main_text="m", dataset_type=1, ensemble=True, password="p", on_progress=hear
    )
    assert added == QualityAdded(id=7772, link="https://mvsep.com/api/quality_checker/entry?id=7772")
    call = caller.last
    assert (call.path, call.auth, call.repeatable, call.multipart) == (
        "quality_checker/add",
        Auth.REQUIRED,
        False,
        True,
    )
    assert call.form == {"algo_name": "A", "main_text": "m", "dataset_type": 1, "ensemble": 1, "password": "p"}
    (part,) = call.files
    assert (part.name, part.filename, part.content.size) == ("zipfile", "stems.zip", 100_000)
    assert b"".join([bytes(chunk) async for chunk in part.content.chunks()]) == b"PK" * 50_000
    assert call.on_progress is hear


async def test_add_without_a_file_sends_nothing(tmp_path: Path) -> None:
    caller = FakeCaller()
    with pytest.raises((UploadError, InvalidRequestError)):
        await QualityAPI(caller).add(tmp_path / "none.zip", algo_name="A", main_text="m", password="p")
    assert not caller.calls


async def test_entry() -> None:
    caller = FakeCaller(
        {"success": True, "data": {"id": 7, "msg": "OK", "sdr_bass": 9}}, [{"id": 7}], (404, {"success": False})
    )
    api = QualityAPI(caller)
    entry = await api.entry(7)
    assert (entry.message, entry.sdr) == ("OK", {"bass": 9.0})
    assert (caller.last.path, caller.last.query) == ("quality_checker/entry", {"id": 7})
    assert (await api.entry(7)).id == 7
    with pytest.raises(JobNotFoundError):
        await api.entry(7)


async def test_delete() -> None:
    caller = FakeCaller(recorded("quality_checker_delete"))
    assert (await QualityAPI(caller).delete(7, "p")).message == "successfully deleted"
    call = caller.last
    assert (call.method, call.path, call.form) == ("POST", "quality_checker/delete", {"id": 7, "password": "p"})
    assert call.auth is Auth.NONE


@pytest.mark.parametrize(
    "answer",
    [
        (400, {"success": False, "data": {"message": "Wrong password"}}),
        (200, {"success": False, "message": {"password": ["is wrong"]}}),
        (401, {"success": False}),
    ],
)
async def test_the_wrong_password(answer: object) -> None:
    with pytest.raises(AuthenticationError, match="this password for quality entry 7") as caught:
        await QualityAPI(FakeCaller(answer)).delete(7, "hunter2")
    assert "hunter2" not in str(caught.value)
    assert "MVSEP_API_TOKEN" not in str(caught.value)


async def test_another_refusal_of_a_delete_is_unchanged() -> None:
    answer = (400, {"success": False, "errors": {"id": ["must be an integer"]}})
    with pytest.raises(InvalidRequestError, match="must be an integer"):
        await QualityAPI(FakeCaller(answer)).delete(7, "p")


@pytest.mark.parametrize("garbage", [b"7", b'{"success": true}', b"[7]", b'[{"fish": 1}]', b'{"data": {"a": 1}}'])
async def test_garbage(garbage: bytes) -> None:
    for ask in ("queue", "leaderboard"):
        with pytest.raises(ProtocolError):
            await getattr(QualityAPI(FakeCaller((200, garbage))), ask)()
    with pytest.raises(ProtocolError):
        await QualityAPI(FakeCaller((200, garbage))).entry(7)
