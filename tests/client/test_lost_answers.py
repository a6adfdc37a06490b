"""Creates with lost answers: found by their tag, never paid twice, sent again only if they are absent."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from mvsep_async import ConfigurationError, OutputFormat, Pair, Stage, SubmissionUnknownError
from mvsep_async.jobs import coordinator
from mvsep_async.jobs.job import entry_of
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.settings import Quirks
from tests.conftest import NewClient, wav

from .support import calls, paid, reached, until

URL = "http://music.test/song.wav"
OPTIONS = {62: {"add_opt1": "Hello"}}
AFTER = [{"kind": "lose_answer"}, {"kind": "lose_answer", "reset": True}, {"kind": "html_after"}, {"kind": "truncate"},
         {"kind": "empty"}, {"kind": "garble"}, {"kind": "cut_response", "after_bytes": 5},
         *({"kind": "refuse_after", **answer} for answer in (
             {"status": 407}, {"status": 204, "body": ""}, {"status": 304, "body": ""}, {"status": 527, "body": "x"},
             {"status": 301, "headers": {"Location": "https://127.0.0.1/api/separation/create"}},
             {"status": 404, "body": {"status": 404, "error": "Not Found"}},
             {"status": 403, "body": {"success": False, "errors": [{"code": 7003, "message": "no route"}]}},
             {"status": 400, "body": {"success": False}}, {"status": 400, "body": {"message": "Forbidden"}},
             {"status": 429, "body": "<html>slow down</html>"}, {"status": 401, "body": ""},
             {"status": 401, "body": {"success": False}}, {"status": 413, "body": ""},
             {"status": 422, "body": {"error": "Unprocessable"}}, {"status": 200, "body": {"success": False}},
             {"status": 400, "body": {"success": False, "errors": ["You already have unprocessed file in queue."]}},
             {"status": 200, "body": {"success": True}}, {"status": 200, "body": {"data": {"hash": ""}}},
             {"status": 200, "body": {"data": {"hash": " "}}}, {"status": 200, "body": '{"success": true}{}'},
             {"status": 200, "body": {"data": {"hash": "20230327071601-0e3e5c6c85-mv0123456789abcdef-x.mp3"}}},
         ))]  # fmt: skip
BEFORE = [{"kind": "html", "status": 502}, {"kind": "html", "status": 200}, {"kind": "refuse", "status": 503},
          {"kind": "cut_request", "after_bytes": 1}, {"kind": "drop"}, {"kind": "refuse", "status": 302}]  # fmt: skip


def named(fault: dict[str, Any]) -> str:
    return "-".join(str(value) for value in fault.values())


@pytest.mark.parametrize(
    ("fault", "queue"), [*((fault, "list") for fault in AFTER), (AFTER[0], "count"), (AFTER[0], "null")]
)
async def test_a_job_that_was_accepted_is_found_and_paid_once(
    held: Sandbox, client_of: NewClient, song: Path, fault: dict[str, Any], queue: Any
) -> None:
    held.quirks = evolve(Quirks(), current_queue=queue)
    held.faults.add(path="separation/create", **fault)
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        (made,) = held.jobs
        assert job.hash == made.hash
        held.finish(made.hash)
        await job
    assert calls(held, "separation/create") == 1


@pytest.mark.parametrize("fault", BEFORE, ids=named)
async def test_a_job_that_was_not_accepted_is_sent_again(
    held: Sandbox, client_of: NewClient, song: Path, fault: dict[str, Any]
) -> None:
    held.faults.add(path="separation/create", **fault)
    async with client_of(held, poll_interval=0.005) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        assert entry_of(job).facts.attempts == 2
    assert paid(held) == 1


@pytest.mark.parametrize("known", [True, False])
async def test_the_answer_of_another_job_out_of_a_cache_is_not_believed(
    held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, known: bool
) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(wav(0.2))
    async with client_of(held) as client, client_of(held) as first:
        before = await (client if known else first).submit(song, algorithm=40)
        await reached(before, Stage.WAITING)
        held.faults.add(kind="refuse_after", path="separation/create", status=200, body={"data": {"hash": before.hash}})
        job = await client.submit(other, algorithm=40)
        await reached(job, Stage.WAITING)
        assert job.hash == held.jobs[1].hash
    assert paid(held) == 2


async def test_a_proxy_that_starts_to_ask_for_a_password_costs_nothing(
    held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.db"
    async with client_of(held, journal=journal) as client:
        held.faults.add(kind="refuse_after", path="separation/create", status=407)
        await client.account.user()
        proxy = held.faults.add(kind="refuse", path="app/*", status=407, count=None, skip=1)  # the plan is asked for
        job = await client.submit(song, algorithm=40)
        with pytest.raises(ConfigurationError, match="proxy"):
            await job
    held.faults.remove(proxy)
    async with client_of(held, journal=journal) as client:
        (job,) = client.jobs()
        await reached(job, Stage.WAITING)
        assert job.hash == held.jobs[0].hash
    assert paid(held) == 1


async def test_a_job_that_shows_late_in_the_lists_is_waited_for(client_of: NewClient, song: Path) -> None:
    async with Sandbox(stems="copy", manual=True, quirks=Quirks(history_delay=0.3)) as sandbox:
        sandbox.faults.add(kind="lose_answer", path="separation/create")
        async with client_of(sandbox, poll_interval=0.01) as client:
            job = await client.submit(song, algorithm=40)
            await reached(job, Stage.WAITING)
            assert job.hash == sandbox.jobs[0].hash
        assert paid(sandbox) == 1


async def test_several_at_once_share_the_looks(held: Sandbox, client_of: NewClient, song: Path) -> None:
    held.faults.add(kind="lose_answer", path="separation/create", count=6)
    async with client_of(held, concurrency=6, poll_interval=1.0) as client:
        jobs = [await client.submit(song, algorithm=40) for _ in range(6)]
        for job in jobs:
            await reached(job, Stage.WAITING)
        assert {job.hash for job in jobs} == {made.hash for made in held.jobs}
    assert paid(held) == 6
    assert calls(held, "app/separation_history") <= 4


@pytest.mark.parametrize("others", [45, 700])
async def test_among_many_pages_of_others(held: Sandbox, client_of: NewClient, song: Path, others: int) -> None:
    held.quirks = evolve(Quirks(), current_queue="null")
    async with client_of(held) as client:
        held.faults.add(kind="lose_answer", path="separation/create")
        held.faults.add(kind="refuse", path="app/user", status=503, count=3)
        job = await client.submit(song, algorithm=40)
        await until(lambda: paid(held) == 1)
        held.occupy(held.premium_token, others)  # all newer than ours, which is on a page far back
        await reached(job, Stage.WAITING)
    assert paid(held) == 1


@pytest.mark.parametrize("days", [-3, 3])
async def test_among_many_pages_by_a_clock_that_is_wrong(
    held: Sandbox, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    held.quirks = evolve(Quirks(), current_queue="count")
    monkeypatch.setattr(coordinator, "time", SimpleNamespace(time=lambda: time.time() + days * 86400))
    async with client_of(held) as client:
        held.faults.add(kind="lose_answer", path="separation/create")
        held.faults.add(kind="refuse", path="app/user", status=503, count=3)
        job = await client.submit(song, algorithm=40)
        await until(lambda: paid(held) == 1)
        held.occupy(held.premium_token, 65)
        await reached(job, Stage.WAITING)
    assert paid(held) == 1


async def test_the_slot_is_held_while_it_is_searched_for(client_of: NewClient, song: Path) -> None:
    quirks = Quirks(history_delay=0.3)
    async with Sandbox(stems="copy", manual=True, premium_limit=50, quirks=quirks) as sandbox:
        sandbox.faults.add(kind="lose_answer", path="separation/create")
        async with client_of(sandbox, concurrency=1, poll_interval=0.01) as client:
            first, second = [await client.submit(song, algorithm=40) for _ in range(2)]
            await reached(first, Stage.WAITING)
            assert second.stage is Stage.QUEUED
            sandbox.finish(str(first.hash))
            await reached(second, Stage.WAITING)
        assert sandbox.peak_unfinished(sandbox.premium_token) == 1


async def test_the_lists_cannot_be_read_for_a_while(held: Sandbox, client_of: NewClient, song: Path) -> None:
    held.faults.add(kind="lose_answer", path="separation/create")
    async with client_of(held, concurrency=1) as client:
        held.faults.add(kind="html", path="app/*", count=5)
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
    assert paid(held) == 1


async def test_a_job_that_is_done_before_it_is_found(sandbox: Sandbox, client_of: NewClient, song: Path) -> None:
    sandbox.faults.add(kind="lose_answer", path="separation/create")
    async with client_of(sandbox) as client:
        await (await client.submit(song, algorithm=40))
    assert paid(sandbox) == 1


async def test_a_pair_is_found_by_its_first_file(
    held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    held.faults.add(kind="lose_answer", path="separation/create")
    async with client_of(held) as client:
        job = await client.submit(Pair(song, song), algorithm=68, output_format=OutputFormat.WAV_16)
        await reached(job, Stage.WAITING)
    assert paid(held) == 1


async def test_a_url_job_whose_answer_is_lost_cannot_be_known(held: Sandbox, client_of: NewClient, song: Path) -> None:
    held.remote_file(URL, song)
    async with client_of(held) as client:
        other = await client.submit(song, algorithm=40)
        await reached(other, Stage.WAITING)
        held.faults.add(kind="lose_answer", path="separation/create")
        job = await client.submit(URL, algorithm=40)
        with pytest.raises(SubmissionUnknownError, match="resubmit") as caught:
            await job
        made = held.jobs[-1]
        assert caught.value.job == job.id
        assert set(caught.value.found) & {made.hash, made.short_hash}
        assert other.hash not in caught.value.found
        # What was found can be attached to.
        attached = client.attach(caught.value.found[0])
        await until(lambda: attached.stage is Stage.WAITING)
    assert paid(held) == 2


@pytest.mark.parametrize("fault", AFTER, ids=named)
@pytest.mark.parametrize(("source", "algorithm"), [(URL, 40), (None, 62)])
async def test_a_job_without_an_uploaded_file_is_never_paid_twice(
    held: Sandbox, client_of: NewClient, song: Path, fault: dict[str, Any], source: str | None, algorithm: int
) -> None:
    held.remote_file(URL, song)
    held.fetch_seconds = 3600.0  # meanwhile the lists do not name the file, which has another name than the URL
    held.occupy(held.premium_token, 1)
    async with client_of(held) as client:
        held.faults.add(path="separation/create", **fault)
        job = await client.submit(source, algorithm=algorithm, options=OPTIONS.get(algorithm))
        with pytest.raises(SubmissionUnknownError) as caught:
            await job
        made = held.jobs[-1]
        assert set(caught.value.found) & {made.hash, made.short_hash}
    assert paid(held) == 1


@pytest.mark.parametrize("body", [{"success": False, "errors": ["You already have unprocessed file in queue."]}])
@pytest.mark.parametrize(("source", "algorithm"), [(URL, 40), (None, 62)])
async def test_a_refused_job_without_an_uploaded_file_is_sent_again(
    held: Sandbox, client_of: NewClient, song: Path, body: object, source: str | None, algorithm: int
) -> None:
    """Jobs of the same URL and algorithm that the account had before the create are not taken for it."""
    held.remote_file(URL, song)
    async with client_of(held) as client:
        earlier = await client.submit(source, algorithm=algorithm, options=OPTIONS.get(algorithm))
        await until(lambda: earlier.hash)
    async with client_of(held) as client:
        held.faults.add(kind="refuse", path="separation/create", status=400, body=body)
        job = await client.submit(source, algorithm=algorithm, options=OPTIONS.get(algorithm))
        await until(lambda: job.hash)
    assert paid(held) == 2


async def test_a_url_job_may_be_resubmitted_if_the_caller_says_so(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    held.remote_file(URL, song)
    held.faults.add(kind="lose_answer", path="separation/create")
    async with client_of(held) as client:
        job = await client.submit(URL, algorithm=40, on_unknown="resubmit")
        await reached(job, Stage.WAITING)
    assert paid(held) == 2


async def test_a_url_job_that_was_certainly_not_accepted_is_sent_again(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    held.remote_file(URL, song)
    held.faults.add(kind="rate_limit", path="separation/create", retry_after=0)
    async with client_of(held) as client:
        job = await client.submit(URL, algorithm=40)
        await reached(job, Stage.WAITING)
    assert paid(held) == 1


async def test_429_at_create_is_waited_out(held: Sandbox, client_of: NewClient, song: Path) -> None:
    held.faults.add(kind="rate_limit", path="separation/create", retry_after=0, count=2)
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        assert entry_of(job).facts.attempts == 1
    assert (paid(held), held.count_status(429)) == (1, 2)
