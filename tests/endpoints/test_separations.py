import pytest

from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import (
    AuthenticationError,
    DailyLimitError,
    InvalidRequestError,
    JobNotFoundError,
    MVSepError,
    NoFreeSlotError,
    ProtocolError,
    ServiceUnavailableError,
)
from mvsep_async.http.call import Auth, Priority
from mvsep_async.http.content import BytesContent
from mvsep_async.http.hosts import Host
from mvsep_async.http.multipart import Part
from mvsep_async.models.job_status import JobKind
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.separation import Created
from tests.endpoints.fake import FakeCaller
from tests.recorded import recorded

CREATED = {"success": "true", "data": {"hash": "h", "link": "https:\\/\\/de.mvsep.com\\/api\\/separation\\/get?hash=h"}}
SONG = Part("audiofile", "song.mp3", BytesContent(b"abc"))


async def test_create_from_a_file() -> None:
    caller = FakeCaller(CREATED)
    seen: list[int] = []
    created = await SeparationsAPI(caller).create(
        files=(SONG,),
        sep_type=40,
        options={"add_opt1": "81"},
        output_format=OutputFormat.FLAC_16,
        demo=True,
        webhook_url="https://me/hook",
        host=Host.parse("https://de.mvsep.com"),
        on_progress=lambda sent, total: seen.append(sent),
    )
    assert created == Created(hash="h", link="https://de.mvsep.com/api/separation/get?hash=h")
    call = caller.last
    assert (call.method, call.path, call.files, call.multipart) == ("POST", "separation/create", (SONG,), True)
    assert call.form == {
        "sep_type": 40,
        "add_opt1": "81",
        "output_format": 2,
        "is_demo": 1,
        "webhook_url": "https://me/hook",
    }
    assert (call.auth, call.priority, call.repeatable) == (Auth.REQUIRED, Priority.CREATE, False)
    assert str(call.host) == "https://de.mvsep.com"
    assert call.on_progress is not None


async def test_create_from_a_url_and_from_options_alone() -> None:
    caller = FakeCaller(CREATED, CREATED)
    api = SeparationsAPI(caller)
    await api.create(url="https://x/a.mp3", remote_type="mega")
    assert caller.last.form == {"url": "https://x/a.mp3", "remote_type": "mega", "output_format": 0, "is_demo": 0}
    assert caller.last.multipart
    await api.create(sep_type=62, options={"add_opt1": "a song"})
    assert caller.last.form == {"sep_type": 62, "add_opt1": "a song", "output_format": 0, "is_demo": 0}


async def test_an_invalid_create_is_never_sent() -> None:
    caller = FakeCaller()
    api = SeparationsAPI(caller)
    with pytest.raises(InvalidRequestError, match="not both"):
        await api.create(files=(SONG,), url="https://x/a.mp3")
    with pytest.raises(InvalidRequestError, match="requires a url"):
        await api.create(files=(SONG,), remote_type="mega")
    with pytest.raises(InvalidRequestError, match="direct, mega, drive, dropbox"):
        await api.create(url="https://x/a.mp3", remote_type="torrent")
    with pytest.raises(InvalidRequestError, match="add_opt1"):
        await api.create(files=(SONG,), options={"api_token": "x"})
    assert not caller.calls


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, {"success": False, "errors": ["Too many concurrent separations"]}), NoFreeSlotError),
        ((400, {"success": False, "message": {"sep_type": ["is invalid"]}}), InvalidRequestError),
        ((200, {"success": "false", "data": {"message": "bad file"}}), InvalidRequestError),
        ((401, {"success": False, "message": "Unknown token"}), AuthenticationError),
        ((413, b"<html>too large</html>"), InvalidRequestError),
        ((502, b"<html>bad gateway</html>"), ServiceUnavailableError),
        ((200, b"<!doctype html><title>maintenance</title>"), ServiceUnavailableError),
        ((200, {"success": True, "data": {}}), ProtocolError),
        ((200, b'{"success": true, "da'), ProtocolError),
    ],
)
async def test_create_refused_or_garbled(answer: object, error: type[MVSepError]) -> None:
    with pytest.raises(error):
        await SeparationsAPI(FakeCaller(answer)).create(files=(SONG,), sep_type=40)


async def test_get_sends_no_token_and_no_mirror() -> None:
    caller = FakeCaller(recorded("separation_get_waiting"))
    status = await SeparationsAPI(caller).get("h")
    assert (status.kind, status.queue_position) == (JobKind.WAITING, 2)
    call = caller.last
    assert (call.path, call.query, call.auth, call.repeatable) == ("separation/get", {"hash": "h"}, Auth.NONE, True)
    assert (call.tolerant, call.priority) == (True, Priority.POLL)


