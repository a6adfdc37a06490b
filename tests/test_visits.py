"""Visits: nobody is in a client's parts after it closed, and whoever was could put down what he held."""

import anyio
import pytest

from mvsep_async.errors import ClientClosedError
from mvsep_async.visits import Visits


async def test_who_waits_is_ended_and_may_put_down_what_he_holds() -> None:
    visits, begun, kept = Visits(), anyio.Event(), []

    async def download() -> None:
        with pytest.raises(ClientClosedError, match="meanwhile"), visits.visit():
            try:
                begun.set()
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                    kept.append("what arrived")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(download)
        await begun.wait()
        visits.closed = True
        await visits.see_off()
        assert kept == ["what arrived"]


async def test_nobody_is_let_in_after_the_end() -> None:
    visits = Visits(closed=True)
    with pytest.raises(ClientClosedError, match="closed"), visits.visit():
        pytest.fail("was let in")


async def test_who_is_cancelled_by_his_own_scope_is_told_nothing_of_closing() -> None:
    visits = Visits()
    with anyio.CancelScope() as own, visits.visit():
        own.cancel()
        await anyio.sleep_forever()
    assert own.cancelled_caught


async def test_who_let_others_run_is_told_that_one_of_them_closed_the_client() -> None:
    visits = Visits()

    async def close() -> None:
        visits.closed = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close)
        with pytest.raises(ClientClosedError):
            await visits.breathe()
