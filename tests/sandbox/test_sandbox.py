"""Starting, stopping, and the controls for tests."""

import json
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import mvsep_async.sandbox
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.server.listener import Listener, bind

from .conftest import Open


def test_it_works_without_an_event_loop() -> None:
    with Sandbox() as sandbox:
        answer = httpx.get(f"{sandbox.url}/api/app/user", params={"api_token": sandbox.free_token})
        assert answer.json()["data"]["name"] == "Free"
    with pytest.raises(httpx.ConnectError):
        httpx.get(sandbox.url)


def test_it_works_with_trio() -> None:
    async def main() -> int:
        async with Sandbox() as sandbox, httpx.AsyncClient() as http:
            return (await http.get(f"{sandbox.url}/api/app/queue")).status_code

    assert anyio.run(main, backend="trio") == 200


def test_jobs_and_requests_can_be_read_afterwards() -> None:
    with Sandbox(stems="copy", manual=True) as sandbox:
        data = {"api_token": sandbox.premium_token}
        httpx.post(f"{sandbox.url}/api/separation/create", data=data, files={"audiofile": ("a.wav", b"x")})
    assert [job.filename for job in sandbox.jobs] == ["a.wav"]
    assert sandbox.peak_unfinished(sandbox.premium_token) == 1
    assert len(sandbox.requests) == 1


def test_its_files_are_deleted_at_the_end(tmp_path: Path) -> None:
    with Sandbox(stems="copy", folder=tmp_path) as sandbox:
        data = {"api_token": sandbox.premium_token}
        httpx.post(f"{sandbox.url}/api/separation/create", data=data, files={"audiofile": ("a.wav", b"x")})
        assert len(list(tmp_path.rglob("*"))) == 2
    assert list(tmp_path.iterdir()) == []


def test_port_and_tokens_can_be_given() -> None:
    with Sandbox() as first:
        port = first.port
    with Sandbox(port=port, premium_token="my-token") as second:
        assert second.port == port
        answer = httpx.get(f"{second.url}/api/app/user", params={"api_token": "my-token"})
        assert answer.json()["data"]["name"] == "Premium"
        with pytest.raises(OSError), Sandbox(port=port):
            pass


def test_it_must_be_started_and_only_once() -> None:
    sandbox = Sandbox()
    with pytest.raises(RuntimeError, match="with"):
        _ = sandbox.jobs
    with sandbox:
        pass
    with pytest.raises(RuntimeError, match="used already"), sandbox:
        pass


def test_its_thread_ends() -> None:
    before = set(threading.enumerate())
    with Sandbox():
        assert set(threading.enumerate()) - before
    left = {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("asyncio-portal")}
    assert left == set()


async def test_stopping_does_not_wait_for_requests(open_sandbox: Open, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "uvicorn"):
        async with Sandbox(stems="copy") as sandbox, httpx.AsyncClient(timeout=60) as http:
            sandbox.faults.add(kind="stall", path="app/algorithms", after_bytes=10, seconds=3600)
            async with http.stream("GET", f"{sandbox.url}/api/app/algorithms") as response:
                assert response.status_code == 200
                await sandbox.__aexit__(None, None, None)
                with pytest.raises(httpx.TransportError):
                    await response.aread()
    assert caplog.records == []


async def test_down_and_back_with_all_its_jobs(open_sandbox: Open) -> None:
    api = await open_sandbox()
    hash_ = await api.made()
    await api.sandbox.go_down()
    with pytest.raises(httpx.TransportError):
        await api.status(hash_)
    with pytest.raises(httpx.ConnectError):
        await api.status(hash_)
    api.sandbox.finish(hash_)
    await api.sandbox.come_back()
    assert (await api.status(hash_))["status"] == "done"


async def test_accounts_can_be_added(open_sandbox: Open) -> None:
    api = await open_sandbox()
    token = api.sandbox.add_account(premium=True, minutes=7, name="Third")
    user = await api.user(token)
    assert (user["name"], user["premium_minutes"], user["premium_enabled"]) == ("Third", 7, 1)
    api.sandbox.set_minutes(token, 3)
    assert (await api.user(token))["premium_minutes"] == 3
    with pytest.raises(KeyError):
        api.sandbox.minutes("unknown")


