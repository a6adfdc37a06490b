"""A caller without a network: it records calls, and returns answers decoded as usual."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable

from mvsep_async.http.call import Call, Json
from mvsep_async.http.response import HTTPResponse, decode_response

__all__ = ["FakeCaller"]


class FakeCaller:
    """Answers each call with the next of `answers`: JSON with status 200, or a status and JSON, or raw bytes.

    With a function in place of answers, each call is answered by it.
    """

    def __init__(self, *answers: object, by: Callable[[Call], Json] | None = None) -> None:
        self.calls: list[Call] = []
        self._answers = deque(answers)
        self._by = by

    async def call(self, call: Call, /) -> Json:
        self.calls.append(call)
        answer = self._by(call) if self._by else self._answers.popleft()
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return decode_response(call, HTTPResponse(status=status, headers={}, body=content))

    @property
    def last(self) -> Call:
        """The latest call."""
        return self.calls[-1]
