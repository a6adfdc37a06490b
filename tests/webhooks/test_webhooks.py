"""Real and forged webhooks over real sockets: their effect and their cost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from mvsep_async import ConfigurationError, Job, MVSepClient, Stage
from mvsep_async.sandbox import Sandbox
from mvsep_async.webhooks import MAX_BODY, WebhookReceiver
from tests.client.support import calls, reached, until
from tests.conftest import STRANGER, NewClient
from tests.serving import served

NEVER = 3600.0
"""A poll interval longer than any test: only a webhook causes a poll."""


class Recorder:
    """An ASGI application around another, which notes each request and its answer."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.answers: list[tuple[str, int]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.answers.append((scope["method"], message["status"]))
            await send(message)

        await self.app(scope, receive, noted)


@asynccontextmanager
async def public(receiver: WebhookReceiver, client: MVSepClient) -> AsyncIterator[Recorder]:
    """Serve a receiver alone, and let the client tell the service so."""
    recorder = Recorder(receiver)
    async with served(recorder, lifespan="on") as url:
        client.webhook_url = receiver.url = url + receiver.path
        yield recorder


async def at_service(client: MVSepClient, song: Path) -> Job:
    job = await client.submit(song, algorithm=40)
    await reached(job, Stage.WAITING)
    return job


async def test_a_webhook_ends_a_job_before_the_next_poll(held: Sandbox, client_of: NewClient, song: Path) -> None:
    client = client_of(held, poll_interval=NEVER)
    async with public(WebhookReceiver(client), client) as recorder, client:
        job = await at_service(client, song)
        held.finish(str(job.hash))
        separation = await job
        assert separation.files
        assert calls(held, "separation/get") == 1
        await until(lambda: len(recorder.answers) == 2)
    assert sorted(recorder.answers) == [("GET", 200), ("POST", 200)]


async def test_a_webhook_for_a_failed_job(held: Sandbox, client_of: NewClient, song: Path) -> None:
    client = client_of(held, poll_interval=NEVER)
    async with public(WebhookReceiver(client), client), client:
        job = await at_service(client, song)
        held.fail(str(job.hash), "no audio in it")
        async for _ in job:
            pass
        assert "no audio in it" in str(job.error)


def in_starlette(receiver: WebhookReceiver) -> Any:
    return Starlette(routes=[Mount("/hooks", app=receiver)])


def in_fastapi(receiver: WebhookReceiver) -> Any:
    app = FastAPI()
    app.mount("/hooks", receiver)
    return app


def behind_a_proxy_that_strips(receiver: WebhookReceiver) -> Any:
    mounted = in_fastapi(receiver)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await mounted({**scope, "root_path": "/outside"}, receive, send)

    return app


def in_a_mount_of_a_mount(receiver: WebhookReceiver) -> Any:
    return Starlette(routes=[Mount("/hooks", routes=[Mount("/mvsep", app=receiver)])])


@pytest.mark.parametrize(
    ("build", "prefix", "options"),
    [
        (in_starlette, "/hooks", {}),
        (in_fastapi, "/hooks", {}),
        (behind_a_proxy_that_strips, "/hooks", {}),
        (in_a_mount_of_a_mount, "/hooks/mvsep", {}),
        (lambda receiver: receiver, "", {"root_path": "/outside"}),
    ],
)
async def test_it_works_below_any_mount(
    held: Sandbox,
    client_of: NewClient,
    song: Path,
    build: Callable[[WebhookReceiver], Any],
    prefix: str,
    options: dict[str, Any],
) -> None:
    client = client_of(held, poll_interval=NEVER)
    receiver = WebhookReceiver(client)
    async with served(build(receiver), **options) as url, client, httpx.AsyncClient(trust_env=False) as http:
        job = await at_service(client, song)
        assert (await http.get(url + prefix + receiver.path)).status_code == 200
        held.finish(str(job.hash))
        assert (await http.post(url + prefix + receiver.path, json={"hash": job.hash})).status_code == 200
        await job
        assert (await http.post(url + prefix + receiver.path[:-1], json={"hash": job.hash})).status_code == 404
        assert (await http.get(url + prefix + "/")).status_code == 404


