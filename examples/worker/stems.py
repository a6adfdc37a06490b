"""The tasks of the web servers and workers beside this file, and the client that they all use.

    pip install 'mvsep-async[postgres]' procrastinate fastapi uvicorn python-multipart
    export DATABASE_URL=postgresql://user@host/db MVSEP_API_TOKEN=... FOLDER=/srv/stems

    procrastinate --app stems.tasks schema --apply          # once: the tables of the tasks
    uvicorn --factory front:create_app --workers 2          # web servers, on any machine
    python worker.py                                        # workers, on any machine, as many as wanted

FOLDER has the songs and their stems, and is the same on all machines. When a worker dies, another one continues after
LEASE seconds: the task is delivered again, with the same key, so the song is not paid again.
"""

import os
from pathlib import Path

import procrastinate

from mvsep_async import JournalError, MVSepClient, ServiceUnavailableError, TransportError

DATABASE_URL = os.environ["DATABASE_URL"]
FOLDER = Path(os.environ.get("FOLDER", "stems-data")).absolute()
LEASE = float(os.environ.get("LEASE", "30"))

RETRY = procrastinate.RetryStrategy(
    max_attempts=10, wait=5, retry_exceptions=[JournalError, ServiceUnavailableError, TransportError]
)

tasks = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DATABASE_URL))


def new_client() -> MVSepClient:
    """Return a client that shares slots, requests and jobs with those of all other processes."""
    return MVSepClient(journal=DATABASE_URL, shared_files=True, lease=LEASE)


@tasks.task(name="separate", pass_context=True, retry=RETRY)
async def separate(context: procrastinate.JobContext, id: str, song: str) -> None:
    """Separate one song. A task may be delivered twice; the key makes it one job, which is paid once."""
    client: MVSepClient = context.additional_context["client"]
    await client.separate(FOLDER / "songs" / id / song, FOLDER / "stems" / id, algorithm="BS Roformer", key=id)


@tasks.periodic(cron="* * * * * */10")
@tasks.task(name="deliver_again", queueing_lock="deliver_again", pass_context=True)
async def deliver_again(context: procrastinate.JobContext, timestamp: int) -> None:
    """Deliver the tasks of workers that have died to other workers."""
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=LEASE):
        await manager.retry_job(job)
