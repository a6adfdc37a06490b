"""The fixture of the pytest plugin for pytest-asyncio, loaded where that plugin is in use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

from mvsep_async.testing import sandbox_client

if TYPE_CHECKING:
    from mvsep_async.client import MVSepClient
    from mvsep_async.sandbox import Sandbox


@pytest_asyncio.fixture
async def _mvsep_client_in_asyncio(mvsep_sandbox: Sandbox) -> AsyncIterator[MVSepClient]:
    async with sandbox_client(mvsep_sandbox) as client:
        yield client
