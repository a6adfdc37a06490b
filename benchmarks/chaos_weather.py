"""Random faults of the network and the service, for a sandbox."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from attrs import define, field

from mvsep_async.sandbox import Fault, FaultKind, Sandbox

__all__ = ["STATUSES", "Weather"]

STATUSES: Final = (
    200, 201, 202, 203, 206, 226, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411,
    412, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507,
    508, 511, 520, 521, 522, 523, 524, 525, 526, 527, 530, 599,
)  # fmt: skip
"""Statuses with which the edge answers a page. Left out: those without a body, 407, which is a proxy's, and 413, by
which the service itself rejects a song."""

_PAGES: Final = {"separation/create": 0.12, "*": 0.03, "/storage/*": 0.04}
"""Share of requests that get a page of some status, by path."""


@define
class Weather:
    """Random faults of every kind, short outages, and history pages of changing length."""

    random: random.Random
    outages: int = field(default=0, init=False)
    """How often the service was down."""

    @asynccontextmanager
    async def over(self, sandbox: Sandbox) -> AsyncIterator[None]:
        """Apply them to a sandbox until the block ends."""
        for fault in self._faults():
            sandbox.faults.add(fault)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._go_down_and_come_back, sandbox)
            tasks.start_soon(self._change_pages, sandbox)
            yield
            tasks.cancel_scope.cancel()

    def _faults(self) -> list[Fault]:
        bad: list[tuple[str, FaultKind, float, dict[str, Any]]] = []
        for kind in (FaultKind.DROP, FaultKind.LOSE_ANSWER, FaultKind.GARBLE, FaultKind.TRUNCATE, FaultKind.EMPTY):
            bad += [("separation/create", kind, 0.03, {}), ("*", kind, 0.01, {"method": "GET"})]
        for after in (0, 1, 5_000, 60_000, 150_000):
            reset = {"after_bytes": after, "reset": self.random.random() < 0.5}
            bad += [("separation/create", FaultKind.CUT_REQUEST, 0.02, reset)]
            bad += [
                ("separation/create", FaultKind.CUT_RESPONSE, 0.01, reset),
                ("/storage/*", FaultKind.CUT_RESPONSE, 0.08, reset),
            ]
        bad += [("/storage/*", FaultKind.STALL, 0.03, {"after_bytes": 30_000, "seconds": 0.2})]
        bad += [("*", FaultKind.RATE_LIMIT, 0.003, {"retry_after": 1}), ("*", FaultKind.REFUSE, 0.01, {"status": 500})]
        for path, share in _PAGES.items():
            for status in STATUSES:
                page = {"status": status, "headers": {"Location": "/home"} if 300 <= status < 400 else {}}
                bad += [
                    (path, kind, share / 2 / len(STATUSES), page) for kind in (FaultKind.HTML, FaultKind.HTML_AFTER)
                ]
        return [Fault(path=path, kind=kind, probability=share, count=None, **more) for path, kind, share, more in bad]

    async def _go_down_and_come_back(self, sandbox: Sandbox) -> None:
        while True:
            await anyio.sleep(self.random.uniform(2.0, 6.0))
            await sandbox.go_down()
            try:
                await anyio.sleep(self.random.uniform(0.1, 0.8))
            finally:
                with anyio.CancelScope(shield=True):
                    await sandbox.come_back()
            self.outages += 1

    async def _change_pages(self, sandbox: Sandbox) -> None:
        while True:
            sandbox.history_page = self.random.randint(1, 20)
            await anyio.sleep(self.random.uniform(0.2, 1.0))
