import random
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
import trustme

from mvsep_async.transport.client import make_http


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with make_http(httpx.Timeout(10)) as client:
        yield client


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def audio(size: int, seed: int = 1) -> bytes:
    """Bytes that start like a WAV file."""
    return b"RIFF\x00\x00\x00\x00WAVEfmt " + random.Random(seed).randbytes(size - 16)
