"""PgBouncer in transaction mode in front of the database, where it is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient
from tests.postgres.processes import wait_for
from tests.postgres.support import eventually, songs

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")]


@pytest.fixture
def pooled(database: str) -> Iterator[str]:
    """Return the URL of the database through a pooler."""
    parts = urlsplit(database)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        owner = None
        host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
        if os.geteuid() == 0:  # PgBouncer does not run as root, but as the user that may enter the server's folder
            owner = pwd.getpwuid(Path(host).stat().st_uid if host.startswith("/") else 65534).pw_name
            shutil.chown(folder, owner)
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={host} port={parts.port or 5432} user={parts.username or 'postgres'}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 3\n"
        )
        settings.chmod(0o644)
        log = folder / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [str(PGBOUNCER), str(settings)], stdout=output, stderr=subprocess.STDOUT, user=owner
            )
        url = f"postgresql://postgres@127.0.0.1:{port}{parts.path}"
        try:
            wait_for(lambda: process.poll() is not None or answers(url), log)
            assert process.poll() is None, log.read_text()
            yield url
        finally:
            process.kill()
            process.wait()
        # The notices that arrive for nobody: the ping of each process.
        assert log.read_text().count("when not linked") <= 2


def answers(url: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5):
        return True
    return False


async def test_processes_share_a_journal_through_a_pooler(
    pooled: str, database: str, client_of: NewClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mvsep_async")
    async with Sandbox(stems="copy", job_seconds=0.3, requests_per_minute=6000) as service:
        # The third one has notices: it connects directly.
        async with (
            client_of(service, journal=pooled) as one,
            client_of(service, journal=pooled) as other,
            client_of(service, journal=database) as third,
        ):
            clients = (one, other, third)
            await eventually(lambda: caplog.text.count("notices do not arrive") == 2)
            jobs = [
                await clients[number % 3].submit(song, algorithm=40, key=song.name)
                for number, song in enumerate(songs(tmp_path, 15))
            ]
            found = await other.find(key="song 0.wav")
            assert found is not None
            for job in (*jobs, found):
                assert (await job).files
        assert len(service.jobs) == 15
        assert service.count_status(400) == 0
        assert service.peak_unfinished(service.premium_token) <= 10
