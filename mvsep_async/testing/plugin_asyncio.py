"""The part of the pytest plugin that is for pytest-asyncio, loaded where that is in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

from mvsep_async.testing import sandbox_client

if TYPE_CHECKING:
    from mvsep_async.client import MVSepClient
    from mvsep_async.sandbox import Sandbox


@pytest_asyncio.fixture
async def _mvsep_client_in_asyncio(mvsep_sandbox: Sandbox) -> AsyncIterator[MVSepClient]:
    """Keep a client open in a task of its own, which this fixture owns.

    pytest-asyncio begins and ends a fixture in two different tasks, but what a client opens belongs to one.
    """
    client = sandbox_client(mvsep_sandbox)
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def live() -> None:
        async with client:
            opened.set_result(None)
            await leave.wait()

    life = asyncio.ensure_future(live())
    try:
        await asyncio.wait((life, opened), return_when=asyncio.FIRST_COMPLETED)
        if opened.done():
            yield client
    finally:
        leave.set()
        await life
