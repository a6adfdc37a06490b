"""The token is sent to the service only: it is in no log, message, traceback, repr or other request."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mvsep_async import MVSepClient, MVSepError, OutputFormat, Stage
from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient

from .support import reached

TOKEN = "Zx9-secret-7fLq0aPt"


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Everything that any logger says at any level, formatted, with the tracebacks."""
    lines: list[str] = []
    formatter = logging.Formatter("%(name)s %(message)s")

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(formatter.format(record))
            lines.append(repr(record.__dict__))

    handler = Keep()
    root = logging.getLogger()
    names = ["", "mvsep_async", "httpx", "httpcore", "httpcore.http11", "httpcore.connection", "asyncio", "stamina"]
    before = {name: logging.getLogger(name).level for name in names}
    root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def everything_said_of(error: BaseException) -> str:
    """Return all that could be shown of an error, with the locals of all frames but the tests' own."""
    said = [str(error), repr(error), repr(error.__dict__), repr(error.args)]
    chain: list[traceback.TracebackException | None]
    chain = [traceback.TracebackException.from_exception(error, capture_locals=True)]
    while chain:
        shown = chain.pop()
        if shown is not None:
            said += [str(shown), *(f"{frame.locals}" for frame in shown.stack if frame.filename != __file__)]
            chain += [shown.__cause__, shown.__context__, *(shown.exceptions or ())]
    return "\n".join(said)


async def test_no_log_of_a_whole_run_holds_it(song: Path, tmp_path: Path, logged: list[str]) -> None:
    async with Sandbox(stems="copy", job_seconds=0.0, premium_token=TOKEN) as sandbox:
        sandbox.faults.add(kind="html", path="app/user")
        sandbox.faults.add(kind="lose_answer", path="separation/create")
        sandbox.faults.add(kind="rate_limit", path="app/separation_history", retry_after=0)
        sandbox.faults.add(kind="cut_response", path="/storage/*", after_bytes=100)
        # An own client logs each URL by itself, token and all.
        async with httpx.AsyncClient() as http:
            settings: Any = {"base_url": sandbox.url, "poll_interval": 0.02, "requests_per_minute": 6000, "http": http}
            async with MVSepClient(TOKEN, **settings) as client:
                await client.separate(
                    song, tmp_path / "out", algorithm="BS Roformer", output_format=OutputFormat.WAV_16
                )
                await client.account.history()
                with pytest.raises(MVSepError):
                    await client.submit(song, algorithm="nonesuch")
    text = "\n".join(logged)
    assert "/api/app/user" in text  # the URL was logged
    assert "api_token" in text
    assert TOKEN not in text


ECHO: dict[str, Any] = {"success": False, "message": f"user {TOKEN} may not", "errors": {"x": [f"no {TOKEN}!"]}}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "refuse", "status": 400, "body": ECHO},
        {"kind": "refuse", "status": 401, "body": ECHO},
        {"kind": "refuse", "status": 404, "body": ECHO},
        {"kind": "refuse", "status": 503, "body": ECHO},
        {"kind": "refuse", "status": 200, "body": f"nonsense {TOKEN}"},
        {"kind": "refuse", "status": 200, "body": "x" * 190 + TOKEN + "y"},
        {"kind": "html", "status": 404, "body": f"<html><title>{TOKEN}</title>"},
        {"kind": "html", "status": 403, "body": f"<html><title>{TOKEN}</title>"},
        {"kind": "refuse", "status": 302, "headers": {"Location": f"https://evil.test/?api_token={TOKEN}"}},
        {"kind": "refuse", "status": 200, "body": {"data": {"api_token": TOKEN, "premium_minutes": {"no": "number"}}}},
        {"kind": "drop"},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('status')}-{type(fault.get('body')).__name__}",
)
async def test_no_error_holds_it_whatever_the_service_says(fault: dict[str, Any], logged: list[str]) -> None:
    async with Sandbox(premium_token=TOKEN) as sandbox:
        sandbox.faults.add(path="app/*", count=None, **fault)
        settings: Any = {"base_url": sandbox.url, "poll_interval": 0.02, "patience": 0.1}
        async with MVSepClient(TOKEN, concurrency=None, **settings) as client:
            job = await client.submit(None, algorithm=62)
            with pytest.raises(MVSepError) as caught:
                await job
            assert TOKEN not in everything_said_of(caught.value)
            assert TOKEN not in everything_said_of(await failure_of(client))
    assert TOKEN not in "\n".join(logged)


async def failure_of(client: MVSepClient) -> MVSepError:
    """Ask once for the account, without the patience of the endpoints, and return the error."""
    patient: Any = client.account._caller
    with pytest.raises(MVSepError) as caught:
        await AccountAPI(patient.caller).user()
    return caught.value


async def test_no_error_of_a_create_holds_it(song: Path, logged: list[str]) -> None:
    async with Sandbox(premium_token=TOKEN, stems="copy") as sandbox:
        sandbox.faults.add(path="separation/create", kind="refuse", status=401, body=ECHO)
        sandbox.faults.add(path="app/user", kind="refuse", status=401, body=ECHO, count=None)
        async with MVSepClient(TOKEN, base_url=sandbox.url, poll_interval=0.02, concurrency=1) as client:
            with pytest.raises(MVSepError) as caught:
                await (await client.submit(song, algorithm=40))
    assert TOKEN not in everything_said_of(caught.value)
    assert TOKEN not in "\n".join(logged)


async def test_no_object_of_the_client_shows_it(song: Path) -> None:
    async with Sandbox(premium_token=TOKEN, stems="copy", manual=True) as sandbox:
        settings: Any = {"base_url": sandbox.url, "poll_interval": 0.02, "requests_per_minute": 6000}
        async with MVSepClient(TOKEN, **settings) as client:
            job = await client.submit(song, algorithm=40)
            await reached(job, Stage.WAITING)
            homes = [(str(type(thing).__module__), thing) for thing in gc.get_objects()]
            ours = [thing for home, thing in homes if home.startswith("mvsep_async") and ".sandbox" not in home]
            assert any(isinstance(thing, MVSepClient) for thing in ours)
            for thing in ours:
                assert TOKEN not in repr(thing), type(thing)
                assert TOKEN not in str(thing), type(thing)


async def test_downloads_carry_neither_token_nor_anything_of_the_callers_client(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    sent: list[httpx.Request] = []

    async def keep(request: httpx.Request) -> None:
        sent.append(request)

    headers = {"Authorization": "Bearer mine", "Cookie": "session=mine"}
    async with (
        httpx.AsyncClient(event_hooks={"request": [keep]}, headers=headers, params={"mine": "1"}) as http,
        client_of(sandbox, http=http) as client,
    ):
        await client.separate(song, tmp_path / "out", algorithm=40)
    downloads = [request for request in sent if request.url.path.startswith("/storage/")]
    assert len(downloads) == 2
    for request in downloads:
        assert sandbox.premium_token not in f"{request.url}{request.headers}"
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers


async def test_it_is_sent_only_where_it_is_needed(sandbox: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(sandbox) as client:
        await (await client.submit(song, algorithm=40))
    with_token = {request.path for request in sandbox.requests if "api_token" in request.query}
    assert with_token == {"/api/app/user"}
