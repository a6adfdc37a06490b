"""A job is polled at the host that accepted it, and only the service's hosts get requests."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from attrs import evolve

from mvsep_async import MVSepClient, Stage
from mvsep_async.http.hosts import REGIONS
from mvsep_async.jobs.job import entry_of
from mvsep_async.jobs.request import ID_PATTERN
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.settings import Quirks
from tests.conftest import STRANGER

from .support import reached, until


class ToLoopback(httpx.AsyncHTTPTransport):
    """Every name leads to 127.0.0.1; the `Host` header stays what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.hosts: list[tuple[str, str]] = []
        self.down: dict[str, int] = {}
        """Host name -> how many more requests to it fail."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down.get(request.url.host, 0):
            self.down[request.url.host] -= 1
            raise httpx.ConnectError("no route to host")
        self.hosts.append((request.url.path.removeprefix("/api/"), request.url.host))
        request.url = request.url.copy_with(host="127.0.0.1")
        return await super().handle_async_request(request)


@pytest.fixture
async def world() -> AsyncIterator[tuple[Sandbox, MVSepClient, ToLoopback]]:
    transport = ToLoopback()
    async with Sandbox(stems="copy", manual=True) as sandbox, httpx.AsyncClient(transport=transport) as http:
        base = f"http://mvsep.test:{sandbox.port}"
        yield sandbox, MVSepClient(sandbox.premium_token, base_url=base, poll_interval=0.02, http=http), transport


async def test_everything_about_a_job_goes_to_the_host_that_has_it(
    world: tuple[Sandbox, MVSepClient, ToLoopback], song: Path, tmp_path: Path
) -> None:
    sandbox, client, transport = world
    sandbox.quirks = Quirks(link_host=f"de.mvsep.test:{sandbox.port}")
    async with client:
        job, cancelling = [await client.submit(song, algorithm=40) for _ in range(2)]
        await reached(job, Stage.WAITING)
        await reached(cancelling, Stage.WAITING)
        assert await cancelling.cancel()
        sandbox.finish(str(job.hash))
        await job.download(tmp_path / "stems")
        again = client.attach(str(job.hash), host=f"http://de.mvsep.test:{sandbox.port}")
        assert again == job
    hosts = {path: host for path, host in transport.hosts if path.startswith("separation/")}
    assert hosts == {
        "separation/create": "mvsep.test",
        "separation/get": "de.mvsep.test",
        "separation/cancel": "de.mvsep.test",
    }


async def test_a_job_whose_answer_was_lost_is_looked_for_at_every_host(
    world: tuple[Sandbox, MVSepClient, ToLoopback], song: Path, tmp_path: Path
) -> None:
    """The lists that show it name no host."""
    sandbox, client, transport = world
    sandbox.quirks = Quirks(link_host=f"sg.mvsep.test:{sandbox.port}")
    sandbox.faults.add(kind="lose_answer", path="separation/create")
    async with client:
        job = await client.submit(song, algorithm=40)
        await until(lambda: job.progress.queue_position is not None)
        sandbox.finish(str(job.hash))
        assert len(await job.download(tmp_path / "stems")) == 2
    assert str(entry_of(job).facts.host) == f"http://sg.mvsep.test:{sandbox.port}"
    assert len(sandbox.jobs) == 1
    assert {host for _, host in transport.hosts} <= {"mvsep.test", *(f"{region}.mvsep.test" for region in REGIONS)}


async def test_a_host_that_cannot_be_asked_may_have_the_job_whose_answer_was_lost(
    world: tuple[Sandbox, MVSepClient, ToLoopback], song: Path, tmp_path: Path
) -> None:
    """The job is paid: "not found" at all other hosts does not end it."""
    sandbox, client, transport = world
    sandbox.quirks = Quirks(link_host=f"de.mvsep.test:{sandbox.port}")
    sandbox.faults.add(kind="lose_answer", path="separation/create")
    transport.down = {"de.mvsep.test": 3}
    async with client:
        assert client._session is not None
        client._session.scheduler.poller.grace = 0.0  # so that "not found" counts at once
        job = await client.submit(song, algorithm=40)
        await until(lambda: job.progress.queue_position is not None or job.done())
        sandbox.finish(str(job.hash))
        assert len(await job.download(tmp_path / "stems")) == 2
    assert transport.down == {"de.mvsep.test": 0}


@pytest.mark.parametrize(("named", "asked"), [("sg.mvsep.test", "sg.mvsep.test"), ("evil.test", "mvsep.test")])
async def test_a_url_job_may_move_to_another_host_once_it_is_fetched(named: str, asked: str) -> None:
    hash = "20230327071601-0e3e5c6c85-a.wav"
    hosts: dict[str, str] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        if "/app/" in request.url.path:  # the account's lists are read before the create of a URL job
            return httpx.Response(200, json={"success": True, "data": []})
        path = request.url.path.removeprefix("/api/separation/")
        hosts[path] = request.url.host
        data: dict[str, object] = {
            "create": {"hash": "n2AwBjy4KsFZfqqR", "link": "http://mvsep.test/api/separation/get-remote?hash=n2Aw"},
            "get-remote": {"link": f"http://{named}/api/separation/get?hash={hash}"},
            "get": {"algorithm": "a", "files": []},
        }
        return httpx.Response(200, json={"success": True, "status": "done", "data": data[path]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        settings: Any = {
            "base_url": "http://mvsep.test",
            "poll_interval": 0.01,
            "http": http,
            "concurrency": 1,
            "requests_per_minute": 6000,
        }
        async with MVSepClient(STRANGER, **settings) as client:
            job = await client.submit("http://music.test/a.wav", algorithm=40)
            assert (await job).hash == hash
    assert hosts == {"create": "mvsep.test", "get-remote": "mvsep.test", "get": asked}


@pytest.mark.parametrize("elsewhere", ["evil.test", "mvsep.test.evil.test", "de.sg.mvsep.test", "notmvsep.test"])
async def test_a_link_to_a_host_that_is_not_the_services_is_not_followed(
    world: tuple[Sandbox, MVSepClient, ToLoopback], song: Path, elsewhere: str
) -> None:
    sandbox, client, transport = world
    sandbox.quirks = evolve(Quirks(), link_host=f"{elsewhere}:{sandbox.port}", host_bound=False)
    async with client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        sandbox.finish(str(job.hash))
        await job
    assert {host for path, host in transport.hosts if path.startswith(("separation/", "app/"))} == {"mvsep.test"}


async def test_only_the_host_it_was_sent_to_is_believed_that_it_has_no_job(song: Path) -> None:
    """The others are asked meanwhile, and may take longer than the service ever needs to show a job."""
    tags: list[str] = []
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        call = request.url.path.removeprefix("/api/")
        if call == "separation/create":
            tags.extend(re.findall(ID_PATTERN, (await request.aread()).decode("latin-1"))[:1])
            raise httpx.ReadError("the answer is lost")
        if call == "separation/get":
            asked.append(request.url.host)
            if request.url.host != "mvsep.test":
                await anyio.sleep(0.4)
            if asked.count("mvsep.test") < 2 or request.url.host != "mvsep.test":
                return httpx.Response(200, json={"success": False, "status": "not_found"})
            return httpx.Response(
                200, json={"success": True, "status": "done", "data": {"algorithm": "a", "files": []}}
            )
        listed = [{"hash": f"20230327071601-0e3e5c6c85-{tag}-a.wav"} for tag in tags]
        data: object = listed if call == "app/separation_history" else {"current_queue": None}
        return httpx.Response(200, json={"success": True, "data": data})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        settings: Any = {"poll_interval": 0.02, "concurrency": 1, "requests_per_minute": 6000, "http": http}
        async with MVSepClient(STRANGER, base_url="http://mvsep.test", **settings) as client:
            client._open().scheduler.poller.grace = 0.5
            assert (await (await client.submit(song, algorithm=40))).hash
    assert asked[-1] == "mvsep.test"
    assert len(set(asked)) > 1
