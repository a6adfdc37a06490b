"""The requests that the sandbox sends itself, to this machine only: the files of URL jobs, and webhooks."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.abc
import httpx
from attrs import define

from .form import Upload
from .jobs import Job, Phase
from .parameters import is_loopback

_WEBHOOK_TIMEOUT = 5.0


class FetchFailedError(Exception):
    """The file cannot be fetched; the job fails with the message."""


async def fetch(url: str, known: Mapping[str, Path], folder: Path, limit: int) -> Upload:
    """Download `url` to `folder`; where `known` has the URL, copy that file instead."""
    path = folder / secrets.token_hex(12)
    hasher = hashlib.sha1(usedforsecurity=False)
    name = unquote(httpx.URL(url).path.rsplit("/", 1)[-1]) or "remote"
    if url in known:
        content = await anyio.Path(known[url]).read_bytes()
        await anyio.Path(path).write_bytes(content)
        hasher.update(content)
        return Upload(known[url].name, path, len(content), hasher.hexdigest())
    size = 0
    hooks = {"request": [_check]}
    try:
        async with (
            httpx.AsyncClient(follow_redirects=True, trust_env=False, event_hooks=hooks) as client,
            client.stream("GET", url) as response,
            await anyio.open_file(path, "wb") as file,
        ):
            if not response.is_success:
                raise FetchFailedError(f"Your audio file could not be downloaded: status {response.status_code}")
            async for piece in response.aiter_bytes():
                size += len(piece)
                if size > limit:
                    raise FetchFailedError("The file is larger than your plan allows")
                hasher.update(piece)
                await file.write(piece)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailedError("Your audio file could not be downloaded") from error
    return Upload(name, path, size, hasher.hexdigest())


async def _check(request: httpx.Request) -> None:
    # httpx calls this for every redirect too.
    if not is_loopback(str(request.url)):
        raise FetchFailedError("A sandbox downloads from 127.0.0.1 only")


@define(eq=False)
class Webhooks:
    """Calls webhooks from tasks of its own; one that does not answer is ignored, as the service does."""

    _tasks: anyio.abc.TaskGroup
    _render: Callable[[Job], Mapping[str, Any]]
    """Renders a job as `separation/get` does."""

    def created(self, job: Job) -> None:
        """Try the address of a job's webhook with a GET."""
        if job.webhook_url:
            self._tasks.start_soon(_send, "GET", job.webhook_url, None)

    def ended(self, job: Job) -> None:
        """POST the result of a job to its webhook."""
        if job.webhook_url and job.phase in (Phase.DONE, Phase.FAILED):
            body = {"hash": job.hash, **self._render(job)}
            self._tasks.start_soon(_send, "POST", job.webhook_url, body)


async def _send(method: str, url: str, body: object) -> None:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_WEBHOOK_TIMEOUT) as client:
            await client.request(method, url, json=body)
    except httpx.HTTPError:
        return
