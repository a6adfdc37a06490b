"""The journal file: what is refused, repaired and cleaned up."""

import errno
import os
import random
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mvsep_async.errors import JournalError
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.journal import JobDuration, Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest
from mvsep_async.journal import file as file_module
from mvsep_async.journal.changes import PendingChanges
from mvsep_async.journal.file import JournalFile
from mvsep_async.journal.lock import FileLock
from mvsep_async.journal.rows import facts_row, request_row
from mvsep_async.journal.schema import STEPS
from mvsep_async.journal.store import Store
from mvsep_async.sources import Spooled
from tests.journal.samples import a_request

FILES = ["j.db", "j.db.lock"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j.db"


@contextmanager
def opened(path: Path) -> Iterator[tuple[Store, list[Record]]]:
    store, records = JournalFile(path).open()
    try:
        yield store, records
    finally:
        store.close()


def added(*orders: JobRequest, spool: Path = Path("/none")) -> PendingChanges:
    return PendingChanges(added={order.id: request_row(order, spool=spool) for order in orders})


def filled(path: Path, count: int = 300) -> list[JobRequest]:
    orders = [a_request(source=f"/music/{number}.flac", key=str(number)) for number in range(count)]
    with opened(path) as (store, _):
        store.write(added(*orders), synced=False)
    return orders


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_jobs_come_back_in_order_of_submission(path: Path) -> None:
    orders = filled(path)
    with opened(path) as (_, records):
        assert [record.request for record in records] == orders
    assert names(path.parent) == FILES


def test_changes_come_back(path: Path) -> None:
    order = a_request()
    changes = added(order)
    changes.changed[order.id] = facts_row(JobState.WAITING, Facts(hash="h"))
    with opened(path) as (store, _):
        store.write(changes, synced=True)
        store.write(PendingChanges(changed={order.id: facts_row(JobState.DONE, Facts(hash="h"))}), synced=False)
    with opened(path) as (_, records):
        assert records == [Record(order, JobState.DONE, Facts(hash="h"))]


def test_a_change_of_a_pruned_job_changes_nothing(path: Path) -> None:
    order = a_request()
    with opened(path) as (store, _):
        store.write(added(order), synced=False)
        store.write(PendingChanges(forgotten={order.id: None}), synced=False)
        late = PendingChanges(changed={order.id: facts_row(JobState.DONE, NOTHING)})
        store.write(late, synced=False)
    with opened(path) as (_, records):
        assert records == []


def test_a_key_can_be_given_again_in_the_transaction_that_prunes_it(path: Path) -> None:
    old, new = a_request(key="k"), a_request(key="k")
    with opened(path) as (store, _):
        store.write(added(old), synced=False)
        changes = added(new)
        changes.forget([old.id])
        store.write(changes, synced=False)
    with opened(path) as (_, records):
        assert [record.request for record in records] == [new]


def test_a_change_after_the_pruning_in_one_transaction_changes_nothing(path: Path) -> None:
    order, other = a_request(), a_request()
    with opened(path) as (store, _):
        store.write(added(order), synced=False)
        changes = added(other)
        changes.forget([order.id])
        changes.changed[order.id] = facts_row(JobState.DONE, NOTHING)
        store.write(changes, synced=False)
    with opened(path) as (_, records):
        assert [record.request for record in records] == [other]


def test_a_pruning_that_fails_leaves_job_and_song(path: Path) -> None:
    song = spooled(path, "song.wav")
    order = a_request(source=song, key="k")
    with opened(path) as (store, _):
        song.path.write_bytes(b"RIFF")
        store.write(added(order, spool=song.path.parent), synced=False)
        changes = added(a_request(key="l"), a_request(key="l"))
        changes.forget([order.id])
        with pytest.raises(JournalError, match="UNIQUE"):
            store.write(changes, synced=False)
        store.tidy()
        store.write(PendingChanges(changed={order.id: facts_row(JobState.DONE, NOTHING)}), synced=False)
    assert song.path.exists()
    with opened(path) as (_, records):
        assert [(record.request, record.state) for record in records] == [(order, JobState.DONE)]


def test_all_changes_are_written_or_none(path: Path) -> None:
    with opened(path) as (store, _):
        with pytest.raises(JournalError, match="UNIQUE"):
            store.write(added(a_request(), a_request(key="k"), a_request(key="k")), synced=False)
        store.write(added(a_request()), synced=False)
    with opened(path) as (_, records):
        assert len(records) == 1


# --- how safe


def test_synced_writes_are_synced(path: Path) -> None:
    """Also when there is nothing new: what was written before has to be synced with it."""
    with opened(path) as (store, _):
        connection = store._connection
        log = path.with_name("j.db-wal")
        for changes, synced, level in (
            (added(a_request()), False, 1),
            (added(a_request()), True, 2),
            (PendingChanges(), True, 2),
            (PendingChanges(changed={"mvpruned": facts_row(JobState.DONE, NOTHING)}), True, 2),
            (PendingChanges(forgotten={"mvpruned": None}), True, 2),
            (added(a_request(), a_request()), False, 1),
        ):
            before = log.stat().st_size if log.exists() else 0
            store.write(changes, synced=synced)
            assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
            assert log.stat().st_size > before


def test_a_log_left_by_a_killed_process_is_read(path: Path, tmp_path: Path) -> None:
    with opened(path) as (store, _):
        store.write(added(a_request()), synced=False)
        for suffix in ("", "-wal", "-shm"):
            shutil.copy(f"{path}{suffix}", tmp_path / f"k.db{suffix}")
    assert (tmp_path / "k.db-wal").stat().st_size
    assert len(JournalFile(tmp_path / "k.db").peek()) == 1
    with opened(tmp_path / "k.db") as (_, records):
        assert len(records) == 1


# --- what is refused, and left as it is


def test_a_journal_in_use_is_refused(path: Path) -> None:
    with opened(path), pytest.raises(JournalError, match=r"in use by another client of this process, .* another path"):
        JournalFile(path).open()
    with opened(path):
        pass


def garbage(path: Path) -> None:
    path.write_bytes(b"these are not the bytes you are looking for" * 99)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def a_foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def a_newer_version(path: Path) -> None:
    filled(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")


def an_unknown_state(path: Path) -> None:
    filled(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE jobs SET state = 'dreaming' WHERE number = 7")
        connection.commit()


def cut(path: Path) -> None:
    filled(path)
    os.truncate(path, path.stat().st_size * 2 // 3)


def holes(path: Path) -> None:
    filled(path)
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = random.Random(page).randbytes(64)
    path.write_bytes(content)


def no_head(path: Path) -> None:
    filled(path)
    path.write_bytes(bytes(100) + path.read_bytes()[100:])


@pytest.mark.parametrize("look", ["open", "peek"])
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (garbage, "not a journal.* give another path"),
        (empty, "is empty; remove it to start a new one"),
        (no_head, "not a journal: it is not an SQLite database"),
        (a_foreign_database, "a database of another program"),
        (a_newer_version, "newer mvsep-async .*: upgrade"),
        (an_unknown_state, "damaged .*dreaming.* move it away"),
        (cut, "damaged .*recover"),
        (holes, "damaged .*recover"),
    ],
)
def test_an_untrusted_file_is_refused_and_not_changed(
    path: Path, harm: Callable[[Path], None], message: str, look: str
) -> None:
    harm(path)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(JournalError, match=message) as caught:
            getattr(JournalFile(path), look)()
        assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert set(names(path.parent)) <= {*FILES}


def test_flipped_bytes_never_crash_and_never_start_afresh(path: Path) -> None:
    orders = filled(path, 40)
    whole, chance, refused = path.read_bytes(), random.Random(9), 0
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(20):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        try:
            with opened(path) as (_, records):
                assert len(records) == len(orders)
        except JournalError:
            refused += 1
    assert refused > 30


def test_the_log_of_a_journal_that_is_gone_is_not_mixed_into_a_new_one(path: Path) -> None:
    path.with_name("j.db-wal").write_bytes(b"x")
    with pytest.raises(JournalError, match=r"j\.db-wal exists: put the journal back"):
        JournalFile(path).open()
    assert not path.exists()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    for look in (JournalFile(tmp_path).open, JournalFile(tmp_path).peek):
        with pytest.raises(JournalError, match="is a folder: give the path of a file in it"):
            look()
    assert names(tmp_path) == []


@pytest.mark.parametrize("act", ["the lock file is removed", "the lock file is replaced", "the journal is replaced"])
def test_no_second_client_gets_a_journal_in_use(path: Path, tmp_path: Path, act: str) -> None:
    with opened(path):
        lock = path.with_name("j.db.lock")
        if act == "the journal is replaced":
            with opened(tmp_path / "other.db"):
                pass
            (tmp_path / "other.db").replace(path)
        else:
            lock.unlink()
            if act == "the lock file is replaced":
                lock.write_text("1\n")
        for _ in range(2):
            with pytest.raises(JournalError, match="is in use by"), opened(path):
                pytest.fail("two clients have one journal")
    with opened(path):
        pass


def test_only_its_user_can_read_a_journal(path: Path) -> None:
    with opened(path) as (store, _):
        store.write(added(a_request()), synced=True)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["j.db", "j.db-shm", "j.db-wal", "j.db.lock"], 0o600)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives a file to another user")
def test_a_journal_of_another_user_is_not_trusted(path: Path) -> None:
    with opened(path):
        pass
    os.chown(path, 54321, 54321)
    with pytest.raises(JournalError, match=r"belongs to another user \(uid 54321\)"), opened(path):
        pytest.fail("a journal of another user was opened")


@pytest.mark.parametrize("plant", ["link", "hard link", "pipe"])
def test_a_planted_lock_file_is_not_written_through(path: Path, tmp_path: Path, plant: str) -> None:
    victim, lock = tmp_path / "victim", path.with_name("j.db.lock")
    victim.write_text("precious")
    match plant:
        case "link":
            lock.symlink_to(victim)
        case "hard link":
            os.link(victim, lock)
        case _:
            os.mkfifo(lock)
    with pytest.raises(JournalError, match="cannot be used"), opened(path):
        pytest.fail("the journal was opened")
    assert victim.read_text() == "precious"


def test_a_file_system_without_locks_on_the_journal_itself_is_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire = FileLock.acquire

    def refuse(lock: FileLock) -> None:
        if not lock.pid:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        acquire(lock)

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with opened(path) as (store, _):
        store.write(added(a_request()), synced=True)


def test_a_pipe_is_refused(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(JournalError, match="not a regular file"):
        JournalFile(path).open()


def test_one_missing_folder_is_made_and_no_more(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "j.db"):
        pass
    with pytest.raises(JournalError, match=f"there is no folder {tmp_path}/a/b; create it"):
        JournalFile(tmp_path / "a" / "b" / "c" / "j.db").open()
    assert names(tmp_path) == ["new"]


def test_a_file_for_a_folder_is_refused(path: Path) -> None:
    path.write_text("")
    with pytest.raises(JournalError, match="Not a directory; it needs a folder"):
        JournalFile(path / "j.db").open()


def test_there_is_nothing_to_peek_at(path: Path) -> None:
    with pytest.raises(JournalError, match=f"there is no journal at {path}"):
        JournalFile(path).peek()
    assert names(path.parent) == []


def test_a_read_only_folder_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(JournalError, match="Read-only file system; it needs a folder on a local disk"):
            JournalFile(path).open()
    assert names(path.parent) == []


def test_a_file_that_may_not_be_written_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    monkeypatch.setattr(
        JournalFile,
        "_connect",
        lambda self, _: sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None),
    )
    with pytest.raises(JournalError, match=r"cannot be written: .*readonly"):
        JournalFile(path).open()
    monkeypatch.undo()
    with opened(path) as (_, records):
        assert len(records) == 300


def test_a_transaction_of_another_program_is_explained(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "_BUSY_SECONDS", 0)
    with opened(path) as (store, _), closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match=r"being changed by another program.* try again"):
            store.write(added(a_request()), synced=False)
        other.execute("ROLLBACK")
        store.write(added(a_request()), synced=False)


