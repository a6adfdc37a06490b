import errno
import json
import os
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from mvsep_async.download import part_file as part_module
from mvsep_async.download.fetch import Fetch, Fetched
from mvsep_async.download.ranges import ResumeState
from mvsep_async.errors import DownloadError, JournalError, ServiceUnavailableError
from mvsep_async.transport.client import make_http
from tests.transport.conftest import audio
from tests.transport.servers import Connection, FileAnswer, Hangup, Request, serving

SONG = audio(1_500_000)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        await anyio.sleep(0)


async def get(http: httpx.AsyncClient, url: str, target: Path, time: Time | None = None, **more: Any) -> Fetched:
    time = time or Time()
    return await Fetch(
        http=http, url=url, target=target, root=target.parent, clock=time.clock, sleep=time.sleep, **more
    ).run()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def put_part(target: Path, data: bytes, **state: Any) -> None:
    """What an earlier run, on this boot, left of `target`."""
    target.with_name(target.name + ".part").write_bytes(data)
    boot = part_module._boot()
    text = json.dumps({"total": None, "validator": '"v1"', "synced": 0, "boot": boot} | state)
    target.with_name(target.name + ".part.json").write_text(text)


async def test_a_file_arrives_whole_under_its_name_and_nothing_else_stays(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    seen: list[int] = []
    with serving(FileAnswer(SONG)) as server:
        got = await get(http, server.url(), tmp_path / "a.wav", on_bytes=seen.append)
    assert got == Fetched(tmp_path / "a.wav", len(SONG), 0, len(SONG))
    assert (tmp_path / "a.wav").read_bytes() == SONG
    assert names(tmp_path) == ["a.wav"]
    assert seen[0] == 0
    assert seen[-1] == len(SONG)
    assert seen == sorted(seen)


async def test_missing_folders_below_the_root_are_made(http: httpx.AsyncClient, tmp_path: Path) -> None:
    root = tmp_path / "out"
    with serving(FileAnswer(SONG)) as server:
        await Fetch(http=http, url=server.url(), target=root / "song" / "x" / "a.wav", root=root).run()
    assert (root / "song" / "x" / "a.wav").read_bytes() == SONG


@pytest.mark.parametrize("hard", [False, True])
async def test_a_cut_every_megabyte_costs_no_byte_twice(http: httpx.AsyncClient, tmp_path: Path, hard: bool) -> None:
    data = audio(50_000_000)
    answer = FileAnswer(data, cut=1_000_000, hard=hard)
    time = Time()
    with serving(answer) as server:
        got = await get(http, server.url(), tmp_path / "a.wav", time)
    assert (tmp_path / "a.wav").read_bytes() == data
    assert got.received <= 1.1 * len(data)
    assert time.now < 60, "progress is not slowed down"


async def test_the_part_file_of_an_earlier_run_is_continued(http: httpx.AsyncClient, tmp_path: Path) -> None:
    with serving(FileAnswer(SONG)) as server:
        put_part(tmp_path / "a.wav", SONG[:400_000], identity="127.0.0.1/stem.wav", total=len(SONG))
        got = await get(http, server.url("/stem.wav?secret=1"), tmp_path / "a.wav")
    assert (got.resumed, got.received) == (400_000, len(SONG) - 400_000)
    assert (tmp_path / "a.wav").read_bytes() == SONG
    assert server.requests[0].headers["if-range"] == '"v1"'
    assert names(tmp_path) == ["a.wav"]


async def test_a_complete_part_only_gets_its_name(http: httpx.AsyncClient, tmp_path: Path) -> None:
    with serving(FileAnswer(SONG)) as server:
        put_part(tmp_path / "a.wav", SONG, identity="127.0.0.1/stem.wav", total=len(SONG))
        await get(http, server.url(), tmp_path / "a.wav")
    assert server.requests == []
    assert (tmp_path / "a.wav").read_bytes() == SONG


@pytest.mark.parametrize(
    "state",
    [
        {"identity": "127.0.0.1/other.wav", "total": len(SONG)},
        {"identity": "127.0.0.1/stem.wav", "total": len(SONG), "validator": '"older"'},
        {"identity": "127.0.0.1/stem.wav", "total": len(SONG), "validator": None},
        {"identity": "127.0.0.1/stem.wav", "total": len(SONG) + 5},
        {"identity": "127.0.0.1/stem.wav", "total": len(SONG), "boot": "another", "synced": 0},
        {"identity": 5},
        {"nonsense": True},
    ],
)
async def test_a_part_of_a_possibly_different_file_is_restarted(
    http: httpx.AsyncClient, tmp_path: Path, state: dict[str, Any]
) -> None:
    put_part(tmp_path / "a.wav", bytes(700_000), **state)
    with serving(FileAnswer(SONG)) as server:
        await get(http, server.url(), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == SONG
    assert names(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("text", ["", "{", "\0" * 200, "[" * 60_000, "null", "\ud800".encode("utf-8", "surrogatepass")])
async def test_an_unreadable_state_is_ignored(http: httpx.AsyncClient, tmp_path: Path, text: str | bytes) -> None:
    put_part(tmp_path / "a.wav", bytes(700_000))
    (tmp_path / "a.wav.part.json").write_bytes(text.encode() if isinstance(text, str) else text)
    with serving(FileAnswer(SONG)) as server:
        await get(http, server.url(), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == SONG
    assert names(tmp_path) == ["a.wav"]


async def test_after_a_crash_of_the_machine_only_synced_bytes_are_continued(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    half = SONG[:300_000] + bytes(300_000)  # what a file system may show after a power cut
    put_part(tmp_path / "a.wav", half, identity="127.0.0.1/stem.wav", total=len(SONG), synced=300_000, boot="old")
    with serving(FileAnswer(SONG)) as server:
        got = await get(http, server.url(), tmp_path / "a.wav")
    assert got.resumed == 300_000
    assert (tmp_path / "a.wav").read_bytes() == SONG


async def test_a_server_without_ranges_is_asked_for_the_whole_again(http: httpx.AsyncClient, tmp_path: Path) -> None:
    answer = FileAnswer(SONG, ranges=False, cut=600_000)

    def cut_once(connection: Connection, request: Request) -> None:
        if len(server.requests) > 1:
            answer.cut = None
        answer(connection, request)

    with serving(cut_once) as server:
        got = await get(http, server.url(), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == SONG
    assert got.received > len(SONG)


async def test_without_a_validator_a_cut_restarts_the_download(http: httpx.AsyncClient, tmp_path: Path) -> None:
    answer = FileAnswer(SONG, etag='W/"weak"', cut=600_000)

    def cut_once(connection: Connection, request: Request) -> None:
        if len(server.requests) > 1:
            answer.cut = None
        answer(connection, request)

    with serving(cut_once) as server:
        await get(http, server.url(), tmp_path / "a.wav")
    assert all("range" not in request.headers for request in server.requests)
    assert (tmp_path / "a.wav").read_bytes() == SONG


async def test_a_file_that_changes_between_two_cuts_is_never_mixed(http: httpx.AsyncClient, tmp_path: Path) -> None:
    other = audio(1_200_000, seed=2)
    answer = FileAnswer(SONG, cut=600_000)

    def exchanged(connection: Connection, request: Request) -> None:
        if len(server.requests) > 1:
            answer.data, answer.etag, answer.cut = other, '"v2"', None
        answer(connection, request)

    with serving(exchanged) as server:
        await get(http, server.url(), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == other


@pytest.mark.parametrize("wrong", ["bytes 0-9/10", "bytes 5-9/*", "nonsense", "bytes */10"])
async def test_a_wrong_content_range_restarts_the_download(http: httpx.AsyncClient, tmp_path: Path, wrong: str) -> None:
    whole = FileAnswer(SONG)

    def lying(connection: Connection, request: Request) -> None:
        if request.first is None:
            whole(connection, request)
        else:
            connection.answer("206 Partial Content", {"Content-Range": wrong, "ETag": '"v1"'}, b"0123456789")

    put_part(tmp_path / "a.wav", SONG[:400_000], identity="127.0.0.1/stem.wav", total=len(SONG))
    with serving(lying) as server:
        await get(http, server.url(), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == SONG


async def test_a_range_past_the_end_restarts_the_download(http: httpx.AsyncClient, tmp_path: Path) -> None:
    put_part(tmp_path / "a.wav", SONG + b"more", identity="127.0.0.1/stem.wav", total=None)
    with serving(FileAnswer(SONG)) as server:
        await get(http, server.url(), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == SONG
    assert len(server.requests) == 2


async def test_chunked_and_unannounced_lengths(http: httpx.AsyncClient, tmp_path: Path) -> None:
    def chunked(connection: Connection, _: Request) -> None:
        connection.answer("200 OK", {"Transfer-Encoding": "chunked"})
        for at in range(0, len(SONG), 100_000):
            piece = SONG[at : at + 100_000]
            connection.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        connection.send(b"0\r\n\r\n")

    def until_closed(connection: Connection, _: Request) -> None:
        connection.send(b"HTTP/1.0 200 OK\r\nContent-Type: audio/wav\r\n\r\n" + SONG)
        raise Hangup

    for name, answer in (("a.wav", chunked), ("b.wav", until_closed)):
        with serving(answer) as server:
            await get(http, server.url(), tmp_path / name, size=len(SONG))
        assert (tmp_path / name).read_bytes() == SONG


async def test_fewer_bytes_than_promised_are_not_a_file(http: httpx.AsyncClient, tmp_path: Path) -> None:
    def short(connection: Connection, _: Request) -> None:
        connection.send(b"HTTP/1.0 200 OK\r\n\r\n" + SONG[:1000])
        raise Hangup

    with serving(short) as server, pytest.raises(DownloadError, match="1000 bytes of 1500000"):
        await get(http, server.url(), tmp_path / "a.wav", size=len(SONG), patience=5)
    assert "a.wav" not in names(tmp_path)


async def test_a_file_of_another_size_than_promised_is_refused(http: httpx.AsyncClient, tmp_path: Path) -> None:
    with serving(FileAnswer(SONG)) as server, pytest.raises(DownloadError, match="a file of 1500000 bytes"):
        await get(http, server.url(), tmp_path / "a.wav", size=7, patience=5)
    assert names(tmp_path) == []


async def test_a_part_of_another_length_than_promised_is_not_continued(http: httpx.AsyncClient, tmp_path: Path) -> None:
    """A complete `.part` file too: it would get its name without a request."""
    put_part(tmp_path / "a.wav", SONG[:-5], identity="127.0.0.1/stem.wav", total=len(SONG) - 5)
    with serving(FileAnswer(SONG)) as server:
        got = await get(http, server.url(), tmp_path / "a.wav", size=len(SONG))
    assert got.resumed == 0
    assert (tmp_path / "a.wav").read_bytes() == SONG


async def test_a_cut_in_chunked_encoding_does_not_complete_the_file(http: httpx.AsyncClient, tmp_path: Path) -> None:
    def cut(connection: Connection, _: Request) -> None:
        connection.answer("200 OK", {"Transfer-Encoding": "chunked"})
        connection.send(b"186a0\r\n" + SONG[:100_000] + b"\r\n")
        raise Hangup

    with serving(cut) as server, pytest.raises(DownloadError, match="connection failed"):
        await get(http, server.url(), tmp_path / "a.wav", patience=5)
    assert "a.wav" not in names(tmp_path)


HTML = b"<!DOCTYPE html><html><title>502 Bad Gateway</title></html>"
JSON = b'{"success": false, "message": "file not found"}'


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [(HTML, "text/html", "HTML"), (HTML, "audio/wav", "HTML"), (JSON, "application/json", "JSON"), (b"", "", "empty")],
)
async def test_a_page_is_never_saved_as_audio(
    http: httpx.AsyncClient, tmp_path: Path, body: bytes, kind: str, said: str
) -> None:
    def page(connection: Connection, _: Request) -> None:
        connection.answer("200 OK", {"Content-Type": kind}, body)

    put_part(tmp_path / "a.wav", SONG[:400_000], identity="127.0.0.1/stem.wav", total=len(SONG))
    with serving(page) as server, pytest.raises(DownloadError, match=said):
        await get(http, server.url(), tmp_path / "a.wav")
    assert (tmp_path / "a.wav.part").read_bytes() == SONG[:400_000], "a page must not cost what is here already"
    assert "a.wav" not in names(tmp_path)


async def test_a_page_in_between_is_retried(http: httpx.AsyncClient, tmp_path: Path) -> None:
    whole = FileAnswer(SONG)

    def busy(connection: Connection, request: Request) -> None:
        match len(server.requests):
            case 1:
                connection.answer("200 OK", {"Content-Type": "text/html"}, HTML)
            case 2:
                connection.answer("503 Busy", {"Retry-After": 7}, HTML)
            case 3:
                raise Hangup
            case 4:
                connection.answer("522 Edge", {}, HTML)
            case _:
                whole(connection, request)

    time = Time()
    with serving(busy) as server:
        await get(http, server.url(), tmp_path / "a.wav", time)
    assert (tmp_path / "a.wav").read_bytes() == SONG
    assert 7 <= time.naps[1] <= 11


async def test_text_results_may_be_text(http: httpx.AsyncClient, tmp_path: Path) -> None:
    def text(connection: Connection, _: Request) -> None:
        connection.answer("200 OK", {"Content-Type": "application/json"}, b'{"chords": []}')

    with serving(text) as server:
        await get(http, server.url(), tmp_path / "chords.json")
    assert (tmp_path / "chords.json").read_bytes() == b'{"chords": []}'


@pytest.mark.parametrize("status", ["403 No", "404 Not Found", "410 Gone"])
async def test_an_expired_link_is_renewed(http: httpx.AsyncClient, tmp_path: Path, status: str) -> None:
    whole, time = FileAnswer(SONG), Time()
    renewals = 0

    def expiring(connection: Connection, request: Request) -> None:
        if "old" in request.target:
            connection.answer(status, {}, b"gone")
        else:
            whole(connection, request)

    async def renew() -> str:
        nonlocal renewals
        renewals += 1
        return server.url("/stem.wav?sig=new") if renewals >= works_after else server.url("/stem.wav?sig=old")

    with serving(expiring) as server:
        for works_after in (1, 4):
            renewals = 0
            target = tmp_path / f"{works_after}.wav"
            await get(http, server.url("/stem.wav?sig=old"), target, time, renew=renew)
            assert (target.read_bytes(), renewals) == (SONG, works_after)
        works_after = 1000
        with pytest.raises(DownloadError, match=f"{status[:3]}, also with a new link; no new byte in 6") as caught:
            await get(http, server.url("/stem.wav?sig=old"), tmp_path / "b.wav", time, renew=renew, patience=600)
        assert "sig" not in str(caught.value)


async def test_a_new_link_is_waited_for_as_long_as_the_patience_allows(http: httpx.AsyncClient, tmp_path: Path) -> None:
    whole, time, failures = FileAnswer(SONG), Time(), 0
    retried: list[str] = []

    def expiring(connection: Connection, request: Request) -> None:
        if "old" in request.target:
            connection.answer("403 No", {}, b"gone")
        else:
            whole(connection, request)

    async def renew() -> str:
        nonlocal failures
        time.now += 30.0  # how long a call is tried again by itself
        if time.now < until:
            failures += 1
            raise ServiceUnavailableError("the service is down for a while")
        return server.url("/stem.wav?sig=new")

    with serving(expiring) as server:
        until = 500.0
        await get(
            http,
            server.url("/stem.wav?sig=old"),
            tmp_path / "a.wav",
            time,
            renew=renew,
            patience=600,
            on_retry=retried.append,
        )
        assert (tmp_path / "a.wav").read_bytes() == SONG
        assert retried == ["the service is down for a while"] * failures
        until = inf
        with pytest.raises(DownloadError, match="down for a while; no new byte in 6"):
            await get(http, server.url("/stem.wav?sig=old"), tmp_path / "b.wav", time, renew=renew, patience=600)


@pytest.mark.parametrize(
    "url", ["http://[bad/a.wav", "http://a]/b.wav", "https://ex℀mple.com/a.wav", "http://xn--/", "ftp://a/b.wav", ""]
)
@pytest.mark.parametrize("left", [False, True])
async def test_a_link_that_is_not_a_url_is_an_error(
    http: httpx.AsyncClient, tmp_path: Path, url: str, left: bool
) -> None:
    if left:
        put_part(tmp_path / "a.wav", SONG[:1000], identity="127.0.0.1/stem.wav")
    with pytest.raises(DownloadError, match=r"not a URL|the link leads to"):
        await get(http, url, tmp_path / "a.wav")


async def test_the_callers_client_may_look_at_the_status_itself(tmp_path: Path) -> None:
    statuses = iter(["302 Found", "403 Forbidden", "503 Busy", "200 OK"])

    async def look(response: httpx.Response) -> None:
        response.raise_for_status()

    async def renew() -> str:
        return server.url()

    def answer(connection: Connection, request: Request) -> None:
        status = next(statuses)
        connection.answer(status, {"Location": "/there"} if status[0] == "3" else {}, SONG * status.startswith("200"))

    with serving(answer) as server:
        async with httpx.AsyncClient(event_hooks={"response": [look]}) as http:
            await get(http, server.url(), tmp_path / "a.wav", renew=renew)
    assert (tmp_path / "a.wav").read_bytes() == SONG
    assert [request.target for request in server.requests] == ["/stem.wav", "/there", "/stem.wav", "/stem.wav"]


async def test_a_failing_client_of_the_caller_is_retried_and_then_reported(tmp_path: Path) -> None:
    failures = iter([KeyError("token=1"), OSError("token=2")])

    async def fail(request: httpx.Request) -> None:
        for error in failures:
            raise error

    with serving(FileAnswer(SONG)) as server:
        async with httpx.AsyncClient(event_hooks={"request": [fail]}) as http:
            await get(http, server.url(), tmp_path / "a.wav")
            assert (tmp_path / "a.wav").read_bytes() == SONG
            failures = iter([KeyError("token=1")] * 99)
            with pytest.raises(DownloadError, match="the HTTP client failed with KeyError") as caught:
                await get(http, server.url(), tmp_path / "b.wav", patience=5)
            assert "token" not in str(caught.value)
            failures = iter([])
        with pytest.raises(DownloadError, match="is closed"):
            await get(http, server.url(), tmp_path / "b.wav")


async def test_a_body_that_a_hook_has_read_is_requested_again(tmp_path: Path) -> None:
    async def take(response: httpx.Response) -> None:
        if len(server.requests) == 1:
            async for _ in response.aiter_raw():
                pass

    with serving(FileAnswer(SONG)) as server:
        async with httpx.AsyncClient(event_hooks={"response": [take]}) as http:
            await get(http, server.url(), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == SONG


async def test_a_refusal_that_stays_is_waited_out(http: httpx.AsyncClient, tmp_path: Path) -> None:
    with (
        serving(lambda connection, _: connection.answer("400 Bad")) as server,
        pytest.raises(DownloadError, match=r"answered 400; no new byte in 3\d\d s"),
    ):
        await get(http, server.url("/x.wav?token=hush"), tmp_path / "a.wav", patience=300)
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", ["201 Created", "400 Bad", "405 No", "411 Length", "421 Else", "451 Law"])
async def test_a_page_of_any_status_is_asked_past(http: httpx.AsyncClient, tmp_path: Path, status: str) -> None:
    file = FileAnswer(SONG)

    def page_first(connection: Connection, request: Request) -> None:
        if len(server.requests) == 1:
            connection.answer(status)
        else:
            file(connection, request)

    with serving(page_first) as server:
        await get(http, server.url("/x.wav"), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == SONG


async def test_gives_up_after_its_patience_and_keeps_what_is_there(http: httpx.AsyncClient, tmp_path: Path) -> None:
    answer = FileAnswer(SONG, cut=500_000)

    def then_dead(connection: Connection, request: Request) -> None:
        if len(server.requests) > 1:
            raise Hangup
        answer(connection, request)

    time = Time()
    with serving(then_dead) as server, pytest.raises(DownloadError, match="500000 bytes are kept") as caught:
        await get(http, server.url("/stem.wav?key=hush"), tmp_path / "a.wav", time, patience=60)
    assert 60 < time.now < 120
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
    with serving(FileAnswer(SONG)) as server:
        got = await get(http, server.url(), tmp_path / "a.wav")
    assert got.resumed == 500_000
    assert (tmp_path / "a.wav").read_bytes() == SONG


async def test_a_download_that_fails_in_a_process_that_lost_the_job_leaves_nothing(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """A process that was suspended for longer than its patience learns of a takeover only when it is asked for."""
    answer, ours = FileAnswer(SONG, cut=500_000), [True]

    def then_dead(connection: Connection, request: Request) -> None:
        if len(server.requests) > 1:
            raise Hangup
        answer(connection, request)

    async def confirm() -> None:
        ours[0] = False
        raise JournalError("taken over")

    with serving(then_dead) as server, pytest.raises(JournalError, match="taken over"):
        await get(http, server.url(), tmp_path / "a.wav", Time(), patience=60, confirm=confirm, keeps=lambda: ours[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("written", [b"", b"{", b'{"identity": "/stem.wav", "tot', b"\xff\xfe", b"[]", b"null"])
async def test_a_damaged_state_starts_the_download_again(
    http: httpx.AsyncClient, tmp_path: Path, written: bytes
) -> None:
    (tmp_path / "a.wav.part").write_bytes(b"x" * 1000)
    (tmp_path / "a.wav.part.json").write_bytes(written)
    with serving(FileAnswer(SONG)) as server:
        got = await get(http, server.url(), tmp_path / "a.wav")
    assert got.resumed == 0
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.wav", SONG)]


def test_a_disk_with_room_for_a_part_of_the_state_keeps_the_earlier_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = part_module.PartFile(tmp_path, tmp_path / "a.wav")
    part.open()
    part.begin(0, ResumeState("first", None, None))
    part.write(b"x" * 1000)
    state = (tmp_path / "a.wav.part.json").read_bytes()
    room = [10]

    def nearly_full(fd: int, data: bytes) -> int:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fits, room[0] = min(room[0], len(data)), 0
        return fits

    monkeypatch.setattr(part_module.os, "write", nearly_full)
    with pytest.raises(OSError, match="No space"):
        part.begin(1000, ResumeState("second", None, None))
    part.close()
    assert (tmp_path / "a.wav.part.json").read_bytes() == state


async def test_redirects_are_followed_without_credentials(tmp_path: Path) -> None:
    def redirecting(connection: Connection, request: Request) -> None:
        if request.target == "/stem.wav":
            connection.answer("302 Found", {"Location": other.url("/real.wav"), "Set-Cookie": "a=b"})
        else:
            FileAnswer(SONG)(connection, request)

    with serving(FileAnswer(SONG)) as other, serving(redirecting) as server:
        async with httpx.AsyncClient(
            auth=("user", "hush"), cookies={"session": "hush"}, headers={"Authorization": "hush", "X-Key": "hush"}
        ) as http:
            await get(http, server.url(), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == SONG
    assert "hush" not in str([*other.requests, *server.requests])
    assert not any("authorization" in request.headers for request in [*other.requests, *server.requests])


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://a:b/", "/stem.wav"])
async def test_redirects_that_lead_nowhere_good(http: httpx.AsyncClient, tmp_path: Path, location: str) -> None:
    with (
        serving(lambda connection, _: connection.answer("302 Found", {"Location": location})) as server,
        pytest.raises(DownloadError, match=r"http and https|redirected|Invalid URL"),
    ):
        await get(http, server.url(), tmp_path / "a.wav")


async def test_a_file_of_that_name_is_not_replaced_unless_asked(http: httpx.AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("mine")
    with serving(FileAnswer(SONG)) as server:
        with pytest.raises(DownloadError, match="already exists"):
            await get(http, server.url(), tmp_path / "a.wav")
        assert (tmp_path / "a.wav").read_text() == "mine"
        assert server.requests == []
        await get(http, server.url(), tmp_path / "a.wav", overwrite=True)
    assert (tmp_path / "a.wav").read_bytes() == SONG


async def test_a_file_that_appears_meanwhile_is_not_replaced(http: httpx.AsyncClient, tmp_path: Path) -> None:
    def on_bytes(have: int) -> None:
        if have > 500_000:
            (tmp_path / "a.wav").write_text("mine")

    with serving(FileAnswer(SONG)) as server, pytest.raises(DownloadError, match="already exists"):
        await get(http, server.url(), tmp_path / "a.wav", on_bytes=on_bytes)
    assert (tmp_path / "a.wav").read_text() == "mine"
    assert (tmp_path / "a.wav.part").read_bytes() == SONG


@pytest.mark.parametrize("here", ["the same", "as long", "longer", "a folder", "a link"])
async def test_a_possible_result_is_compared_by_its_bytes(http: httpx.AsyncClient, tmp_path: Path, here: str) -> None:
    first, second = tmp_path / "a.wav", tmp_path / "a (2).wav"
    (tmp_path / "elsewhere").write_bytes(SONG)
    match here:
        case "a folder":
            first.mkdir()
        case "a link":
            first.symlink_to(tmp_path / "elsewhere")
        case _:
            first.write_bytes({"the same": SONG, "as long": SONG[:-1] + b"!", "longer": SONG + b"!"}[here])
    before = first.read_bytes() if first.is_file() else b""
    with serving(FileAnswer(SONG)) as server:
        got = await get(http, server.url(), second, candidates=[first, tmp_path / "gone.wav"])
    assert got.path == (first if here == "the same" else second)
    assert got.path.read_bytes() == SONG
    assert (first.read_bytes() if first.is_file() else b"") == before
    assert names(tmp_path) == sorted({"a.wav", got.path.name, "elsewhere"})


async def test_an_unwritable_folder_is_reported_before_anything_is_fetched(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with serving(FileAnswer(SONG)) as server:
        for target in (tmp_path / "file" / "a.wav", Path("/proc/nowhere/a.wav"), tmp_path / ".." / "up.wav"):
            with pytest.raises(DownloadError, match=r"cannot be written|is not below"):
                root = tmp_path if target.is_relative_to(tmp_path) else Path("/proc")
                await Fetch(http=http, url=server.url(), target=target, root=root).run()
    assert server.requests == []
    assert not (tmp_path.parent / "up.wav").exists()


@pytest.mark.parametrize("appears", ["before", "while it is opened", "while it is fetched"])
async def test_a_path_that_is_taken_is_exchanged_for_the_next_one(
    http: httpx.AsyncClient, tmp_path: Path, appears: str
) -> None:
    target = tmp_path / "a.wav"
    asked: list[Path] = []
    theirs = part_module.PartFile(tmp_path, target)

    async def next_path(path: Path) -> Path:
        asked.append(path)
        return tmp_path / f"a ({len(asked) + 1}).wav"

    def on_bytes(have: int) -> None:
        if have > 500_000 and appears == "while it is fetched":
            target.write_text("theirs")
            (tmp_path / "a (2).wav").write_text("theirs")

    if appears == "before":
        target.write_text("theirs")
    if appears == "while it is opened":
        theirs.open()
    with serving(FileAnswer(SONG)) as server:
        got = await get(http, server.url(), target, next_path=next_path, on_bytes=on_bytes)
    expected = "a (3).wav" if appears == "while it is fetched" else "a (2).wav"
    assert got.path == tmp_path / expected
    assert got.path.read_bytes() == SONG
    assert asked[0] == target
    theirs.keep()
    assert not [name for name in names(tmp_path) if ".part" in name]


async def test_it_is_confirmed_just_before_each_attempt_to_name_the_file(
    http: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, steps = tmp_path / "a.wav", list[str]()
    (other := tmp_path / "other.wav").write_bytes(b"another stem")
    equals, finish = part_module.PartFile.equals, part_module.PartFile.finish

    def noted_equals(part: part_module.PartFile, name: str) -> bool:
        steps.append("compare")
        return equals(part, name)

    def noted_finish(part: part_module.PartFile, **arguments: Any) -> None:
        steps.append("name")
        finish(part, **arguments)

    async def next_path(path: Path) -> Path:
        steps.append("next path")
        return tmp_path / "a (2).wav"

    async def confirm() -> None:
        steps.append("confirm")

    def on_bytes(have: int) -> None:
        if have == len(SONG):
            target.write_text("theirs")

    monkeypatch.setattr(part_module.PartFile, "equals", noted_equals)
    monkeypatch.setattr(part_module.PartFile, "finish", noted_finish)
    with serving(FileAnswer(SONG)) as server:
        await get(
            http, server.url(), target, candidates=[other], next_path=next_path, confirm=confirm, on_bytes=on_bytes
        )
    assert steps == ["compare", "confirm", "name", "next path", "confirm", "name"]


@pytest.mark.parametrize("validator", ['"a\r\nX-Header: planted"', '"é"', 'W/"weak"', "yesterday", 'a"b'])
async def test_a_validator_that_cannot_be_sent_is_not_believed(
    http: httpx.AsyncClient, tmp_path: Path, validator: str
) -> None:
    put_part(tmp_path / "a.wav", bytes(1000), identity="127.0.0.1/stem.wav", total=len(SONG), validator=validator)
    with serving(FileAnswer(SONG, etag=None)) as server:
        got = await get(http, server.url(), tmp_path / "a.wav")
    assert (got.resumed, got.path.read_bytes()) == (0, SONG)
    assert "x-header" not in server.requests[0].headers


async def test_a_full_disk_keeps_what_fits(
    http: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 1_200_000
    real = os.write

    def limited(fd: int, data: Any) -> int:
        if not isinstance(data, memoryview):
            return real(fd, data)
        free = room - os.fstat(fd).st_size
        if free <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data[:free])

    monkeypatch.setattr(part_module.os, "write", limited)
    with serving(FileAnswer(SONG)) as server:
        with pytest.raises(DownloadError, match=r"disk is full.*1200000 bytes are kept"):
            await get(http, server.url(), tmp_path / "a.wav")
        assert (tmp_path / "a.wav.part").read_bytes() == SONG[:room]
        room = 10_000_000
        got = await get(http, server.url(), tmp_path / "a.wav")
    assert got.resumed == 1_200_000
    assert (tmp_path / "a.wav").read_bytes() == SONG


@pytest.mark.parametrize("synced", [0, 400_000])
async def test_bytes_that_could_not_be_synced_are_not_trusted(
    http: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synced: int
) -> None:
    fsync, failures = os.fsync, [OSError(errno.EIO, "Input/output error")]

    def failing(fd: int) -> None:
        if failures:
            raise failures.pop()  # as Linux does: it says so once, and then that all is well
        fsync(fd)

    with serving(FileAnswer(SONG)) as server:
        if synced:
            put_part(tmp_path / "a.wav", SONG[:synced], identity="127.0.0.1/stem.wav", total=len(SONG), synced=synced)
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(DownloadError, match=f"{synced} bytes are kept" if synced else "no bytes were kept"):
            await get(http, server.url(), tmp_path / "a.wav")
        got = await get(http, server.url(), tmp_path / "a.wav")
    assert (got.resumed, got.received) == (synced, len(SONG) - synced)
    assert names(tmp_path) == ["a.wav"]


async def test_two_downloads_of_one_name_are_kept_apart(http: httpx.AsyncClient, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    holder = part_module.PartFile(tmp_path, tmp_path / "a.wav")
    holder.open()
    with serving(FileAnswer(SONG)) as server, pytest.raises(DownloadError, match="by another process"):
        await get(http, server.url(), tmp_path / "a.wav")
    assert names(tmp_path) == ["a.wav.part"]
    holder.keep()
    assert names(tmp_path) == []


class InterruptAt:
    """Await something, and do `interrupt` when it suspends for the n-th time."""

    def __init__(self, coro: Any, n: int, interrupt: Callable[[], object]) -> None:
        self.coro, self.n, self.interrupt = coro, n, interrupt
        self.reached = False

    def __await__(self) -> Any:
        inner = self.coro.__await__()
        sent: Any = None
        error: BaseException | None = None
        while True:
            try:
                waited = inner.throw(error) if error is not None else inner.send(sent)
            except StopIteration as stop:
                return stop.value
            if self.n == 0:
                self.reached = True
                self.interrupt()
            self.n -= 1
            try:
                sent, error = (yield waited), None
            except BaseException as raised:
                sent, error = None, raised


@pytest.mark.parametrize("native", [True, False], ids=["task.cancel", "scope.cancel"])
async def test_cancelled_at_any_await_it_leaves_what_can_be_continued(
    http: httpx.AsyncClient, tmp_path: Path, native: bool
) -> None:
    import asyncio

    song = audio(3_000_000)
    answer = FileAnswer(song, cut=1_300_000)
    resumed = 0
    with serving(answer) as server:
        for n in range(1000):
            target = tmp_path / f"{n}.wav"
            with anyio.CancelScope() as scope:

                async def download(target: Path = target, scope: anyio.CancelScope = scope, n: int = n) -> bool:
                    task = asyncio.current_task()
                    assert task is not None
                    interrupt = task.cancel if native else scope.cancel
                    awaited = InterruptAt(get(http, server.url(), target), n, interrupt)
                    try:
                        await awaited
                    except asyncio.CancelledError:
                        if not native:
                            raise
                        task.uncancel()
                    return awaited.reached

                reached = await download()
            if target.exists():
                assert target.read_bytes() == song
                assert names(tmp_path) == [target.name]
                target.unlink()
            else:
                got = await get(http, server.url(), target)
                resumed += got.resumed > 0
                assert target.read_bytes() == song
                assert names(tmp_path) == [target.name]
                target.unlink()
            if not scope.cancelled_caught and not reached:
                break
        else:
            pytest.fail("it never got through")
    assert n > 10
    assert resumed > 3


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("own", [True, False], ids=["ours", "the caller's"])
def test_the_same_on_either_event_loop_and_any_client(tmp_path: Path, backend: str, own: bool) -> None:
    async def main() -> None:
        async with make_http(httpx.Timeout(10)) if own else httpx.AsyncClient() as http:
            await Fetch(
                http=http,
                url=server.url(),
                target=tmp_path / "a.wav",
                root=tmp_path,
                sleep=lambda _: anyio.sleep(0),
            ).run()

    with serving(FileAnswer(SONG, cut=400_000)) as server:
        anyio.run(main, backend=backend)
    assert (tmp_path / "a.wav").read_bytes() == SONG
    assert len(server.requests) == 4
