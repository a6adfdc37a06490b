"""Sending one call: the token added, the budget kept, the answer read, failures turned into our errors."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

import httpx
from anyio import CancelScope
from attrs import define, evolve, field, frozen

from mvsep_async.errors import (
    ConfigurationError,
    InvalidRequestError,
    MVSepError,
    ProtocolError,
    RateLimitedError,
    TransportError,
)
from mvsep_async.http.answer import MAX_BODY, HTTPResponse, read_answer
from mvsep_async.http.call import Auth, Call, Json
from mvsep_async.http.gate import Gate
from mvsep_async.http.hosts import Host
from mvsep_async.http.multipart import MultipartBody
from mvsep_async.http.timing import retry_after
from mvsep_async.http.token import Token

__all__ = ["Wire"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 3
_MOST_REFUSALS = 10
"""429 answers to one call, one after another, before it is given up: each is waited out, so this is many minutes."""
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


@frozen
class _Failure:
    """An exchange that brought no answer. Made into an exception far from the frames that knew the token."""

    error: MVSepError
    sent: bool = True


@define
class Wire:
    """Sends calls to one service with one token. It neither repeats a call nor knows what one is for.

    A 429 alone is waited out here: the service did nothing, so even a create may go out again.
    """

    http: httpx.AsyncClient
    base: Host
    token: Token | None
    gate: Gate
    timeout: httpx.Timeout = field(factory=lambda: httpx.Timeout(30.0))

    async def call(self, call: Call, /) -> Json:
        """Send `call` and return the decoded answer, or raise the `MVSepError` that it stands for."""
        self._check(call)
        refusals = 0
        while True:
            outcome = await self._follow(call)
            if isinstance(outcome, _Failure):
                raise outcome.error
            if outcome.status != 429:
                break
            wait = retry_after(outcome.headers)
            self.gate.refused(wait)
            if call.on_turned_away is not None:
                call.on_turned_away()
            refusals += 1
            if refusals == _MOST_REFUSALS:
                raise RateLimitedError(
                    f"the service refused {call.path} {refusals} times as one request too many: another program seems "
                    "to use up this account's requests",
                    retry_after=wait,
                )
        try:
            return read_answer(call, outcome)
        except MVSepError as refusal:
            error = refusal.with_traceback(None)  # whose frames know the whole answer, and what it repeats of ours
        except RecursionError:
            error = ProtocolError(f"the answer to {call.path} is nested too deeply", status=outcome.status)
        raise error

    def _check(self, call: Call) -> None:
        if call.auth is Auth.REQUIRED and self.token is None:
            raise ConfigurationError(
                f"{call.path} needs an API token: set MVSEP_API_TOKEN, or pass api_token to the client. The token "
                "stands on the account page of the service"
            )
        if call.host is not None and not call.host.is_sibling_of(self.base):
            raise ConfigurationError(f"{call.host} is not a host of the service at {self.base}: nothing is sent to it")

    async def _follow(self, call: Call) -> HTTPResponse | _Failure:
        """Send `call`, and after it where the service points to, as long as that is the service too."""
        for _ in range(_MOST_REDIRECTS + 1):
            async with self.gate.admit(call.priority) as admitted:
                outcome = await self._exchange(call)
                if isinstance(outcome, _Failure):
                    admitted.sent = outcome.sent
                    return outcome
                admitted.headers = outcome.headers
            if outcome.status not in _REDIRECTS:
                return outcome
            onward = _redirected(call, outcome, self.base)
            if isinstance(onward, _Failure):
                return onward
            call = onward
        return _Failure(ProtocolError(f"the service redirects {call.path} in circles"))

    async def _exchange(self, call: Call) -> HTTPResponse | _Failure:
        """Send one request and read its answer up to the cap; the token is in plain sight only below here."""
        try:
            request = self._request(call)
        except UnicodeError:
            problem = f"a parameter of {call.path} holds characters that cannot be sent (half of a surrogate pair)"
            return _Failure(InvalidRequestError(problem), sent=False)
        try:
            response = await self._send(request)
            try:
                body, overlong = await _read(response)
            finally:
                with CancelScope(shield=True):
                    await response.aclose()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HTTPResponse(response.status_code, headers, body, overlong)
        except MVSepError as error:
            return _Failure(error.with_traceback(None))
        except httpx.TransportError as error:
            sent = not isinstance(error, _NEVER_SENT)
            return _Failure(TransportError(f"{_what_broke(error)} ({call.host or self.base}, {call.path})"), sent)
        except httpx.DecodingError:
            return _Failure(ProtocolError(f"the answer to {call.path} is garbled: its compression is broken"))
        except Exception as error:  # noqa: BLE001 -- a transport of the caller's may raise anything, the URL in its text
            if self.http.is_closed:
                return _Failure(ConfigurationError("the HTTP client given to this client is closed"), sent=False)
            return _Failure(TransportError(f"the HTTP client failed at {call.path} with {type(error).__name__}"))

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self.http.send(request, stream=True, auth=None, follow_redirects=False)
        except httpx.HTTPStatusError as error:
            return error.response  # a hook of the caller's has looked at the status: what it means is for us to say

    def _request(self, call: Call) -> httpx.Request:
        url = (call.host or self.base).url(call.path)
        secret: dict[str, str | Token] = {}
        if call.auth is not Auth.NONE and self.token is not None:
            secret["api_token"] = self.token
        if call.method == "GET":
            query = {name: str(value) for name, value in call.query.items()} | _revealed(secret)
            return self.http.build_request("GET", url, params=query or None, timeout=self.timeout)
        fields = {name: str(value) for name, value in (call.form or {}).items()}
        if not call.multipart:
            return self.http.build_request("POST", url, data=fields | _revealed(secret), timeout=self.timeout)
        body = MultipartBody(
            secret | fields, call.files, on_progress=call.on_progress, on_handed_over=call.on_handed_over
        )
        return self.http.build_request("POST", url, content=body, headers=body.headers, timeout=self.timeout)


def _revealed(secret: dict[str, str | Token]) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Token) else value for name, value in secret.items()}


async def _read(response: httpx.Response) -> tuple[bytes, bool]:
    pieces, length = [], 0
    with suppress(httpx.StreamError):  # a hook of the caller's has taken it, or closed the answer by raising
        async for piece in response.aiter_bytes():
            pieces.append(piece)
            length += len(piece)
            if length > MAX_BODY:
                return b"".join(pieces)[:MAX_BODY], True
    return b"".join(pieces), False


def _redirected(call: Call, answer: HTTPResponse, base: Host) -> Call | _Failure:
    """Return the call that a redirect asks for, if it stays with the service and repeats what was asked."""
    link = answer.headers.get("location", "").replace("\\/", "/")
    if base.scheme == "http" and link.lower().startswith(f"https://{base.name}/"):
        return _Failure(ConfigurationError(f"the service is at https://{base.name}: use that as the base URL"))
    if call.method != "GET":
        return _Failure(
            ProtocolError(
                f"the service redirects {call.path}, which is not repeated elsewhere: check the base URL",
                status=answer.status,
            )
        )
    if link.startswith("/") and not link.startswith("//"):
        link = f"{call.host or base}{link}"
    host = Host.of_link(link, base=base)
    parts = urlsplit("" if host is None else link)
    if host is None or not parts.path.startswith("/api/"):
        return _Failure(
            ProtocolError(f"the service redirects {call.path} to another host, which is not asked: check the base URL")
        )
    query = {name: value for name, value in parse_qsl(parts.query) if name != "api_token"}
    return evolve(call, host=host, path=parts.path.removeprefix("/api/"), query=query or call.query)


def _what_broke(error: httpx.TransportError) -> str:
    match error:
        case httpx.ConnectTimeout():
            return "no connection to the service within the time allowed"
        case httpx.ConnectError():
            return "no connection to the service"
        case httpx.PoolTimeout():
            return "all connections to the service are busy"
        case httpx.TimeoutException():
            return "the service stopped answering"
        case httpx.ProxyError():
            return "the proxy refuses the connection"
        case httpx.UnsupportedProtocol():
            return "the address is not one that HTTP can reach"
        case _:
            return "the connection to the service broke"