@pytest.mark.parametrize("replaced", [False, True])
def test_writing_to_a_removed_journal_is_an_error(path: Path, replaced: bool) -> None:
    with opened(path) as (store, _):
        away = path.rename(path.with_name("away.db"))
        if replaced:
            path.write_bytes(away.read_bytes())
        for synced in (False, True):
            with pytest.raises(JournalError, match=r"j\.db was removed or replaced .* put it back"):
                store.write(added(a_request()), synced=synced)
        away.replace(path)
        store.write(added(a_request()), synced=False)
    with opened(path) as (_, records):
        assert len(records) == 1


# --- versions


def test_an_older_journal_is_brought_up_to_date(path: Path) -> None:
    orders = filled(path)
    later = (*STEPS, ("ALTER TABLE jobs ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'",))
    newer = JournalFile(path, steps=later)
    with pytest.raises(JournalError, match="older mvsep-async: open it once"):
        newer.peek()
    store, records = newer.open()
    assert [record.request for record in records] == orders
    store.close()
    assert len(newer.peek()) == len(orders)
    with pytest.raises(JournalError, match="newer mvsep-async"):
        JournalFile(path).open()


# --- looking at it


def test_peeking_while_it_is_in_use(path: Path) -> None:
    with opened(path) as (store, _):
        for count in range(1, 4):
            store.write(added(a_request()), synced=False)
            assert len(JournalFile(path).peek()) == count
    assert len(JournalFile(path).peek()) == 3
    assert names(path.parent) == FILES


