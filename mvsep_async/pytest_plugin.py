"""A pytest plugin: the fixtures `mvsep_sandbox` and `mvsep_client`, for tests that separate songs without an account.

It is found by itself where the package is installed with the extra `sandbox`, and loads nothing until it is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mvsep_async.client import MVSepClient
    from mvsep_async.sandbox import Sandbox

_async_fixture: Callable[..., Any]
try:
    from pytest_asyncio import fixture as _async_fixture
except ImportError:  # without it, anyio's own plugin runs async fixtures
    _async_fixture = pytest.fixture


@pytest.fixture
def mvsep_sandbox() -> Iterator[Sandbox]:
    """A fresh service in small on 127.0.0.1, with an account of each plan; songs take a fraction of a second."""
    from mvsep_async.sandbox import Sandbox

    with Sandbox(speed=600.0, min_seconds=0.05) as sandbox:
        yield sandbox


@_async_fixture
async def mvsep_client(mvsep_sandbox: Sandbox) -> AsyncIterator[MVSepClient]:
    """An open client of that sandbox's premium account, which does not wait."""
    from mvsep_async.client import MVSepClient
    from mvsep_async.testing import no_waiting

    with no_waiting():
        client = MVSepClient(mvsep_sandbox.premium_token, base_url=mvsep_sandbox.url)
    async with _in_one_task(client):
        yield client


@asynccontextmanager
async def _in_one_task(client: MVSepClient) -> AsyncIterator[None]:
    """Keep a client open in a task of its own, which this block owns.

    pytest-asyncio begins and ends a fixture in two different tasks, and a cancel scope belongs to one.
    """
    import asyncio

    opened, leave = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with client:
            opened.set()
            await leave.wait()

    owned = asyncio.ensure_future(live())
    waiting = asyncio.ensure_future(opened.wait())
    try:
        await asyncio.wait((owned, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not owned.done():
            yield
    finally:
        waiting.cancel()
        leave.set()
        await owned
