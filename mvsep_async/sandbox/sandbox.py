"""`Sandbox`: a small MVSEP server in a thread of its own, and all the controls that tests need."""

from __future__ import annotations

import random
import signal
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.abc
import anyio.from_thread
import anyio.to_thread
from attrs import define, evolve, field, frozen

from .accounts import DEFAULT_PASSWORD
from .api import app
from .faults import FaultBoard
from .jobs import JobRecord
from .server.edge import Edge
from .server.listener import HOST, Listener, bind
from .server.request_log import RequestRecord
from .service import Service
from .settings import SandboxSettings

T = TypeVar("T")

_SLOW_LINK_BUFFER = 64 * 1024


@frozen(eq=False)
class _Server:
    """The parts of a sandbox that was opened. `portal`: the way into its thread, `None` once that has ended."""

    service: Service
    edge: Edge
    listener: Listener
    closing: anyio.Event
    thread: int
    portal: anyio.from_thread.BlockingPortal | None

    def call(self, function: Callable[[Service], T]) -> T:
        """Run a function in the thread of the service; directly if this is it, or if it has ended."""
        if self.portal is None:
            return function(self.service)

        def run() -> T:
            self.service.refresh()
            return function(self.service)

        return run() if threading.get_ident() == self.thread else self.portal.call(run)

    def call_async(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run a coroutine function in the thread of the service."""
        if self.portal is None:
            raise RuntimeError("the Sandbox is closed")
        self.portal.call(function)

    async def reopen(self, port: int) -> None:
        """Listen on the port again, unless it is open."""
        if not self.listener.is_open:
            await self.listener.open(bind(port))


@define(kw_only=True, eq=False, slots=False, repr=False)
class Sandbox(SandboxSettings):
    """A small MVSEP on 127.0.0.1, for as long as a `with` or `async with` block lasts.

    It serves from a thread of its own, so it does not disturb the caller's event loop. Its arguments are the fields of
    `SandboxSettings`. All methods may be called from any thread, and take effect before they return. Its jobs and
    requests can be read after the block too. A sandbox can be used once.
    """

    faults: FaultBoard = field(init=False)
    """Fault injection: `sandbox.faults.add(Fault(...))`, or `add(kind=..., path=...)`."""
    _opened: _Server | None = field(default=None, init=False)
    _closing: ExitStack = field(factory=ExitStack, init=False)

    @faults.default
    def _(self) -> FaultBoard:
        return FaultBoard(random.Random(self.seed))

    def __repr__(self) -> str:
        return f"<Sandbox on port {self.port}>" if self._opened else "<Sandbox, not started>"

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.close()

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._closing.close)

    async def go_down(self) -> None:
        """Become unreachable: open connections break, new ones are refused. Jobs continue."""
        await anyio.to_thread.run_sync(self._server.call_async, self._server.listener.close)

    async def come_back(self) -> None:
        """Become reachable again, on the same port."""
        server = self._server
        await anyio.to_thread.run_sync(server.call_async, lambda: server.reopen(self.port))

    @property
    def url(self) -> str:
        """The base URL, without `/api`."""
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}"

    @property
    def domain(self) -> str:
        """Host and port, as in the `Host` header."""
        return f"{HOST}:{self.port}"

    @property
    def jobs(self) -> list[JobRecord]:
        """All jobs, in order of creation."""
        return self._server.call(lambda service: [JobRecord.of(job) for job in service.history])

    def job(self, hash_: str) -> JobRecord:
        """Return a job by any hash that it has or had; `KeyError` if there is none."""
        return self._server.call(lambda service: JobRecord.of(service.jobs[hash_]))

    @property
    def requests(self) -> list[RequestRecord]:
        """The last requests, oldest first (100,000 are kept)."""
        log = self._server.edge.log
        return self._server.call(lambda _: list(log.entries))

    def count_status(self, status: int) -> int:
        """Return how many requests were answered with that status (0: the connection broke)."""
        return self._server.edge.log.by_status[status]

    def unfinished(self, token: str) -> int:
        """Return how many jobs of the account are unfinished."""
        return self._server.call(lambda service: service.accounts[token].unfinished)

    def peak_unfinished(self, token: str) -> int:
        """Return the most unfinished jobs that the account has had at one time."""
        return self._server.call(lambda service: service.accounts[token].peak_unfinished)

    def minutes(self, token: str) -> float:
        """Return the account's credits."""
        return self._server.call(lambda service: service.accounts[token].minutes)

    def now(self) -> float:
        """Return the time of the sandbox's clock, which the times of `jobs` and `requests` are from."""
        return self._server.service.clock.now()

    def add_account(
        self,
        *,
        premium: bool = False,
        minutes: float = 0.0,
        name: str = "",
        email: str = "",
        password: str = DEFAULT_PASSWORD,
    ) -> str:
        """Create an account; return its token."""

        def add(service: Service) -> str:
            return service.accounts.add(
                now=service.clock.today(), name=name, email=email, password=password, minutes=minutes,
                premium_enabled=premium,
            ).token  # fmt: skip

        return self._server.call(add)

    def set_minutes(self, token: str, minutes: float) -> None:
        """Set the account's credits."""
        self._server.call(lambda service: setattr(service.accounts[token], "minutes", minutes))

    def start(self, hash_: str) -> None:
        """Start processing a waiting job, even if all workers are busy."""
        self._server.call(lambda service: service.start(hash_))

    def show(self, hash_: str, status: str | None, **data: Any) -> None:
        """Make an unfinished job show that status, with `data` added to its data; None: the true one again."""
        self._server.call(lambda service: service.show(hash_, status, data))

    def finish(self, hash_: str) -> None:
        """End a job with success: at once, or as soon as its files are made."""
        self._server.call(lambda service: service.finish(hash_))

    def fail(self, hash_: str, message: str = "The separation failed") -> None:
        """End a job with that error message."""
        self._server.call(lambda service: service.fail(hash_, message))

    def delete(self, hash_: str) -> None:
        """Delete a job and its files: `get` answers `not_found`, and the history that the job does not exist."""
        self._server.call(lambda service: service.delete(hash_))

    def occupy(self, token: str, count: int = 1) -> list[str]:
        """Take `count` slots of the account, as another program would; return the hashes of its jobs."""
        return self._server.call(lambda service: service.occupy(self.domain, token, count))

    def release(self, token: str, count: int | None = None) -> int:
        """End that many of the other program's jobs (None: all); return how many ended."""
        return self._server.call(lambda service: service.release(token, count))

    def expire_links(self) -> None:
        """Make every link to a file that was given so far invalid."""
        self._server.call(lambda service: service.links.expire_all())

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward, for jobs, links and the daily limit; the rate limit uses real time."""
        self._server.call(lambda service: service.advance(seconds))

    def remote_file(self, url: str, path: Path) -> None:
        """Make URL jobs for `url` get the file at `path`, so that cloud storage can be tried without a network."""
        self._server.call(lambda service: service.remote_files.update({url: path}))

    def _open(self) -> None:
        if self._opened is not None:
            raise RuntimeError("this Sandbox has been used already: create another one")
        with ExitStack() as stack:
            bound = bind(self.port)
            stack.callback(bound.close)
            self.port = bound.getsockname()[1]
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mvsep-sandbox-", dir=self.folder)))
            portal = stack.enter_context(anyio.from_thread.start_blocking_portal("asyncio"))
            served, server = portal.start_task(self._serve, folder, bound, portal)
            self._opened = server
            stack.callback(setattr, self, "_opened", evolve(server, portal=None))
            stack.callback(served.result)
            stack.callback(portal.call, server.closing.set)
            self._closing = stack.pop_all()

    async def _serve(
        self,
        folder: Path,
        bound: socket.socket,
        portal: anyio.from_thread.BlockingPortal,
        *,
        task_status: anyio.abc.TaskStatus[_Server],
    ) -> None:
        closing = anyio.Event()
        async with anyio.create_task_group() as tasks:
            service = Service(self, folder, tasks)
            edge = app.build(service, self.faults)
            listener = Listener(edge, edge.connections, tls=self.tls, socket_buffer=self._socket_buffer)
            await listener.open(bound)
            tasks.start_soon(service.run_timers)
            task_status.started(_Server(service, edge, listener, closing, threading.get_ident(), portal))
            try:
                await closing.wait()
            finally:
                with anyio.CancelScope(shield=True):
                    await listener.close()
                tasks.cancel_scope.cancel()

    def _socket_buffer(self) -> int | None:
        # Small buffers: otherwise megabytes are "sent" that have not passed the slow link yet.
        return _SLOW_LINK_BUFFER if self.link_bytes_per_second or self.bytes_per_second else None

    @property
    def _server(self) -> _Server:
        if self._opened is None:
            raise RuntimeError("the Sandbox is not started: use it in a `with` or `async with` block")
        return self._opened


def serve(sandbox: Sandbox, started: Callable[[Sandbox], None]) -> None:
    """Run `sandbox` until SIGINT or SIGTERM, then stop it and return.

    `started` is called once, when the sandbox accepts requests. Call this in the main thread, where signals arrive; it
    restores their handlers.
    """
    over = threading.Event()
    with sandbox:
        before = {number: signal.signal(number, lambda *_: over.set()) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            started(sandbox)
            over.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