# --- spooled songs, and room


def spooled(path: Path, name: str) -> Spooled:
    song = path.with_name("j.db.spool") / name
    song.parent.mkdir(exist_ok=True)
    song.write_bytes(b"RIFF")
    return Spooled(song, name)


def test_songs_that_no_job_needs_are_removed_at_the_start(path: Path) -> None:
    needed, orphan = spooled(path, "needed.wav"), spooled(path, "orphan.wav")
    (orphan.path.parent / "folder").mkdir()
    order = a_request(source=needed)
    with opened(path) as (store, _):
        store.write(added(order, spool=needed.path.parent), synced=False)
        orphan.path.write_bytes(b"RIFF")
        needed.path.write_bytes(b"RIFF")
    with opened(path) as (_, records):
        assert records[0].request == order
    assert names(needed.path.parent) == ["folder", "needed.wav"]


def test_a_spool_folder_that_leads_elsewhere_is_left_alone(path: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "song.wav").write_bytes(b"RIFF")
    path.with_name("j.db.spool").symlink_to(tmp_path / "mine")
    with opened(path):
        pass
    assert names(tmp_path / "mine") == ["song.wav"]


def test_pruning_removes_only_the_songs_of_pruned_jobs(path: Path, tmp_path: Path) -> None:
    ours = spooled(path, "ours.wav")
    theirs = tmp_path / "theirs.wav"
    theirs.write_bytes(b"RIFF")
    orders = [a_request(source=source) for source in (ours, Spooled(theirs, "a.wav"), str(theirs))]
    with opened(path) as (store, _):
        ours.path.write_bytes(b"RIFF")
        store.write(added(*orders, spool=ours.path.parent), synced=False)
        store.write(PendingChanges(forgotten=dict.fromkeys(order.id for order in orders)), synced=False)
        assert ours.path.exists()
        store.tidy()
        assert not ours.path.exists()
        store.tidy()
    assert theirs.exists()


