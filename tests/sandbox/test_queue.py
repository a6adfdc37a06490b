from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.models.output_format import OutputFormat
from mvsep_async.sandbox.accounts import Account
from mvsep_async.sandbox.jobs import Job, Phase, Priority
from mvsep_async.sandbox.queue import JobQueue


def make_job(serial: int, *, at: float = 0.0, seconds: float = 1.0, priority: Priority = Priority.PREMIUM) -> Job:
    account = Account("token", "name", "a@b.c", "password", 0, 0)
    account.acquire_slot()
    return Job(
        serial, f"hash-{serial}", account, "host", "song.mp3", 40, {}, OutputFormat.MP3, at, priority,
        ready_at=at, run_seconds=seconds, work_done_at=at,
    )  # fmt: skip


def queue_of(*jobs: Job) -> JobQueue:
    queue = JobQueue()
    for job in jobs:
        queue.enqueue(job)
    return queue


def test_one_worker_runs_jobs_one_after_another() -> None:
    jobs = [make_job(n, seconds=2) for n in range(3)]
    ended = queue_of(*jobs).advance_to(100, workers=1)
    assert [(job.started_at, job.ended_at) for job in ended] == [(0, 2), (2, 4), (4, 6)]


def test_premium_goes_first() -> None:
    free, premium = make_job(1, priority=Priority.REGISTERED), make_job(2)
    queue = queue_of(free, premium)
    queue.advance_to(0.5, workers=1)
    assert (premium.phase, free.phase) == (Phase.RUNNING, Phase.WAITING)


def test_a_job_does_not_end_before_its_files_are_made() -> None:
    job = make_job(1)
    job.work_done_at = None
    queue = queue_of(job)
    assert queue.advance_to(50, workers=1) == []
    job.work_done_at = 60
    assert [ended.ended_at for ended in queue.advance_to(70, workers=1)] == [60]


def test_a_manual_job_waits_and_blocks_no_other() -> None:
    manual, other = make_job(1), make_job(2)
    manual.manual = True
    queue = queue_of(manual, other)
    assert queue.advance_to(50, workers=1) == [other]
    assert manual.phase is Phase.WAITING


def test_places_count_waiting_jobs_of_the_same_priority() -> None:
    jobs = [make_job(n) for n in range(4)] + [make_job(9, priority=Priority.REGISTERED)]
    queue = queue_of(*jobs)
    queue.advance_to(0, workers=1)
    places = [queue.place(job, 0, jobs_ahead=0, queue_seconds=0) for job in jobs]
    assert [(place.order, place.count) for place in places] == [(1, 3), (1, 3), (2, 3), (3, 3), (1, 1)]


def test_jobs_ahead_disappear_evenly() -> None:
    job = make_job(1)
    job.ready_at = 10
    queue = queue_of(job)
    orders = [queue.place(job, now, jobs_ahead=4, queue_seconds=10).order for now in (0, 5, 10)]
    assert orders == [5, 3, 1]


def test_the_next_event_is_the_next_start_or_end() -> None:
    job = make_job(1, at=3)
    queue = queue_of(job)
    assert queue.next_event(workers=1) == 3
    queue.advance_to(3, workers=1)
    assert queue.next_event(workers=1) == 4
    queue.advance_to(4, workers=1)
    assert queue.next_event(workers=1) is None


def test_ending_twice_frees_one_slot_only() -> None:
    job = make_job(1)
    queue = queue_of(job)
    queue.end(job, 1, Phase.CANCELLED)
    queue.end(job, 2, Phase.DONE)
    assert (job.phase, job.ended_at, job.account.unfinished) == (Phase.CANCELLED, 1, 0)


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 20), st.sampled_from(Priority)), min_size=1, max_size=12),
    st.integers(1, 4),
    st.lists(st.floats(0, 200), max_size=10),
)
def test_workers_limit_running_jobs_and_polling_changes_nothing(
    plan: list[tuple[float, float, Priority]], workers: int, polls: list[float]
) -> None:
    def played(moments: list[float]) -> list[tuple[float | None, float | None]]:
        jobs = [make_job(n, at=at, seconds=length, priority=who) for n, (at, length, who) in enumerate(plan)]
        queue = queue_of(*jobs)
        for moment in [*sorted(moments), 1000.0]:
            queue.advance_to(moment, workers)
        assert all(job.phase is Phase.DONE for job in jobs)
        for job in jobs:
            assert job.started_at is not None
            assert job.started_at >= job.ready_at
            alongside = [
                other
                for other in jobs
                if other.started_at is not None
                and other.ended_at is not None
                and other.started_at <= job.started_at < other.ended_at
            ]
            assert len(alongside) <= workers
        return [(job.started_at, job.ended_at) for job in jobs]

    assert played(polls) == played([])