async def test_the_mirror_needs_the_token_and_is_never_retried() -> None:
    caller = FakeCaller(recorded("separation_get_done"))
    host = Host.parse("https://sg.mvsep.com")
    status = await SeparationsAPI(caller).get("h", mirror=True, host=host, priority=Priority.LIKELY)
    assert status.kind is JobKind.DONE
    call = caller.last
    assert call.query == {"hash": "h", "mirror": 1}
    assert (call.auth, call.repeatable, call.host, call.priority) == (Auth.REQUIRED, False, host, Priority.LIKELY)


@pytest.mark.parametrize("http_status", [200, 400, 404])
async def test_a_missing_job_is_a_status(http_status: int) -> None:
    answer = (http_status, {"success": False, "status": "not_found"})
    caller = FakeCaller(answer, answer)
    assert (await SeparationsAPI(caller).get("h")).kind is JobKind.NOT_FOUND
    assert (await SeparationsAPI(caller).get_remote("h")).kind is JobKind.NOT_FOUND


async def test_the_stages_of_a_url_job() -> None:
    caller = FakeCaller(
        (400, {"success": False, "message": "Your audio file is being downloaded, please wait a while..."}),
        {"success": True, "status": "done", "data": {"link": "https:\\/\\/x\\/get?hash=long"}},
    )
    api = SeparationsAPI(caller)
    first, second = await api.get_remote("short"), await api.get_remote("short")
    assert (first.kind, first.hash) == (JobKind.UNKNOWN, "short")
    assert (second.kind, second.hash) == (JobKind.DONE, "long")
    assert (caller.last.path, caller.last.query) == ("separation/get-remote", {"hash": "short"})


async def test_cancel() -> None:
    caller = FakeCaller(
        {"success": True},
        (400, {"success": False, "data": {"message": "already processing"}}),
        (404, {"success": False, "message": "no such job"}),
    )
    api = SeparationsAPI(caller)
    assert (await api.cancel("h")).success
    call = caller.last
    assert (call.method, call.path, call.form) == ("POST", "separation/cancel", {"hash": "h"})
    assert (call.auth, call.priority) == (Auth.REQUIRED, Priority.CANCEL)
    with pytest.raises(InvalidRequestError, match="already processing"):
        await api.cancel("h")
    with pytest.raises(JobNotFoundError):
        await api.cancel("h")


async def test_delete() -> None:
    caller = FakeCaller({"success": True, "message": "deleted"}, (400, {"errors": ["File or File Hash not found"]}))
    api = SeparationsAPI(caller)
    assert (await api.delete("h", host="https://de.mvsep.com")).message == "deleted"
    call = caller.last
    assert (call.method, call.path, call.form, call.auth) == ("POST", "separation/delete", {"hash": "h"}, Auth.REQUIRED)
    assert call.host == Host.parse("https://de.mvsep.com")
    with pytest.raises(JobNotFoundError):
        await api.delete("h")


@pytest.mark.parametrize(
    ("text", "error", "fields"),
    [
        ("You already have unprocessed file in queue. Please wait before adding new file!", NoFreeSlotError, set()),
        (
            (
                "You have reached the limit of separations for today. Please try again tomorrow or consider signing up "
                "for a premium account."
            ),
            DailyLimitError,
            set(),
        ),
        ("Seperation type is unavailable until you purchase premium membership", InvalidRequestError, {"sep_type"}),
        ("Seperation type is not set", InvalidRequestError, {"sep_type"}),
    ],
)
async def test_known_refusals_of_create(text: str, error: type[MVSepError], fields: set[str]) -> None:
    answer = (400, {"success": False, "errors": [text]})
    with pytest.raises(error, match=text[:30]) as caught:
        await SeparationsAPI(FakeCaller(answer)).create(files=(SONG,), sep_type=40)
    assert getattr(caught.value, "fields", {}).keys() == fields
    if isinstance(caught.value, NoFreeSlotError):
        assert caught.value.stated
    if isinstance(caught.value, DailyLimitError):
        assert caught.value.retry_after == 24 * 3600


async def test_an_empty_hash_is_never_sent() -> None:
    caller = FakeCaller()
    api = SeparationsAPI(caller)
    for ask in (api.get, api.get_remote, api.cancel, api.delete):
        with pytest.raises(InvalidRequestError, match="empty"):
            await ask(" ")
    assert not caller.calls