async def test_every_submit_carries_the_public_address_unless_it_names_its_own(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    client = client_of(held)
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            asked.append(scope["path"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})

    async with served(app, lifespan="off") as url:
        receiver = WebhookReceiver(client, public_url=f"{url}/hooks/")
        assert receiver.url == client.webhook_url == f"{url}/hooks{receiver.path}"
        async with client:
            await at_service(client, song)
            await client.submit(song, algorithm=40, webhook_url=f"{url}/of-my-own")
            await until(lambda: len(asked) == 2)
    assert sorted(asked) == sorted([f"/hooks{receiver.path}", "/of-my-own"])


def test_the_path_cannot_be_guessed_and_is_not_shown() -> None:
    client = MVSepClient(STRANGER, base_url="http://127.0.0.1:1")
    first, second = WebhookReceiver(client), WebhookReceiver(client, "https://bot.example")
    assert first.path != second.path
    assert len(first.path) >= 32
    assert first.path not in repr(first)
    assert second.path not in repr(second)
    with pytest.raises(ConfigurationError, match="public_url"):
        WebhookReceiver(client, "bot.example")


Post = Callable[[Any], Awaitable[int]]


@asynccontextmanager
async def forger(held: Sandbox, client: MVSepClient) -> AsyncIterator[Post]:
    """Give a function that posts anything to a client's receiver, as one who knows its path could."""
    receiver = WebhookReceiver(client)
    async with served(receiver) as url, client, httpx.AsyncClient(trust_env=False) as http:

        async def post(body: Any) -> int:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return (await http.post(url + receiver.path, content=content)).status_code

        yield post


async def settled(client: MVSepClient) -> None:
    """Let whatever looks were brought about go out: requests of ours follow them."""
    for _ in range(5):
        await client.account.user()


async def test_a_forged_webhook_costs_one_poll(held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    client = client_of(held, poll_interval=NEVER)
    async with forger(held, client) as post:
        job = await at_service(client, song)
        lie = {
            "success": True,
            "status": "done",
            "hash": job.hash,
            "data": {"hash": job.hash, "files": [{"url": "http://127.0.0.1:9/evil.wav", "download": "../evil.wav"}]},
        }
        for _ in range(3):
            assert await post(lie) == 200
        await until(lambda: calls(held, "separation/get") >= 1)
        for _ in range(50):
            assert await post(lie) == 200
        await settled(client)
        assert calls(held, "separation/get") == 1
        assert job.stage is Stage.WAITING
        assert job.error is None
        assert job.paths == ()


async def test_one_webhook_causes_one_poll(held: Sandbox, client_of: NewClient, song: Path) -> None:
    client = client_of(held, poll_interval=NEVER)
    async with forger(held, client) as post:
        first, second = await at_service(client, song), await at_service(client, song)
        await post([{"hash": first.hash}, {"job_hash": second.hash}])
        await until(lambda: calls(held, "separation/get") >= 1)
        await settled(client)
        assert calls(held, "separation/get") == 1


async def test_a_late_webhook_has_no_effect(held: Sandbox, client_of: NewClient, song: Path) -> None:
    client = client_of(held, poll_interval=NEVER)
    async with forger(held, client) as post:
        job = await at_service(client, song)
        held.finish(str(job.hash))
        await post({"hash": job.hash})
        await job
        for _ in range(5):
            await post({"hash": job.hash})
        await settled(client)
        assert calls(held, "separation/get") == 1


@pytest.mark.parametrize(
    "body",
    [
        {"hash": "20230327071601-0e3e5c6c85-13-dimensions.mp3"},
        {"hash": ["a", "b"]},
        {"hash": ""},
        {"hash": None, "data": "text"},
        [],
        b"",
        b"{",
        b"\xff\xfe\x00",
        b'{"hash": "\\ud800"}',
        b'{"hash": "\\x"}',
        b"[" * 100_000,
        b'{"hash":' * 10_000,
    ],
)
async def test_an_unknown_or_invalid_webhook_has_no_effect(
    held: Sandbox, client_of: NewClient, song: Path, body: Any
) -> None:
    client = client_of(held, poll_interval=NEVER)
    async with forger(held, client) as post:
        job = await at_service(client, song)
        assert await post(body) == 200
        await settled(client)
        assert calls(held, "separation/get") == 0
        assert job.stage is Stage.WAITING


async def test_other_methods_and_bodies_that_are_too_large_are_refused(held: Sandbox, client_of: NewClient) -> None:
    client = client_of(held)
    receiver = WebhookReceiver(client)
    async with served(receiver) as url, client, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.put(url + receiver.path)).status_code == 405
        assert (await http.head(url + receiver.path)).status_code == 200
        assert (await http.post(url + receiver.path, content=b" " * MAX_BODY)).status_code == 200
        assert (await http.post(url + receiver.path, content=b" " * (MAX_BODY + 1))).status_code == 413


async def test_an_endless_body_is_read_up_to_the_limit() -> None:
    taken, statuses = 0, []

    async def receive() -> Any:
        nonlocal taken
        taken += 65536
        return {"type": "http.request", "body": b" " * 65536, "more_body": True}

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    receiver = WebhookReceiver(MVSepClient(STRANGER, base_url="http://127.0.0.1:1"))
    await receiver({"type": "http", "method": "POST", "path": receiver.path}, receive, send)
    assert statuses[0] == 413
    assert taken <= MAX_BODY + 65536


async def test_it_can_be_served_before_the_client_is_open_and_after_it_is_closed(
    held: Sandbox, client_of: NewClient
) -> None:
    client = client_of(held)
    receiver = WebhookReceiver(client)
    async with served(receiver) as url, httpx.AsyncClient(trust_env=False) as http:

        async def asked() -> tuple[int, int]:
            probe = await http.get(url + receiver.path)
            return probe.status_code, (await http.post(url + receiver.path, json={"hash": "a"})).status_code

        assert await asked() == (200, 503)
        async with client:
            assert await asked() == (200, 200)
        assert await asked() == (200, 503)


async def test_a_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    receiver = WebhookReceiver(MVSepClient(STRANGER, base_url="http://127.0.0.1:1"))
    await receiver({"type": "websocket", "path": receiver.path}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


@settings(max_examples=50, deadline=None)
@given(
    hash=st.text(min_size=1, max_size=100),
    rest=st.dictionaries(st.text(max_size=9), st.text(max_size=9)),
    ascii=st.booleans(),
)
async def test_a_hash_is_read_as_json_would_read_it(hash: str, rest: dict[str, Any], ascii: bool) -> None:
    looked_up: list[str] = []

    class Client(MVSepClient):
        def poll_soon(self, hash: str) -> bool:
            looked_up.append(hash)
            return True

    receiver = WebhookReceiver(Client(STRANGER, base_url="http://127.0.0.1:1"))
    body = json.dumps(
        {"hash": hash, **{name: value for name, value in rest.items() if name != "hash"}}, ensure_ascii=ascii
    )

    async def receive() -> Any:
        return {"type": "http.request", "body": body.encode()}

    async def send(message: Any) -> None:
        pass

    await receiver({"type": "http", "method": "POST", "path": receiver.path}, receive, send)
    assert looked_up == [hash]


async def test_an_incomplete_body_has_no_effect() -> None:
    messages = iter(
        [{"type": "http.request", "body": b'{"hash": "a"}', "more_body": True}, {"type": "http.disconnect"}]
    )

    class Client(MVSepClient):
        def poll_soon(self, hash: str) -> bool:
            raise AssertionError("a webhook that is not whole was believed")

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        pass

    receiver = WebhookReceiver(Client(STRANGER, base_url="http://127.0.0.1:1"))
    await receiver({"type": "http", "method": "POST", "path": receiver.path}, receive, send)
