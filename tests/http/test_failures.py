"""Errors of httpx and httpx2 are mapped to errors of this package."""

from __future__ import annotations

import ssl
from typing import Any

import httpx
import httpx2
import pytest

from mvsep_async.errors import ConfigurationError, MVSepError, TransportError
from mvsep_async.http.failures import failure_of, was_sent, without_frames

SECRET = "https://mvsep.com/api/app/user?api_token=secret"


def failure(error: Exception, *, closed: bool = False) -> MVSepError:
    return failure_of(error, "https://mvsep.com, app/user", closed=closed)


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize(
    ("name", "said", "sent"),
    [
        ("ConnectTimeout", "no connection to the service within the timeout", False),
        ("ConnectError", "no connection to the service (", False),
        ("PoolTimeout", "all connections to the service are busy", False),
        ("ReadTimeout", "stopped answering", True),
        ("WriteTimeout", "stopped answering", True),
        ("ReadError", "the connection to the service broke", True),
        ("RemoteProtocolError", "the connection to the service broke", True),
        ("ProxyError", "the proxy refused the connection", False),
        ("UnsupportedProtocol", "not one that HTTP can reach", False),
    ],
)
def test_errors_of_either_library_are_transport_errors(library: Any, name: str, said: str, sent: bool) -> None:
    error = getattr(library, name)(SECRET)
    found = failure(error)
    assert type(found) is TransportError
    assert said in str(found)
    assert "secret" not in str(found)
    assert was_sent(error, closed=False) is sent


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_proxy_that_wants_a_password_is_a_mistake_in_the_settings(library: Any) -> None:
    found = failure(library.ProxyError("407 Proxy Authentication Required"))
    assert isinstance(found, ConfigurationError)
    assert "proxy" in str(found)


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_an_untrusted_certificate_is_named(library: Any) -> None:
    inner = ssl.SSLCertVerificationError(1, "certificate verify failed")
    inner.verify_message = "self-signed certificate in certificate chain"
    error = library.ConnectError("certificate verify failed")
    error.__cause__ = inner
    found = failure(error)
    assert isinstance(found, ConfigurationError)
    assert "self-signed certificate in certificate chain" in str(found)
    assert "SSL_CERT_FILE" in str(found)
    assert not was_sent(error, closed=False)


def test_what_a_transport_of_the_callers_raises_is_named_by_its_type_alone() -> None:
    found = failure(KeyError(SECRET))
    assert type(found) is TransportError
    assert "KeyError" in str(found)
    assert "secret" not in str(found)
    assert was_sent(KeyError(), closed=False)
    assert isinstance(failure(RuntimeError("closed"), closed=True), ConfigurationError)
    assert not was_sent(RuntimeError("closed"), closed=True)


def test_frames_causes_and_members_of_a_group_go() -> None:
    def fail() -> None:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise BaseExceptionGroup("", [KeyboardInterrupt(), error]) from error

    with pytest.raises(BaseExceptionGroup) as caught:
        fail()
    bare = without_frames(caught.value)
    assert bare.__traceback__ is bare.__cause__ is bare.__context__ is None
    assert all(inner.__traceback__ is None for inner in bare.exceptions)
