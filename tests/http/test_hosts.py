"""Recognising hosts of the service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import ConfigurationError
from mvsep_async.http.hosts import Host

SERVICE = Host.parse("https://mvsep.com")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://mvsep.com", "https://mvsep.com"),
        (" https://MVSEP.com/ ", "https://mvsep.com"),
        ("https://mvsep.com/api", "https://mvsep.com"),
        ("https://mvsep.com/api/", "https://mvsep.com"),
        ("https://mvsep.com.:443", "https://mvsep.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://mvsep.com:443", "http://mvsep.com:443"),
    ],
)
def test_base_urls(given: str, shown: str) -> None:
    host = Host.parse(given)
    assert str(host) == shown
    assert Host.parse(str(host)) == host
    assert host.url("app/user") == f"{shown}/api/app/user"


@pytest.mark.parametrize(
    "given",
    ["", "mvsep.com", "//mvsep.com", "ftp://mvsep.com", "https://", "https://mvsep.com/x", "https://mvsep.com?a=1",
     "https://mvsep.com#x", "https://u:p4ss@mvsep.com", "https://mvsep.com:99999", "https://[::1", "file:///etc",
     "https://mv sep.com", "https://mvsep.com/api/separation"],
)  # fmt: skip
def test_what_is_no_base_url(given: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Host.parse(given)
    assert "p4ss" not in str(caught.value)


@pytest.mark.parametrize(
    ("link", "base", "sibling"),
    [
        ("https://mvsep.com/api/x", "https://mvsep.com", True),
        ("https://de.mvsep.com/api/x", "https://mvsep.com", True),
        ("https:\\/\\/de.mvsep.com\\/api", "https://mvsep.com", True),
        ("https://DE2.MVSEP.COM", "https://mvsep.com", True),
        ("https://mvsep.com", "https://sg.mvsep.com", True),
        ("https://hk.mvsep.com", "https://sg.mvsep.com", True),
        ("https://a.b.mvsep.com", "https://mvsep.com", False),
        ("http://de.mvsep.com", "https://mvsep.com", False),
        ("https://de.mvsep.com:8443", "https://mvsep.com", False),
        ("https://evilmvsep.com", "https://mvsep.com", False),
        ("https://mvsep.com.evil.org", "https://mvsep.com", False),
        ("https://mvsep.com@evil.org", "https://mvsep.com", False),
        ("https://evil.org@mvsep.com", "https://mvsep.com", False),
        ("https://evil.org/mvsep.com", "https://mvsep.com", False),
        ("https://evil.org#.mvsep.com", "https://mvsep.com", False),
        ("https://evil.org\\.mvsep.com", "https://mvsep.com", False),
        ("//de.mvsep.com/api", "https://mvsep.com", False),
        ("de.mvsep.com", "https://mvsep.com", False),
        ("", "https://mvsep.com", False),
        ("http://127.0.0.2", "http://127.0.0.1", False),
        ("http://x.127.0.0.1", "http://127.0.0.1", False),
        ("https://example.co.uk", "https://mine.example.co.uk", False),
        ("https://other.co.uk", "https://mine.co.uk", False),
        ("https://de.mine.co.uk", "https://mine.co.uk", True),
        ("https://localhost", "https://mvsep.com", False),
    ],
)
def test_only_regional_siblings_are_the_service(link: str, base: str, sibling: bool) -> None:
    assert (Host.of_link(link, base=Host.parse(base)) is not None) is sibling


@given(st.text(max_size=60))
def test_any_text_is_a_host_of_the_service_or_none(link: str) -> None:
    for text in (link, f"https://{link}", f"https://{link}.mvsep.com", f"https://mvsep.com{link}"):
        host = Host.of_link(text, base=SERVICE)
        if host is not None:
            assert (host.scheme, host.port) == ("https", 443)
            assert host.name == "mvsep.com" or host.name.endswith(".mvsep.com")
            assert not set(host.name) & set("/\\@#? ")


@pytest.mark.parametrize(
    ("base", "siblings"),
    [
        ("https://mvsep.com", ["de.mvsep.com", "de2.mvsep.com", "sg.mvsep.com", "hk.mvsep.com", "mirror.mvsep.com"]),
        ("https://sg.mvsep.com", ["mvsep.com", "de.mvsep.com", "de2.mvsep.com", "hk.mvsep.com", "mirror.mvsep.com"]),
        ("http://127.0.0.1:8000", []),
        ("http://localhost:8000", []),
    ],
)
def test_the_siblings_of_a_host(base: str, siblings: list[str]) -> None:
    host = Host.parse(base)
    assert [sibling.name for sibling in host.siblings] == siblings
    assert all(sibling.is_sibling_of(host) for sibling in host.siblings)


@pytest.mark.parametrize(
    ("base", "main"),
    [
        ("https://mvsep.com", "https://mvsep.com"),
        ("https://de2.mvsep.com/api", "https://mvsep.com"),
        ("https://www.mvsep.com", "https://mvsep.com"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://de.example.com", "https://de.example.com"),
    ],
)
def test_the_regions_of_the_service_are_one(base: str, main: str) -> None:
    assert str(Host.parse(base).main) == main
