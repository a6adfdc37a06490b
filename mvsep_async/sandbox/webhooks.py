"""Calls to the webhooks of jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio.abc
import httpx
from attrs import define

from .jobs import Job, Phase

_TIMEOUT = 5.0


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
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT) as client:
            await client.request(method, url, json=body)
    except httpx.HTTPError:
        return
