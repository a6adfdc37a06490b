"""`Sandbox`: a small MVSEP server in a thread of its own, and all the controls that tests need."""

from __future__ import annotations

import random
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.abc
import anyio.from_thread
import anyio.to_thread
from attrs import define, field

from .accounts import DEFAULT_PASSWORD, Account
from .api import app
from .api.handling import Backend
from .clock import Clock
from .faults import Fault, FaultBoard
from .jobs import JobRecord, StatusOverride
from .links import Links
from .queue import JobQueue
from .render import Renderer
from .server.edge import Edge
from .server.listener import HOST, Connections, Listener, bind
from .server.request_log import RequestRecord
from .service import Service
from .settings import SandboxSettings
from .webhooks import Webhooks

T = TypeVar("T")

_SLOW_LINK_BUFFER = 64 * 1024


@define(kw_only=True, eq=False, slots=False, repr=False)
class Sandbox(SandboxSettings):
    """A small MVSEP on 127.0.0.1, for as long as a `with` or `async with` block lasts.

    It serves from a thread of its own, so it does not disturb the caller's event loop. Its arguments are the fields of
    `SandboxSettings`. All methods may be called from any thread, and take effect before they return. Its jobs and
    requests can be read after the block too. A sandbox can be used once.
    """

    faults: Faults = field(init=False)
    """Fault injection."""
    _backend: Backend | None = field(default=None, init=False)
    _edge: Edge | None = field(default=None, init=False)
    _listener: Listener | None = field(default=None, init=False)
    _connections: Connections = field(factory=dict, init=False)
    _portal: anyio.from_thread.BlockingPortal | None = field(default=None, init=False)
    _thread: int | None = field(default=None, init=False)
    _stop: anyio.Event | None = field(default=None, init=False)
    _stack: ExitStack = field(factory=ExitStack, init=False)

    def __attrs_post_init__(self) -> None:
        self.faults = Faults(self, FaultBoard(random.Random(self.seed)))

    def __repr__(self) -> str:
        return f"<Sandbox on port {self.port}>" if self._backend else "<Sandbox, not started>"

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self._start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._end)

    async def go_down(self) -> None:
        """Become unreachable: open connections break, new ones are refused. Jobs continue."""
        await anyio.to_thread.run_sync(self._call_async, self._close)

    async def come_back(self) -> None:
        """Become reachable again, on the same port."""
        await anyio.to_thread.run_sync(self._call_async, self._open)

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
        return self._call(lambda: [JobRecord.of(job) for job in self._refreshed().history])

    def job(self, hash_: str) -> JobRecord:
        """Return a job by any hash that it has or had; `KeyError` if there is none."""
        return self._call(lambda: JobRecord.of(self._refreshed().jobs[hash_]))

    @property
    def requests(self) -> list[RequestRecord]:
        """The last requests, oldest first (100,000 are kept)."""
        return self._call(lambda: list(self._ready(self._edge).log.entries))

    def count_status(self, status: int) -> int:
        """Return how many requests were answered with that status (0: the connection broke)."""
        return self._call(lambda: self._ready(self._edge).log.by_status[status])

    def unfinished(self, token: str) -> int:
        """Return how many jobs of the account are unfinished."""
        return self._call(lambda: self._account(token).unfinished)

    def peak_unfinished(self, token: str) -> int:
        """Return the most unfinished jobs that the account has had at one time."""
        return self._call(lambda: self._account(token).peak_unfinished)

    def minutes(self, token: str) -> float:
        """Return the account's credits."""
        return self._call(lambda: self._account(token).minutes)

    def now(self) -> float:
        """Return the time of the sandbox's clock, which the times of `jobs` and `requests` are from."""
        return self._call(self._running.clock.now)

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

        def add() -> str:
            service = self._running
            now = service.clock.epoch(service.clock.now())
            return service.accounts.add(
                now=now, name=name, email=email, password=password, minutes=minutes, premium_enabled=premium
            ).token

        return self._call(add)

    def set_minutes(self, token: str, minutes: float) -> None:
        """Set the account's credits."""
        self._call(lambda: setattr(self._account(token), "minutes", minutes))

    def start(self, hash_: str) -> None:
        """Start processing a waiting job, even if all workers are busy."""
        self._call(lambda: self._running.start(hash_))

    def show(self, hash_: str, status: str | None, **data: Any) -> None:
        """Make an unfinished job show that status, with `data` added to its data; None: the true one again."""
        override = None if status is None else StatusOverride(status, data)
        self._call(lambda: self._running.show(hash_, override))

    def finish(self, hash_: str) -> None:
        """End a job with success: at once, or as soon as its files are made."""
        self._call(lambda: self._running.finish(hash_))

    def fail(self, hash_: str, message: str = "The separation failed") -> None:
        """End a job with that error message."""
        self._call(lambda: self._running.fail(hash_, message))

    def delete(self, hash_: str) -> None:
        """Delete a job and its files: `get` answers `not_found`, and the history that the job does not exist."""
        self._call(lambda: self._running.delete(hash_))

    def occupy(self, token: str, count: int = 1) -> list[str]:
        """Take `count` slots of the account, as another program would; return the hashes of its jobs."""
        return self._call(lambda: [job.hash for job in self._running.occupy(self._account(token), count, self.domain)])

    def release(self, token: str, count: int | None = None) -> int:
        """End that many of the other program's jobs (None: all); return how many ended."""
        return self._call(lambda: self._running.release(self._account(token), count))

    def expire_links(self) -> None:
        """Make every link to a file that was given so far invalid."""
        self._call(lambda: self._ready(self._backend).links.expire_all())

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward, for jobs, links and the daily limit; the rate limit uses real time."""
        self._call(lambda: self._running.advance(seconds))

    def remote_file(self, url: str, path: Path) -> None:
        """Make URL jobs for `url` get the file at `path`, so that cloud storage can be tried without a network."""
        self._call(lambda: self._running.remote_files.update({url: path}))

    def _start(self) -> None:
        if self._backend is not None:
            raise RuntimeError("this Sandbox has been used already: create another one")
        with ExitStack() as stack:
            bound = bind(self.port)
            stack.callback(bound.close)
            self.port = bound.getsockname()[1]
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mvsep-sandbox-", dir=self.folder)))
            self._portal = stack.enter_context(anyio.from_thread.start_blocking_portal("asyncio"))
            stack.callback(setattr, self, "_portal", None)
            served, _ = self._portal.start_task(self._serve, folder, bound)
            stack.callback(served.result)
            stack.callback(lambda: self._call(self._ready(self._stop).set))
            self._stack = stack.pop_all()

    def _end(self) -> None:
        self._stack.close()

    async def _serve(self, folder: Path, bound: socket.socket, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        self._thread = threading.get_ident()
        self._stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            backend = self._build(folder, tasks)
            service = backend.service
            self._add_accounts(service)
            self._edge = app.build(backend, self.faults.board, self._connections)
            self._backend = backend
            await self._open(bound)
            tasks.start_soon(service.run_timers)
            task_status.started()
            try:
                await self._stop.wait()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._close()
                tasks.cancel_scope.cancel()

    def _build(self, folder: Path, tasks: anyio.abc.TaskGroup) -> Backend:
        clock, queue = Clock(), JobQueue()
        links = Links(self, clock)
        render = Renderer(self, clock, queue, links)
        webhooks = Webhooks(tasks, render.separation)
        return Backend(Service(self, folder, tasks, clock, queue, webhooks), render, links)

    def _add_accounts(self, service: Service) -> None:
        now = service.clock.epoch(0)
        self.premium_token = service.accounts.add(
            now=now, token=self.premium_token, name="Premium", email="premium@example.test",
            minutes=self.premium_minutes, premium_enabled=True,
        ).token  # fmt: skip
        self.free_token = service.accounts.add(
            now=now, token=self.free_token, name="Free", email="free@example.test"
        ).token

    async def _open(self, bound: socket.socket | None = None) -> None:
        if self._listener is None:
            self._listener = Listener(
                self._ready(self._edge), self._connections, tls=self.tls, socket_buffer=self._socket_buffer
            )
            await self._listener.open(bound or bind(self.port))

    async def _close(self) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await listener.close()

    def _socket_buffer(self) -> int | None:
        # Small buffers: otherwise megabytes are "sent" that have not passed the slow link yet.
        return _SLOW_LINK_BUFFER if self.link_bytes_per_second or self.bytes_per_second else None

    @property
    def _running(self) -> Service:
        return self._ready(self._backend).service

    def _refreshed(self) -> Service:
        if self._portal is not None:
            self._running.refresh()
        return self._running

    def _account(self, token: str) -> Account:
        self._refreshed()
        account = self._running.accounts.find(token)
        if account is None:
            raise KeyError("no account has that token")
        return account

    @staticmethod
    def _ready(part: T | None) -> T:
        if part is None:
            raise RuntimeError("the Sandbox is not started: use it in a `with` or `async with` block")
        return part

    def _call(self, function: Callable[[], T]) -> T:
        """Run a function in the thread of the service; directly if this is it, or if the service has ended."""
        if self._portal is None or threading.get_ident() == self._thread:
            return function()
        return self._portal.call(function)

    def _call_async(self, function: Callable[[], Any]) -> None:
        self._ready(self._portal).call(function)


class Faults:
    """Fault injection: `sandbox.faults.add(Fault(...))`, or `add(kind=..., path=...)`."""

    def __init__(self, sandbox: Sandbox, board: FaultBoard) -> None:
        self._sandbox = sandbox
        self.board = board

    def add(self, fault: Fault | None = None, **options: Any) -> Fault:
        """Add a fault; return it, for `remove`."""
        return self._sandbox._call(lambda: self.board.add(fault, **options))

    def remove(self, fault: Fault) -> None:
        """Remove a fault; nothing happens if it is used up."""
        self._sandbox._call(lambda: self.board.remove(fault))

    def clear(self) -> None:
        """Remove all faults."""
        self._sandbox._call(self.board.clear)

    @property
    def active(self) -> Sequence[Mapping[str, Any]]:
        """The faults that are not used up."""
        return self._sandbox._call(self.board.active)

    @property
    def triggered(self) -> int:
        """How many requests have failed so far."""
        return self._sandbox._call(lambda: self.board.triggered)
