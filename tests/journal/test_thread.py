import threading

import anyio
import pytest

from mvsep_async.journal.thread import WorkThread

pytestmark = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def test_calls_run_in_order_in_one_other_thread(backend: str) -> None:
    async def main() -> None:
        thread, done, over = WorkThread("t"), [], anyio.Event()
        for number in range(5):
            thread.post(lambda number=number: (number, threading.get_ident()), lambda *told: done.append(told))
        thread.post(lambda: None, lambda *_: over.set())
        await over.wait()
        thread.stop()
        assert [number for (number, _), _ in done] == [0, 1, 2, 3, 4]
        (ident,) = {ident for (_, ident), _ in done}
        assert ident != threading.get_ident()

    anyio.run(main, backend=backend)


def test_results_are_reported_on_the_event_loop(backend: str) -> None:
    async def main() -> None:
        thread, over, told = WorkThread("t"), anyio.Event(), []

        def then(*outcome: object) -> None:
            told.append((threading.get_ident(), *outcome))
            over.set()

        def fail() -> None:
            raise KeyError("a")

        thread.post(fail, then)
        await over.wait()
        ((ident, result, error),) = told
        assert (ident, result, repr(error)) == (threading.get_ident(), None, "KeyError('a')")
        with pytest.raises(KeyError):
            await thread.do(fail)
        assert await thread.do(lambda: 7) == 7
        thread.stop()

    anyio.run(main, backend=backend)


def test_a_call_runs_to_its_end_when_the_caller_is_cancelled(backend: str) -> None:
    async def main() -> None:
        thread, go, done = WorkThread("t"), threading.Event(), []

        def work() -> None:
            go.wait(30)
            done.append(1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(thread.do, work)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert not done
        go.set()
        await thread.do(lambda: None)
        assert done
        thread.stop()

    anyio.run(main, backend=backend)


def test_the_thread_ends_after_the_event_loop(backend: str) -> None:
    started, go = threading.Event(), threading.Event()
    workers: list[threading.Thread] = []

    async def main() -> None:
        thread = WorkThread("t")

        def work() -> None:
            workers.append(threading.current_thread())
            started.set()
            go.wait(30)

        thread.post(work, lambda *_: None)
        thread.stop()
        assert await anyio.to_thread.run_sync(started.wait, 30)

    anyio.run(main, backend=backend)
    go.set()
    (worker,) = workers
    worker.join(30)
    assert not worker.is_alive()
