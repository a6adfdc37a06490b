"""A pytest plugin: the fixtures `mvsep_sandbox` and `mvsep_client`, for tests that separate songs without an account.

It is found by itself where the package is installed with the extra `sandbox`, and loads nothing until it is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from mvsep_async.testing import sandbox_client

if TYPE_CHECKING:
    from mvsep_async.client import MVSepClient
    from mvsep_async.sandbox import Sandbox

__all__ = ["mvsep_client", "mvsep_sandbox"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and with pytest-asyncio also the fixture for it."""
    config.addinivalue_line("markers", "mvsep_sandbox(**settings): settings of the sandbox that a test gets")
    if config.pluginmanager.hasplugin("asyncio"):
        from mvsep_async.testing import plugin_asyncio

        config.pluginmanager.register(plugin_asyncio, "mvsep_async.asyncio")


@pytest.fixture
def mvsep_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A fresh sandbox on 127.0.0.1, with an account of each plan; songs take a fraction of a second.

    `@pytest.mark.mvsep_sandbox(manual=True, ...)` sets anything of `mvsep_async.sandbox.SandboxSettings`.
    """
    try:
        from mvsep_async.sandbox import Sandbox
    except ImportError as error:
        pytest.fail(str(error), pytrace=False)
    marker = request.node.get_closest_marker("mvsep_sandbox")
    with Sandbox(**{"speed": 600.0, "min_seconds": 0.05, **(marker.kwargs if marker else {})}) as sandbox:
        yield sandbox


@pytest.fixture
def mvsep_client(request: pytest.FixtureRequest) -> MVSepClient:
    """An open client of that sandbox's premium account, which does not wait. For pytest-asyncio and for anyio."""
    if "anyio_backend" in request.fixturenames:
        client: MVSepClient = request.getfixturevalue("_mvsep_client_in_anyio")
    elif request.config.pluginmanager.hasplugin("asyncio"):
        client = request.getfixturevalue("_mvsep_client_in_asyncio")
    else:
        pytest.fail("mvsep_client needs pytest-asyncio, or a test marked with pytest.mark.anyio", pytrace=False)
    return client


@pytest.fixture
async def _mvsep_client_in_anyio(anyio_backend: object, mvsep_sandbox: Sandbox) -> AsyncIterator[MVSepClient]:
    async with sandbox_client(mvsep_sandbox) as client:
        yield client
