"""`Sandbox`: the service in small, in a thread of its own, with all its strings."""

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

from . import app
from .accounts import DEFAULT_PASSWORD, Account
from .edge import Edge, RequestRecord
from .faults import Fault, FaultBoard
from .jobs import JobRecord, Shown
from .listener import HOST, Connections, Listener, bind
from .service import Service
from .settings import Settings

T = TypeVar("T")


@define(kw_only=True, eq=False, slots=False, repr=False)
class Sandbox(Settings):
    """A small MVSEP on 127.0.0.1, for as long as a `with` or `async with` block lasts.

    It serves from a thread of its own, so it never disturbs the caller's event loop. Its arguments are the fields of
    `Settings`; all methods may be called from any thread, and take effect before they return. What it did can still be
    read after the block. A sandbox is used once.
    """

    faults: Faults = field(init=False)
    """The fault switchboard."""
    _service: Service | None = field(default=None, init=False)
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
        return f"<Sandbox on port {self.port}>" if self._service else "<Sandbox, not started>"

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
        """Become unreachable: connections break, new ones are refused. Jobs go on, and nothing is forgotten."""
        await anyio.to_thread.run_sync(self._call_async, self._close)

    async def come_back(self) -> None:
        """Be reachable again, on the same port."""
        await anyio.to_thread.run_sync(self._call_async, self._open)

    @property
    def url(self) -> str:
        """The base URL, without `/api`."""
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}"

    @property
    def domain(self) -> str:
        """Host and port, as jobs know them."""
        return f"{HOST}:{self.port}"

    @property
    def jobs(self) -> list[JobRecord]:
        """All jobs, in order of creation."""
        return self._call(lambda: [JobRecord.of(job) for job in self._settled().history])

    def job(self, hash_: str) -> JobRecord:
        """One job, by any hash that it had; `KeyError` if there is none."""
        return self._call(lambda: JobRecord.of(self._settled().jobs[hash_]))

    @property
    def requests(self) -> list[RequestRecord]:
        """The last requests, oldest first (100,000 are kept)."""
        return self._call(lambda: list(self._ready(self._edge).log.entries))

    def count_status(self, status: int) -> int:
        """How many requests were answered with that status (0: broken off)."""
        return self._call(lambda: self._ready(self._edge).log.by_status[status])

    def unfinished(self, token: str) -> int:
        """How many jobs of the account are not over."""
        return self._call(lambda: self._account(token).unfinished)

    def peak_unfinished(self, token: str) -> int:
        """The most unfinished jobs that the account ever had at one time."""
        return self._call(lambda: self._account(token).peak_unfinished)

    def minutes(self, token: str) -> float:
        """The account's credits."""
        return self._call(lambda: self._account(token).minutes)

    def now(self) -> float:
        """The sandbox's clock, which all times of `jobs` and `requests` are read from."""
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
        """Make an account; returns its token."""

        def add() -> str:
            service = self._running
            now = service.clock.epoch(service.clock.now())
            return service.accounts.add(
                now=now, name=name, email=email, password=password, minutes=minutes, premium_enabled=premium
            ).token

        return self._call(add)

    def set_minutes(self, token: str, minutes: float) -> None:
        """Give the account that many credits."""
        self._call(lambda: setattr(self._account(token), "minutes", minutes))

    def start(self, hash_: str) -> None:
        """Let a waiting job be processed, whatever the workers are doing."""
        self._call(lambda: self._running.start(hash_))

    def show(self, hash_: str, status: str | None, **data: Any) -> None:
        """Let an unfinished job answer this status, with this added to its data; None: the true one again."""
        shown = None if status is None else Shown(status, data)
        self._call(lambda: self._running.show(hash_, shown))

    def finish(self, hash_: str) -> None:
        """End a job rightly: as soon as its files are made, at once if they are."""
        self._call(lambda: self._running.finish(hash_))

    def fail(self, hash_: str, message: str = "The separation failed") -> None:
        """End a job wrongly."""
        self._call(lambda: self._running.fail(hash_, message))

    def delete(self, hash_: str) -> None:
        """Remove a job and its files: `get` does not find it any more, the history says that it is gone."""
        self._call(lambda: self._running.delete(hash_))

    def occupy(self, token: str, count: int = 1) -> list[str]:
        """Let another program take `count` slots of the account; returns the hashes of its jobs."""
        return self._call(lambda: [job.hash for job in self._running.occupy(self._account(token), count, self.domain)])

    def release(self, token: str, count: int | None = None) -> int:
        """End so many of the other program's jobs (None: all); returns how many ended."""
        return self._call(lambda: self._running.release(self._account(token), count))

    def expire_links(self) -> None:
        """Let every link to a file that was given so far stop working."""
        self._call(self._running.expire_links)

    def advance(self, seconds: float) -> None:
        """Put the sandbox's clock forward: jobs are that much further. The rate limit has a clock of its own."""
        self._call(lambda: self._running.advance(seconds))

    def remote_file(self, url: str, path: Path) -> None:
        """Let url jobs for `url` get the file at `path`, so that drives and clouds can be tried without a network."""
        self._call(lambda: self._running.remote_files.update({url: path}))

    def _start(self) -> None:
        if self._service is not None:
            raise RuntimeError("a Sandbox is used once: make another one")
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
            service = Service(self, folder, self.faults.board, tasks)
            self._add_accounts(service)
            self._edge = app.build(service, self._connections)
            self._service = service
            await self._open(bound)
            tasks.start_soon(service.keep_time)
            task_status.started()
            try:
                await self._stop.wait()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._close()
                tasks.cancel_scope.cancel()

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
            self._listener = Listener(self._ready(self._edge), self._connections, tls=self.tls)
            await self._listener.open(bound or bind(self.port))

    async def _close(self) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await listener.close()

    @property
    def _running(self) -> Service:
        return self._ready(self._service)

    def _settled(self) -> Service:
        if self._portal is not None:
            self._running.settle()
        return self._running

    def _account(self, token: str) -> Account:
        self._settled()
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
        """Do something where the service lives; directly if that is here, or if it does not live any more."""
        if self._portal is None or threading.get_ident() == self._thread:
            return function()
        return self._portal.call(function)

    def _call_async(self, function: Callable[[], Any]) -> None:
        self._ready(self._portal).call(function)


class Faults:
    """The switchboard of a sandbox: `sandbox.faults.add(Fault(...))`, or `add(kind=..., path=...)`."""

    def __init__(self, sandbox: Sandbox, board: FaultBoard) -> None:
        self._sandbox = sandbox
        self.board = board

    def add(self, fault: Fault | None = None, **options: Any) -> Fault:
        """Switch a fault on; returns it, for `remove`."""
        return self._sandbox._call(lambda: self.board.add(fault, **options))

    def remove(self, fault: Fault) -> None:
        """Switch it off; nothing happens if it is used up."""
        self._sandbox._call(lambda: self.board.remove(fault))

    def clear(self) -> None:
        """Switch all off."""
        self._sandbox._call(self.board.clear)

    @property
    def active(self) -> Sequence[Mapping[str, Any]]:
        """What may still strike."""
        return self._sandbox._call(self.board.active)

    @property
    def struck(self) -> int:
        """How many requests were struck so far."""
        return self._sandbox._call(lambda: self.board.struck)