async def test_jobs_continue_by_themselves_unless_manual(open_sandbox: Open) -> None:
    api = await open_sandbox(manual=False, job_seconds=lambda serial: 100.0 * (serial + 1))
    first, second = await api.made(), await api.made()
    api.sandbox.advance(101)
    assert [job.state for job in api.sandbox.jobs] == ["done", "running"]
    api.sandbox.advance(100)
    records = [api.sandbox.job(hash_) for hash_ in (first, second)]
    assert [round(job.done_at - job.started_at) for job in records if job.done_at and job.started_at] == [100, 200]


async def test_processing_takes_audio_length_divided_by_speed(open_sandbox: Open, song: bytes) -> None:
    api = await open_sandbox(manual=False, stems="separate", speed=0.01, queue_seconds=50)
    hash_ = await api.made(song)
    assert (await api.status(hash_))["status"] == "waiting"
    api.sandbox.advance(51)
    assert (await api.status(hash_))["status"] == "processing"
    while not api.sandbox.job(hash_).files:
        await anyio.sleep(0.01)
    api.sandbox.advance(200)
    await api.until(hash_, "done")
    job = api.sandbox.job(hash_)
    assert job.started_at is not None
    assert job.done_at is not None
    assert job.done_at - job.started_at == pytest.approx(200)
    assert job.started_at - job.created >= 50


@pytest.fixture
async def hook() -> AsyncIterator[tuple[str, list[tuple[str, Any]]]]:
    """A webhook's address, and what came to it."""
    calls: list[tuple[str, Any]] = []

    async def take(request: Request) -> Response:
        body = await request.body()
        calls.append((request.method, json.loads(body) if body else None))
        return Response()

    listener = Listener(Starlette(routes=[Route("/hook", take, methods=["GET", "POST"])]), {}, tls=None)
    bound = bind(0)
    port = bound.getsockname()[1]
    await listener.open(bound)
    yield f"http://127.0.0.1:{port}/hook", calls
    await listener.close()


@pytest.mark.parametrize("state", ["done", "failed"])
async def test_webhooks_are_called_without_any_request(
    open_sandbox: Open, hook: tuple[str, list[tuple[str, Any]]], state: str
) -> None:
    url, calls = hook
    api = await open_sandbox(manual=False, job_seconds=0.05, fail_names=("fail*",))
    hash_ = await api.made(webhook_url=url, name="fail.wav" if state == "failed" else "song.wav")
    while len(calls) < 2:
        await anyio.sleep(0.01)
    assert calls[0] == ("GET", None)
    method, body = calls[1]
    assert (method, body) == ("POST", {"hash": hash_, **await api.status(hash_)})
    assert body["status"] == state


async def test_an_unreachable_webhook_is_ignored(open_sandbox: Open) -> None:
    api = await open_sandbox()
    hash_ = await api.made(webhook_url="http://127.0.0.1:1/")
    api.sandbox.finish(hash_)
    assert (await api.status(hash_))["status"] == "done"


