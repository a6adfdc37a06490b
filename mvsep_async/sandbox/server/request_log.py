"""The log of all requests, with tokens and passwords redacted."""

from __future__ import annotations

from collections import Counter, deque
from urllib.parse import parse_qsl, urlencode

from attrs import define, field, frozen
from starlette.datastructures import Headers
from starlette.types import Scope

from mvsep_async.sandbox.faults import Fault

LOG_LENGTH = 100_000
"""How many requests the log holds; the oldest are dropped first."""


@frozen
class RequestRecord:
    """One request and its answer (status 0: the connection broke). `at`: sandbox's clock; the token is redacted.

    `sent`: bytes of the answer's body that were handed to the network.
    """

    method: str
    path: str
    query: str
    status: int
    at: float
    host: str
    fault: str | None
    sent: int = 0

    @classmethod
    def of(cls, scope: Scope, *, status: int, at: float, fault: Fault | None, sent: int) -> RequestRecord:
        """Return the record of a request with that ASGI scope."""
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        redacted = [(name, "***" if "token" in name or "password" in name else value) for name, value in pairs]
        host = Headers(scope=scope).get("host", "")
        kind = str(fault.kind) if fault else None
        return cls(scope["method"], scope["path"], urlencode(redacted), status, at, host, kind, sent)


@define
class RequestLog:
    """The last requests, and counts of all."""

    entries: deque[RequestRecord] = field(factory=lambda: deque(maxlen=LOG_LENGTH))
    by_path: Counter[str] = field(factory=Counter)
    by_status: Counter[int] = field(factory=Counter)

    def add(self, record: RequestRecord) -> None:
        self.entries.append(record)
        self.by_path[f"{record.method} {record.path}" if record.path.startswith("/api") else "storage"] += 1
        self.by_status[record.status] += 1
