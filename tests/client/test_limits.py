"""Never more jobs than the limit at the service; free slots are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mvsep_async import InvalidRequestError, MVSepClient, NoFreeSlotError, Stage
from mvsep_async.jobs.failures import FailureKind, classify_failure
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient

from .support import calls, paid, reached, until


async def submitted(client: MVSepClient, song: Path, count: int) -> list[Any]:
    return [await client.submit(song, algorithm=40) for _ in range(count)]


@pytest.mark.parametrize(("token", "limit"), [("premium_token", 10), ("free_token", 1)])
async def test_the_plan_decides_how_many_jobs_are_at_the_service(
    client_of: NewClient, song: Path, token: str, limit: int
) -> None:
    # A service that would take more shows what the client keeps to by itself.
    async with Sandbox(stems="copy", manual=True, premium_limit=50, free_limit=50) as sandbox:
        account = getattr(sandbox, token)
        async with client_of(sandbox, api_token=account) as client:
            jobs = await submitted(client, song, limit + 3)
            await until(lambda: sandbox.unfinished(account) == limit)
            await until(lambda: sum(job.stage is Stage.WAITING for job in jobs) == limit)
            for number in range(3):
                sandbox.finish(sandbox.jobs[number].hash)
                await until(lambda number=number: paid(sandbox) == limit + number + 1)
            for job in sandbox.jobs:
                sandbox.finish(job.hash)
            for job in jobs:
                await job
        assert sandbox.peak_unfinished(account) == limit
        assert paid(sandbox) == limit + 3


@pytest.mark.parametrize("limit", [1, 3, 12])
async def test_an_explicit_limit_is_kept_and_used(client_of: NewClient, song: Path, limit: int) -> None:
    async with Sandbox(stems="copy", manual=True, premium_limit=50, workers=50) as sandbox:
        token = sandbox.premium_token
        async with client_of(sandbox, concurrency=limit) as client:
            jobs = await submitted(client, song, 2 * limit + 1)
            for done in range(0, len(jobs), limit):
                now = min(limit, len(jobs) - done)
                # Not how many are unfinished: those of the round before are, until their files are made.
                await until(lambda count=done + now: paid(sandbox) == count)  # type: ignore[misc]
                for job in sandbox.jobs[done : done + limit]:
                    sandbox.finish(job.hash)
            for job in jobs:
                await job
        assert sandbox.peak_unfinished(token) == limit


async def test_jobs_taken_by_their_hash_are_beyond_the_limit_but_the_others_keep_to_it(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=2) as client:
        jobs = await submitted(client, song, 3)
        await until(lambda: paid(held) == 2)
        await reached(jobs[0], Stage.WAITING)
        assert await jobs[0].cancel()
        await until(lambda: paid(held) == 3)
    assert held.peak_unfinished(held.premium_token) == 2


@pytest.mark.parametrize("refusal", ["message", "silent", "Too many concurrent jobs"])
async def test_slots_that_another_program_uses_are_waited_for(client_of: NewClient, song: Path, refusal: str) -> None:
    async with Sandbox(stems="copy", manual=True, premium_limit=3, refusal=refusal) as sandbox:
        sandbox.occupy(sandbox.premium_token, 2)
        async with client_of(sandbox, concurrency=3) as client:
            first, second = await submitted(client, song, 2)
            await until(lambda: sandbox.count_status(400) >= 1)
            await until(lambda: {first.stage, second.stage} == {Stage.WAITING, Stage.QUEUED})
            at_service, waiting = sorted((first, second), key=lambda job: job.stage is Stage.QUEUED)
            assert waiting.error is None
            # Ours ends: its slot is refilled at once, however long other programs keep theirs.
            sandbox.finish(str(at_service.hash))
            await reached(waiting, Stage.WAITING)
            sandbox.finish(str(waiting.hash))
            await waiting
        assert paid(sandbox) == 2


@pytest.mark.parametrize("refusal", ["message", "silent"])
async def test_a_slot_that_another_program_gives_back_is_found(client_of: NewClient, song: Path, refusal: str) -> None:
    async with Sandbox(stems="copy", manual=True, premium_limit=2, refusal=refusal) as sandbox:
        sandbox.occupy(sandbox.premium_token, 2)
        async with client_of(sandbox, concurrency=2) as client:
            (job,) = await submitted(client, song, 1)
            await until(lambda: calls(sandbox, "app/user") >= 1)  # it was asked why a create was refused
            assert paid(sandbox) == 0
            sandbox.release(sandbox.premium_token)
            await reached(job, Stage.WAITING)
        assert job.error is None


async def test_refusals_are_few_however_long_the_slots_are_taken(client_of: NewClient, song: Path) -> None:
    async with Sandbox(stems="copy", manual=True, premium_limit=4) as sandbox:
        sandbox.occupy(sandbox.premium_token, 3)
        async with client_of(sandbox, concurrency=4) as client:
            jobs = await submitted(client, song, 8)
            for done in range(1, 8):
                await until(lambda done=done: paid(sandbox) == done)
                sandbox.finish(sandbox.jobs[-1].hash)
            await until(lambda: paid(sandbox) == 8)
        # At first the client cannot know; from then on it knows how many slots are its own.
        assert sandbox.count_status(400) <= 6
        assert all(job.error is None for job in jobs)


async def test_an_account_that_becomes_premium_has_its_slots_used(client_of: NewClient, song: Path) -> None:
    async with Sandbox(stems="copy", manual=True) as sandbox, client_of(sandbox) as client:
        await client.account.disable_premium()
        jobs = await submitted(client, song, 4)
        await until(lambda: paid(sandbox) == 1)
        await client.account.enable_premium()
        # Nothing ends meanwhile, and one job alone is looked at by itself: only the account can say so.
        await until(lambda: paid(sandbox) == len(jobs))


REFUSED = {"success": False}


@pytest.mark.parametrize("token", ["premium_token", "free_token"])
@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "errors": {"sep_type": ["The selected sep type is invalid."]}},
        {"success": False, "data": {"message": "The selected sep type is invalid."}},
        {"success": False, "message": "The selected sep type is invalid."},
        REFUSED,
    ],
)
async def test_a_request_that_cannot_be_fails_at_once_where_no_job_is_unfinished(
    held: Sandbox, client_of: NewClient, song: Path, token: str, body: dict[str, Any]
) -> None:
    held.faults.add(kind="refuse", path="separation/create", status=400, body=body)
    async with client_of(held, api_token=getattr(held, token)) as client:
        job = await client.submit(song, algorithm=40)
        with pytest.raises(InvalidRequestError) as caught:
            await job
        assert caught.value.status == 400
        assert calls(held, "separation/create") == 1
        # The next one is not held up by it.
        await reached(await client.submit(song, algorithm=40), Stage.WAITING)


async def test_a_named_mistake_fails_at_once_and_the_others_continue(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held) as client:
        good = await client.submit(song, algorithm=40)
        await reached(good, Stage.WAITING)
        body = {"success": False, "errors": {"add_opt1": ["The selected add opt1 is invalid."]}}
        held.faults.add(kind="refuse", path="separation/create", status=400, body=body)
        bad = await client.submit(song, algorithm=40)
        with pytest.raises(InvalidRequestError, match="add_opt1") as caught:
            await bad
        assert caught.value.fields == {"add_opt1": ("The selected add opt1 is invalid.",)}
        assert calls(held, "separation/create") == 2
        held.finish(str(good.hash))
        await good


async def test_one_unexplained_refusal_is_tried_once_more(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        other = await client.submit(song, algorithm=40)
        await reached(other, Stage.WAITING)
        held.faults.add(kind="refuse", path="separation/create", status=400, body=REFUSED)
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
    assert calls(held, "separation/create") == 3
    assert paid(held) == 2


async def test_a_refusal_that_the_account_cannot_be_asked_about_is_tried_once_more(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    held.faults.add(kind="refuse", path="separation/create", status=400, body=REFUSED)
    held.faults.add(kind="html", path="app/user", count=100)
    async with client_of(held, concurrency=1) as client:
        await reached(await client.submit(song, algorithm=40), Stage.WAITING)
    assert calls(held, "separation/create") == 2


async def test_a_second_unexplained_refusal_is_the_callers_mistake(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held) as client:
        other = await client.submit(song, algorithm=40)
        await reached(other, Stage.WAITING)
        held.faults.add(kind="refuse", path="separation/create", status=400, body=REFUSED, count=None)
        with pytest.raises(InvalidRequestError, match="no reason"):
            await (await client.submit(song, algorithm=40))
    assert calls(held, "separation/create") == 3


async def test_many_bad_requests_at_once_fail_without_waiting_for_each_other(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    held.faults.add(kind="refuse", path="separation/create", status=400, body=REFUSED, count=None)
    async with client_of(held) as client:
        jobs = await submitted(client, song, 12)
        for job in jobs:
            with pytest.raises(InvalidRequestError):
                await job
    assert calls(held, "separation/create") == 12


async def test_too_large_an_upload_fails_and_says_so(client_of: NewClient, song: Path) -> None:
    async with Sandbox(stems="copy", premium_upload_bytes=1000) as sandbox, client_of(sandbox) as client:
        with pytest.raises(InvalidRequestError, match="too large"):
            await (await client.submit(song, algorithm=40))


async def test_a_premium_promise_too_large_is_found_out(client_of: NewClient, song: Path) -> None:
    async with Sandbox(stems="copy", manual=True, premium_limit=2) as sandbox:
        async with client_of(sandbox) as client:
            jobs = await submitted(client, song, 5)
            for done in range(2, 6):
                await until(lambda done=done: paid(sandbox) == done)
                sandbox.finish(sandbox.jobs[done - 2].hash)
        assert [job.error for job in jobs if not isinstance(job.error, NoFreeSlotError)] == [None] * 5
        assert sandbox.peak_unfinished(sandbox.premium_token) == 2


async def premium_songs(held: Sandbox, client: MVSepClient, song: Path, count: int) -> list[Any]:
    """Submit songs for an algorithm that needs credits, which the account has until the first one is accepted."""
    jobs = [await client.submit(song, algorithm=26) for _ in range(count)]
    await until(lambda: paid(held) == 1)
    return jobs


async def test_when_the_credits_are_used_up_the_other_songs_are_not_uploaded_to_be_refused(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=1) as client:
        first, *others = await premium_songs(held, client, song, 5)
        await client.account.disable_premium()  # as if the first job had cost the last credit
        held.finish(str(first.hash))
        for job in others:
            with pytest.raises(InvalidRequestError, match="premium") as caught:
                await job
            assert classify_failure(caught.value) is FailureKind.TEMPORARY
        assert calls(held, "separation/create") == 2
        assert (await client.submit(song, algorithm=40)).error is None  # another algorithm needs none


async def test_songs_are_sent_again_when_the_account_has_credits_again(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=1) as client:
        first, second = await premium_songs(held, client, song, 2)
        await client.account.disable_premium()
        held.finish(str(first.hash))
        with pytest.raises(InvalidRequestError, match="premium"):
            await second
        await client.account.enable_premium()
        later = await client.submit(song, algorithm=26)
        await until(lambda: later.hash)
    assert paid(held) == 2