async def test_control_from_another_process(open_sandbox: Open) -> None:
    api = await open_sandbox()
    base = f"{api.sandbox.url}/_sandbox"

    async def do(command: str, **arguments: Any) -> Any:
        answer = await api.http.post(f"{base}/{command}", json=arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    hash_ = await api.made(name="Tag song.wav")
    await do("show", hash=hash_, status="merging", data={"message": "m"})
    assert (await api.status(hash_))["status"] == "merging"
    await do("show", hash=hash_)
    await do("start", hash=hash_)
    await do("finish", hash=hash_)
    failed, deleted = await api.made(), await api.made()
    await do("fail", hash=failed, message="m")
    await do("delete", hash=deleted)
    assert len(await do("occupy", token=api.sandbox.premium_token, count=2)) == 2
    assert await do("release", token=api.sandbox.premium_token, count=1) == 1
    await do("set", speed=5.0, refusal="silent")
    assert (api.sandbox.speed, api.sandbox.refusal) == (5.0, "silent")
    state = (await api.http.get(f"{base}/state")).json()
    assert [job["state"] for job in state["jobs"]] == ["done", "failed", "deleted", "done", "running"]
    assert state["jobs"][0]["filename"] == "Tag song.wav"
    assert state["accounts"][0]["peak_unfinished"] == 2
    assert state["counts"]["by_path"]["POST /api/separation/create"] == 3
    await do("advance", seconds=10)
    await do("expire_links")
    assert (await api.http.get(f"{base}/requests")).json()[0]["path"] == "/api/separation/create"


async def test_faults_from_another_process(open_sandbox: Open) -> None:
    api = await open_sandbox()
    base = f"{api.sandbox.url}/_sandbox/faults"
    fault = {"kind": "refuse", "path": "app/queue", "status": 503, "count": 2}
    assert (await api.http.post(base, json=fault)).json()[0]["count"] == 2
    assert (await api.get("app/queue")).status_code == 503
    assert (await api.http.get(base)).json()[0]["count"] == 1
    assert (await api.http.delete(base)).json() == []
    assert (await api.get("app/queue")).status_code == 200
    assert (await api.http.post(base, json={"kind": "no such"})).status_code == 400
    assert (await api.http.post(base, json={"nonsense": 1})).status_code == 400
    for wrong in ({"path": 5}, {"count": "many"}, {"status": "bad"}, {"headers": {"Retry-After": 1}}):
        assert (await api.http.post(base, json={"kind": "drop", **wrong})).status_code == 400
    assert (await api.get("app/queue")).status_code == 200


async def test_invalid_commands_are_refused(open_sandbox: Open) -> None:
    api = await open_sandbox()
    base = f"{api.sandbox.url}/_sandbox"
    for command, arguments, status in (
        ("nothing", {}, 404),
        ("finish", {}, 400),
        ("finish", {"hash": "none"}, 400),
        ("occupy", {"token": "none"}, 400),
        ("set", {"quirks": 1}, 400),
        ("set", {"no_such_setting": 1}, 400),
        ("set", {"url": "http://127.0.0.1"}, 400),
        ("set", {"speed": "fast"}, 400),
        ("set", {"speed": None}, 400),
        ("set", {"refusal": 1}, 400),
        ("set", {"tls": 1}, 400),
        ("set", [1], 400),
        ("set", {"port": 1}, 400),
        ("set", {"links_expire": 5, "job_seconds": None, "manual": False, "body_read_timeout": None}, 200),
        ("quirks", {"no_such_quirk": 1}, 400),
        ("quirks", {"null_tags": "yes"}, 400),
        ("quirks", {"null_tags": True, "link_host": "h", "current_queue": "count"}, 200),
    ):
        assert (await api.http.post(f"{base}/{command}", json=arguments)).status_code == status


async def test_tls() -> None:
    authority = trustme.CA()
    served, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.configure_trust(trusting)
    async with Sandbox(tls=served, stems="copy") as sandbox, httpx.AsyncClient(verify=trusting) as http:
        data = {"api_token": sandbox.premium_token}
        url = f"{sandbox.url}/api/separation/create"
        answer = await http.post(url, data=data, files={"audiofile": ("a.wav", b"x")})
        assert answer.json()["data"]["link"].startswith("https://")


async def test_many_jobs_at_once_never_exceed_the_limit() -> None:
    async with Sandbox(stems="copy", job_seconds=0.01) as sandbox, httpx.AsyncClient(timeout=30) as http:
        refused = accepted = 0

        async def create() -> None:
            nonlocal refused, accepted
            answer = await http.post(
                f"{sandbox.url}/api/separation/create",
                data={"api_token": sandbox.premium_token},
                files={"audiofile": ("a.wav", b"x")},
            )
            accepted += answer.status_code == 200
            refused += answer.status_code == 400

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(create)
        assert accepted + refused == 100
        assert accepted == len(sandbox.jobs)
        assert 1 <= sandbox.peak_unfinished(sandbox.premium_token) <= 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving_ends_with_a_signal(number: signal.Signals) -> None:
    script = (
        "from mvsep_async.sandbox import Sandbox, serve\n"
        "serve(Sandbox(), lambda sandbox: print(sandbox.url, flush=True))\n"
        "print('ended', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=_env()) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert httpx.get(f"{url}/api/app/queue", timeout=60).status_code == 200
            process.send_signal(number)
            assert process.stdout.read() == "ended\n"
            assert process.wait() == 0
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["uvicorn", "av"])
def test_a_missing_package_is_named(name: str) -> None:
    script = f"import sys; sys.modules[{name!r}] = None; import mvsep_async.sandbox"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=_env(), check=False)
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert last.endswith(f'({name}): pip install "mvsep-async[sandbox]"')


def test_av_is_imported_only_when_it_is_needed() -> None:
    script = "import sys, mvsep_async.sandbox; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], env=_env(), check=False).returncode == 0


def test_all_public_names_exist() -> None:
    assert all(hasattr(mvsep_async.sandbox, name) for name in mvsep_async.sandbox.__all__)


def _env() -> dict[str, str]:
    root = str(Path(mvsep_async.sandbox.__file__).parents[2])
    return {**os.environ, "PYTHONPATH": root}