def test_the_file_shrinks_when_jobs_are_pruned(path: Path) -> None:
    orders = [a_request(metadata="x" * 3000) for _ in range(1500)]
    with opened(path) as (store, _):
        store.write(added(*orders), synced=False)
        store.write(PendingChanges(forgotten=dict.fromkeys(order.id for order in orders[1:])), synced=False)
        store.tidy()
        assert path.stat().st_size < 1 << 20
        assert path.with_name("j.db-wal").stat().st_size == 0
    with opened(path) as (_, records):
        assert [record.request for record in records] == orders[:1]


def test_the_log_does_not_grow_for_ever(path: Path) -> None:
    order = a_request()
    with opened(path) as (store, _):
        store.write(added(order), synced=False)
        for attempts in range(3000):
            facts = Facts(attempts=attempts, remote="x" * 20_000)
            store.write(PendingChanges(changed={order.id: facts_row(JobState.WAITING, facts)}), synced=False)
        assert path.with_name("j.db-wal").stat().st_size < 20 << 20


# --- durations


def duration(algorithm: int | None, processing: float) -> JobDuration:
    return JobDuration(algorithm=algorithm, size=1000, waiting=None, processing=processing)


def learned(*durations: JobDuration) -> PendingChanges:
    return PendingChanges(durations=[(it.algorithm, it.size, it.waiting, it.processing) for it in durations])


def test_durations_come_back_in_order_and_only_the_last_of_each_algorithm_are_kept(path: Path) -> None:
    many = [duration(40, float(number)) for number in range(1, 101)]
    few = [duration(None, 5.0), duration(63, 7.0)]
    with opened(path) as (store, _):
        assert store.durations == []
        for one in many:
            store.write(learned(one), synced=False)
        store.write(learned(*few), synced=False)
    with opened(path) as (store, _):
        assert store.durations == [*many[-64:], *few]


def test_durations_that_could_not_be_written_are_written_later() -> None:
    first, second = learned(duration(40, 1.0)), learned(duration(40, 2.0))
    assert first
    assert not first.single
    first.merge(second)
    assert [processing for *_, processing in first.durations] == [1.0, 2.0]


def test_a_damaged_duration_is_not_learned_from(path: Path) -> None:
    with opened(path) as (store, _):
        store.write(learned(duration(40, 1.0), duration(40, 2.0)), synced=False)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE durations SET processing = 'long' WHERE processing = 1.0")
        connection.commit()
    with opened(path) as (store, _):
        assert store.durations == [duration(40, 2.0)]
