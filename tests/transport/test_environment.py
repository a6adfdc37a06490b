"""Proxies and certificates of the environment."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from mvsep_async import ConfigurationError, MVSepClient
from mvsep_async.sandbox import Sandbox
from mvsep_async.transport.client import make_http
from tests.transport.servers import Connection, Request, serving


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    for name in ("all_proxy", "https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080", r"ALL_PROXY .*mvsep-async\[socks\]"),
        ("https_proxy", "socks5h://user:secret@127.0.0.1:1080", r"https_proxy .*mvsep-async\[socks\]"),
        ("all_proxy", "socks://user:secret@127.0.0.1:1080", "all_proxy .*socks5://"),
        ("HTTPS_PROXY", "ftp://127.0.0.1:21", "HTTPS_PROXY .*ftp://"),
        ("NO_PROXY", "localhost,fe80::/10", "NO_PROXY contains 'fe80::/10'"),
        ("no_proxy", "10.0.0.0/8,[::1", "no_proxy contains"),
    ],
)
async def test_a_variable_that_httpx_does_not_accept_is_named(
    name: str, value: str, said: str, environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # as without the extra
    if name.lower() == "no_proxy":
        environment("ALL_PROXY", "http://127.0.0.1:3128")
    environment(name, value)
    with pytest.raises(ConfigurationError, match=said) as caught:
        make_http(10.0)
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=said):
        async with MVSepClient("tok-1"):
            pass


@pytest.mark.parametrize("value", ["localhost,127.0.0.1,::1", "*.example.org, 10.0.0.0/8", "*"])
async def test_usual_exceptions_are_accepted(value: str, environment: Any) -> None:
    environment("ALL_PROXY", "http://127.0.0.1:3128")
    environment("NO_PROXY", value)
    await make_http(10.0).aclose()


async def test_this_machine_is_reached_without_the_proxy(environment: Any) -> None:
    def proxy(connection: Connection, request: Request) -> None:
        connection.answer("502 Bad Gateway", {}, b"")

    with serving(proxy) as server:
        environment("ALL_PROXY", f"http://127.0.0.1:{server.port}")
        async with Sandbox() as sandbox:
            for url in (sandbox.url, sandbox.url.replace("127.0.0.1", "localhost")):
                async with MVSepClient(sandbox.premium_token, base_url=url, poll_interval=0.02) as client:
                    assert (await client.account.user()).premium_minutes is not None
    assert server.requests == []


async def test_407_is_the_proxys(environment: Any) -> None:
    def proxy(connection: Connection, request: Request) -> None:
        connection.answer("407 Proxy Authentication Required", {"Proxy-Authenticate": "Basic"}, b"")

    with serving(proxy) as server:
        environment("ALL_PROXY", f"http://127.0.0.1:{server.port}")
        for url in ("http://service.invalid", "https://service.invalid"):
            async with MVSepClient("tok-1", base_url=url, poll_interval=0.02) as client:
                with pytest.raises(ConfigurationError, match="the proxy asks for a user name and password"):
                    await client.account.user()
    assert len(server.requests) == 2, "it is not asked again"


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
@pytest.mark.parametrize("proxied", [False, True])
async def test_certificates_that_cannot_be_read_are_named(
    content: bytes | None, proxied: bool, tmp_path: Path, environment: Any
) -> None:
    path = tmp_path / "wrong.pem"
    if content is not None:
        path.write_bytes(content)
    environment("SSL_CERT_FILE", str(path))
    if proxied:
        environment("ALL_PROXY", "http://127.0.0.1:3128")
    with pytest.raises(ConfigurationError, match=r"SSL_CERT_FILE is .*wrong\.pem"):
        async with MVSepClient("tok-1", base_url="https://service.invalid", poll_interval=0.02) as client:
            await client.account.user()


async def test_an_unknown_authority_is_named_at_once(server_tls: ssl.SSLContext, pem: Path, environment: Any) -> None:
    def answer(connection: Connection, request: Request) -> None:
        raise AssertionError("nothing is sent to it")

    environment("SSL_CERT_FILE", str(pem))  # of another authority
    with serving(answer, tls=server_tls) as server:
        async with MVSepClient("tok-1", base_url=server.url(""), poll_interval=0.02) as client:
            with pytest.raises(ConfigurationError, match=r"certificate .*not trusted.*SSL_CERT_FILE"):
                await client.account.user()
            job = await client.submit(None, algorithm=62)
            with pytest.raises(ConfigurationError, match="not trusted"):
                await job
    assert server.requests == []
