"""Every fault, once at each stage of a song's life, and every fault that does not end."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import anyio
import pytest

from mvsep_async import (
    DownloadError,
    JobNotFoundError,
    MVSepError,
    ProtocolError,
    ServiceUnavailableError,
    Stage,
    TransportError,
)
from mvsep_async.sandbox import Quirks, Sandbox
from tests.client.support import calls, paid, reached, until
from tests.conftest import NewClient, wav

pytestmark = pytest.mark.slow

CREATE, LOOK, ACCOUNT, LISTS = "separation/create", "separation/get", "app/user", "app/separation_history"
CATALOGUE, DOWNLOAD, CANCEL = "app/algorithms", "/storage/*", "separation/cancel"
ALL = {CREATE, LOOK, ACCOUNT, LISTS, CATALOGUE, DOWNLOAD}

ONCE: dict[str, tuple[dict[str, Any], set[str]]] = {
    # What happens, and the stages at which it cannot happen or cannot be known to have happened.
    "the connection is closed": ({"kind": "drop"}, set()),
    "the connection is reset": ({"kind": "drop", "reset": True}, set()),
    "the upload is cut at its first byte": ({"kind": "cut_request", "after_bytes": 0, "reset": True}, set()),
    "the upload is cut half-way": (
        {"kind": "cut_request", "after_bytes": 50_000},
        {LOOK, ACCOUNT, CATALOGUE, DOWNLOAD},
    ),
    "the answer is lost": ({"kind": "lose_answer"}, set()),
    "the answer is cut before its first byte": ({"kind": "cut_response", "after_bytes": 0}, set()),
    "the answer is cut": ({"kind": "cut_response", "after_bytes": 30, "reset": True}, set()),
    "the answer comes too late": ({"kind": "delay", "seconds": 0.6}, set()),
    "the answer stops half-way": ({"kind": "stall", "after_bytes": 30, "seconds": 0.6}, set()),
    "the answer is no JSON": ({"kind": "garble"}, {DOWNLOAD}),
    "the answer is half its JSON": ({"kind": "truncate"}, {DOWNLOAD}),
    "the answer is empty": ({"kind": "empty"}, set()),
    "the answer has the wrong type": ({"kind": "refuse", "status": 200, "body": "[[17]]"}, {CATALOGUE, DOWNLOAD}),
    "the answer has nothing in it": (
        {"kind": "refuse", "status": 200, "body": {"success": True}},
        {CATALOGUE, DOWNLOAD},
    ),
    "a page with 200": ({"kind": "html", "status": 200}, set()),
    "a page instead of the answer": ({"kind": "html_after", "status": 502}, set()),
    "too many requests": ({"kind": "rate_limit", "retry_after": 0}, set()),
    "too many requests until a date": ({"kind": "rate_limit", "retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, set()),
    **{f"{status}": ({"kind": "refuse", "status": status, "body": ""}, set()) for status in (500, 503)},
    **{f"{status}": ({"kind": "html", "status": status}, set()) for status in (502, 520, 524)},
}


@pytest.fixture
def large_song(tmp_path: Path) -> Path:
    path = tmp_path / "Some Song.wav"
    path.write_bytes(wav(8.0))
    return path


@pytest.mark.parametrize("fault", ONCE)
async def test_what_goes_wrong_once_at_every_stage_costs_nothing_but_time(
    sandbox: Sandbox, client_of: NewClient, large_song: Path, tmp_path: Path, fault: str
) -> None:
    options, harmless = ONCE[fault]
    stages = ALL - harmless
    for path in stages:
        sandbox.faults.add(path=path, **options)
    # What comes late must still come while the service is believed to need time: 90 poll intervals.
    async with client_of(sandbox, timeout=0.5, poll_interval=0.015) as client:
        paths = await client.separate(large_song, tmp_path / "stems", algorithm="BS Roformer")
    assert [path.read_bytes() for path in paths] == [large_song.read_bytes()] * 2
    assert paid(sandbox) == 1
    await until(lambda: stages - {LISTS} <= failed_paths(sandbox))
    assert not list((tmp_path / "stems").rglob("*.part*"))


def failed_paths(sandbox: Sandbox) -> set[str]:
    """Return the stages at which something went wrong."""
    paths = {request.path for request in sandbox.requests if request.fault}
    return {DOWNLOAD if path.startswith("/storage/") else path.removeprefix("/api/") for path in paths}


@pytest.mark.parametrize("fault", [name for name, (_, harmless) in ONCE.items() if not harmless])
async def test_a_cancel_is_sent_again_until_it_is_answered(
    held: Sandbox, client_of: NewClient, song: Path, fault: str
) -> None:
    options, _ = ONCE[fault]
    async with client_of(held, timeout=0.3, poll_interval=0.01) as client:
        job = await client.submit(song, algorithm=40)
        await until(lambda: job.progress.queue_position is not None)
        held.faults.add(path=CANCEL, **options)
        assert await job.cancel()
    assert [made.cancelled for made in held.jobs] == [True]


@pytest.mark.parametrize(
    ("path", "fault", "error"),
    [
        (CREATE, {"kind": "drop"}, TransportError),
        (CREATE, {"kind": "refuse", "status": 503}, ServiceUnavailableError),
        (CREATE, {"kind": "garble"}, None),
        (LOOK, {"kind": "drop"}, TransportError),
        (LOOK, {"kind": "html", "status": 200}, ServiceUnavailableError),
        (LOOK, {"kind": "garble"}, ProtocolError),
        (LOOK, {"kind": "empty"}, ProtocolError),
        (ACCOUNT, {"kind": "drop"}, TransportError),
        (ACCOUNT, {"kind": "html", "status": 522}, ServiceUnavailableError),
        (ACCOUNT, {"kind": "truncate"}, ProtocolError),
        (DOWNLOAD, {"kind": "drop"}, DownloadError),
        (DOWNLOAD, {"kind": "cut_response", "after_bytes": 0}, DownloadError),
        (DOWNLOAD, {"kind": "html", "status": 200}, DownloadError),
        (DOWNLOAD, {"kind": "empty"}, DownloadError),
        (DOWNLOAD, {"kind": "refuse", "status": 404}, DownloadError),
    ],
)
async def test_what_never_stops_going_wrong_ends_with_the_one_right_error(
    sandbox: Sandbox,
    client_of: NewClient,
    song: Path,
    tmp_path: Path,
    path: str,
    fault: dict[str, Any],
    error: type[MVSepError] | None,
) -> None:
    sandbox.faults.add(path=path, count=None, **fault)
    async with client_of(sandbox, poll_interval=0.005, patience=0.3) as client:
        with anyio.fail_after(60):
            if error is None:
                await client.separate(song, tmp_path, algorithm=40)
            else:
                with pytest.raises(error) as raised:
                    await client.separate(song, tmp_path, algorithm=40)
                (job,) = client.jobs()
                assert raised.value.job == job.id
                assert sandbox.premium_token not in repr(raised.getrepr(showlocals=True))
    assert paid(sandbox) == (0 if path == ACCOUNT or (path == CREATE and error) else 1)


async def test_not_found_right_after_create_means_not_yet(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    sandbox.quirks = Quirks(early_not_found=0.3, history_delay=0.4)
    sandbox.faults.add(path=CREATE, kind="lose_answer")
    async with client_of(sandbox) as client:
        await client.separate(song, tmp_path, algorithm=40)
    assert (paid(sandbox), calls(sandbox, CREATE)) == (1, 1)


async def test_a_deleted_job_ends_with_an_error_that_says_so(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, poll_interval=0.002) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        held.delete(str(job.hash))
        with pytest.raises(JobNotFoundError, match="deleted elsewhere, or has expired"):
            await job


async def test_a_service_that_is_down_for_a_while_costs_only_that_while(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox) as client:
        first = await client.submit(song, algorithm=40)
        await first
        await sandbox.go_down()
        second = await client.submit(song, algorithm=40)
        await until(lambda: second.progress.message and "no connection" in second.progress.message)
        await sandbox.come_back()
        await second
    assert paid(sandbox) == 2


async def test_names_that_are_not_found_for_a_while(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, asked = socket.getaddrinfo, 0

    def unsure(host: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        asked += host in ("localhost", b"localhost")
        if asked <= 3:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ask(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", unsure)
    async with client_of(sandbox, base_url=sandbox.url.replace("127.0.0.1", "localhost")) as client:
        paths = await client.separate(song, tmp_path, algorithm=40)
    assert len(paths) == 2
    assert asked > 3
    assert paid(sandbox) == 1
