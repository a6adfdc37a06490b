"""Send API calls: add the token, keep to the request budget, read the response, map errors."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import anyio
from anyio import CancelScope
from attrs import define, evolve, field

from mvsep_async.concurrency import in_thread
from mvsep_async.errors import (
    ConfigurationError,
    InvalidRequestError,
    ProtocolError,
    RateLimitedError,
    TransportError,
)
from mvsep_async.http.body import ENCODINGS, read_body
from mvsep_async.http.call import Auth, Call, Json
from mvsep_async.http.failures import failure_of, was_sent, without_frames
from mvsep_async.http.gate import Gate, Pass
from mvsep_async.http.hosts import Host
from mvsep_async.http.multipart import MultipartBody
from mvsep_async.http.rate_headers import retry_after
from mvsep_async.http.request_body import FormBody, RequestBody
from mvsep_async.http.response import LARGE, MAX_BODY, HTTPResponse, decode_response
from mvsep_async.http.token import Token, revealed
from mvsep_async.transport.bandwidth import Bandwidth
from mvsep_async.transport.compat import Timeouts, error_names

if TYPE_CHECKING:
    import httpx

__all__ = ["Wire"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 3
_ANSWER_WITHIN = 30.0
"""Seconds for an answer to be complete. Timeouts alone do not end one that comes a byte at a time."""

_MOST_REJECTIONS = 10
"""429 answers in a row to one call before it fails: each is waited out, so this is many minutes."""


@define
class Wire:
    """Sends calls to one service with one token. It repeats none, except after a 429, to which the service did nothing.

    `http` may be an `httpx2.AsyncClient` too.
    """

    http: httpx.AsyncClient
    base: Host
    token: Token | None
    gate: Gate
    timeouts: Timeouts = field(factory=lambda: Timeouts.of(30.0))
    bandwidth: Bandwidth | None = None

    async def call(self, call: Call, /) -> Json:
        """Send `call` and return the decoded answer, or raise the `MVSepError` that it stands for."""
        self._check(call)
        try:
            return await self._call(call)
        except BaseException as error:  # noqa: BLE001 -- cancellation too: its frames hold the URL, and so the token
            raise without_frames(error)  # noqa: B904

    async def _call(self, call: Call) -> Json:
        rejections = 0
        while _is_rate_limited(call, answer := await self._follow(call)):
            wait = retry_after(answer.headers)
            self.gate.rate_limited(wait)
            if call.on_rate_limited is not None:
                call.on_rate_limited()
            rejections += 1
            if rejections == _MOST_REJECTIONS:
                raise RateLimitedError(
                    f"the service rejected {call.path} {rejections} times because of its rate limit: another program "
                    "seems to use up this account's requests",
                    retry_after=wait,
                )
        try:
            if len(answer.body) < LARGE:
                return decode_response(call, answer)
            return await in_thread(decode_response, call, answer)
        except RecursionError:
            raise ProtocolError(f"the answer to {call.path} is nested too deeply", status=answer.status) from None

    def _check(self, call: Call) -> None:
        if call.auth is Auth.REQUIRED and self.token is None:
            raise ConfigurationError(
                f"{call.path} needs an API token: set MVSEP_API_TOKEN, or pass api_token to the client. It is "
                "shown on the account page of the service"
            )
        if call.host is not None and not call.host.is_sibling_of(self.base):
            raise ConfigurationError(f"{call.host} is not a host of the service at {self.base}: nothing is sent to it")

    async def _follow(self, call: Call) -> HTTPResponse:
        """Send `call`, and then to where the service redirects it, as long as that is the service too."""
        for _ in range(_MOST_REDIRECTS + 1):
            async with self.gate.admit(call.priority) as admitted:
                if call.method == "GET" and call.before_last is not None:
                    admitted.sent = False
                    await call.before_last()
                    admitted.sent = True
                answer = await self._exchange(call, admitted)
                admitted.headers = answer.headers
            if answer.status not in _REDIRECTS:
                return answer
            call = _redirected(call, answer, self.base)
        raise ProtocolError(f"the service redirects {call.path} more than {_MOST_REDIRECTS} times")

    async def _exchange(self, call: Call, admitted: Pass) -> HTTPResponse:
        """Send one request and read its answer, within `answer_within` seconds after the last byte of an upload."""
        place = f"{call.host or self.base}, {call.path}"
        seconds = call.answer_within
        if seconds is None:
            seconds = max(_ANSWER_WITHIN, self.timeouts.connect or inf, self.timeouts.read or inf)
        scope = CancelScope(deadline=inf if call.files else anyio.current_time() + seconds)
        try:
            with scope:
                return await self._send(call, scope, seconds)
        except UnicodeError:
            admitted.sent = False
            raise InvalidRequestError(
                f"a parameter of {call.path} contains characters that cannot be sent (half of a surrogate pair)"
            ) from None
        except Exception as error:  # noqa: BLE001 -- a transport of the caller's may raise anything
            closed = self.http.is_closed
            admitted.sent = was_sent(error, closed=closed)
            raise failure_of(error, place, closed=closed) from None
        raise TransportError(f"the service did not complete its answer within {seconds:g} s ({place})")

    async def _send(self, call: Call, scope: CancelScope, seconds: float) -> HTTPResponse:
        def handed_over() -> None:
            scope.deadline = anyio.current_time() + seconds
            if call.on_handed_over is not None:
                call.on_handed_over()

        request, body = self._request(evolve(call, on_handed_over=handed_over))
        try:
            try:
                response = await self.http.send(request, stream=True, auth=None, follow_redirects=False)
            except Exception as error:
                if "HTTPStatusError" not in error_names(error):
                    raise
                response = error.response  # type: ignore[attr-defined] # an event hook of the caller's raised it
            try:
                scope.deadline = min(scope.deadline, anyio.current_time() + seconds)
                content, overlong = await read_body(response, call.path, MAX_BODY)
            finally:
                with CancelScope(shield=True):
                    await response.aclose()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HTTPResponse(response.status_code, headers, content, overlong)
        finally:
            if body is not None:
                with CancelScope(shield=True):
                    await body.aclose()

    def _request(self, call: Call) -> tuple[httpx.Request, RequestBody | None]:
        """Build the request. From here on the token is in plain text."""
        url = (call.host or self.base).url(call.path)
        parameters = dict(call.query if call.method == "GET" else call.form)
        if call.auth is not Auth.NONE and self.token is not None:
            parameters["api_token"] = self.token
        headers = {"Accept-Encoding": ENCODINGS}
        extensions = {"timeout": self.timeouts.as_dict()}
        if call.method == "GET":
            params = {name: revealed(value) for name, value in parameters.items()}
            request = self.http.build_request("GET", url, params=params or None, headers=headers, extensions=extensions)
            return request, None
        body: RequestBody
        if call.multipart:
            body = MultipartBody(
                parameters,
                call.files,
                on_progress=call.on_progress,
                on_handed_over=call.on_handed_over,
                before_last=call.before_last,
                bandwidth=self.bandwidth,
            )
        else:
            body = FormBody(parameters, call.before_last)
        headers |= body.headers
        return self.http.build_request("POST", url, content=body, headers=headers, extensions=extensions), body


def _is_rate_limited(call: Call, answer: HTTPResponse) -> bool:
    """Tell whether an answer rejects a call by the rate limit, so that it may be sent again.

    The service's own 429 is JSON and says when to try again. A proxy's page without that may follow an accepted
    create, which must not be sent twice.
    """
    own = "retry-after" in answer.headers or answer.body.lstrip().startswith(b"{")
    return answer.status == 429 and (own or call.repeatable)


def _redirected(call: Call, answer: HTTPResponse, base: Host) -> Call:
    """Return the call that a redirect asks for; raises unless it stays with the service and repeats what was asked."""
    link = answer.headers.get("location", "").replace("\\/", "/")
    if base.scheme == "http" and link.lower().startswith(f"https://{base.name}/"):
        raise ConfigurationError(f"the service is at https://{base.name}: use that as the base URL")
    if call.method != "GET":
        raise ProtocolError(
            f"the service redirects {call.path}, and a {call.method} is not sent elsewhere: check the base URL",
            status=answer.status,
        )
    if link.startswith("/") and not link.startswith("//"):
        link = f"{call.host or base}{link}"
    host = Host.of_link(link, base=base)
    parts = urlsplit("" if host is None else link)
    if host is None or not parts.path.startswith("/api/"):
        raise ProtocolError(
            f"the service redirects {call.path} to another host, which gets no requests: check the base URL"
        )
    query = {name: value for name, value in parse_qsl(parts.query) if name != "api_token"}
    return evolve(call, host=host, path=parts.path.removeprefix("/api/"), query=query or call.query)
