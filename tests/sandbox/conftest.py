"""One song and one small HTTP client for all tests of the sandbox."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
import soundfile
from attrs import define

from mvsep_async.sandbox import Sandbox

RATE = 22050
SECONDS = 2.0


def make_song(container: str = "WAV", *, seconds: float = SECONDS, rate: int = RATE, channels: int = 2) -> bytes:
    """A voice (880 Hz) in the middle, a guitar (220 Hz) that is opposite in both channels."""
    time = np.arange(int(rate * seconds)) / rate
    voice, guitar = 0.3 * np.sin(2 * np.pi * 880 * time), 0.2 * np.sin(2 * np.pi * 220 * time)
    song = np.stack((voice + guitar, voice - guitar), axis=1) if channels == 2 else voice + guitar
    target = io.BytesIO()
    soundfile.write(target, song, rate, format=container)
    return target.getvalue()


@pytest.fixture(scope="session")
def song() -> bytes:
    return make_song()


@define
class Api:
    """The API of a sandbox, as plain calls; asserts nothing."""

    sandbox: Sandbox
    http: httpx.AsyncClient

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.http.get(path, params=params)

    async def post(self, path: str, **fields: Any) -> httpx.Response:
        return await self.http.post(path, data=fields)

    async def create(
        self, content: bytes | None = b"not audio", *, token: str | None = None, name: str = "song.wav", **fields: Any
    ) -> httpx.Response:
        data = {"api_token": self.sandbox.premium_token if token is None else token, **fields}
        files = None if content is None else {"audiofile": (name, content)}
        return await self.http.post("separation/create", data=data, files=files)

    async def made(self, content: bytes | None = b"not audio", **arguments: Any) -> str:
        """Create a job that must be accepted; its hash."""
        answer = await self.create(content, **arguments)
        assert answer.status_code == 200, answer.text
        hash_: str = answer.json()["data"]["hash"]
        return hash_

    async def status(self, hash_: str, call: str = "get") -> dict[str, Any]:
        answer: dict[str, Any] = (await self.get(f"separation/{call}", hash=hash_)).json()
        return answer

    async def until(self, hash_: str, *statuses: str) -> dict[str, Any]:
        """Poll until the job has one of the statuses (pytest has a timeout)."""
        while True:
            answer = await self.status(hash_)
            if answer["status"] in statuses:
                return answer
            assert answer["status"] not in ("failed", "not_found", "done"), answer
            await anyio.sleep(0.01)

    async def user(self, token: str | None = None) -> dict[str, Any]:
        answer = await self.get("app/user", api_token=token or self.sandbox.premium_token)
        user: dict[str, Any] = answer.json()["data"]
        return user


Open = Callable[..., Awaitable[Api]]


@pytest.fixture
async def open_sandbox() -> AsyncIterator[Open]:
    """`await open_sandbox(**settings)`: a sandbox of its own, cheap (`stems="copy"`) and manual unless said."""
    async with AsyncExitStack() as stack:

        async def open_(**settings: Any) -> Api:
            sandbox = await stack.enter_async_context(Sandbox(**{"stems": "copy", "manual": True, **settings}))
            http = httpx.AsyncClient(base_url=f"{sandbox.url}/api/", timeout=60, verify=False)  # no TLS here
            return Api(sandbox, await stack.enter_async_context(http))

        yield open_
