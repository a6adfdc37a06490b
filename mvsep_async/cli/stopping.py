"""What is printed after a run was stopped: how to resume it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from anyio import get_cancelled_exc_class

from mvsep_async.cli.exits import root_cause
from mvsep_async.cli.job_run import JobRun
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount
from mvsep_async.postgres_url import JournalAddress

__all__ = ["print_resume_hint", "when_stopped"]

_MOST: Final = 50
"""Most hashes that are named."""


@contextmanager
def when_stopped(explain: Callable[[], None]) -> Iterator[None]:
    """Call `explain` if a signal ends the block, or that its output was closed; to be used inside the event loop."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, get_cancelled_exc_class()) or isinstance(root_cause(error), BrokenPipeError):
            explain()
        raise


def print_resume_hint(run: JobRun, *, journal: JournalAddress | None = None, out: Path | None = None) -> None:
    """Print what is unfinished, and the command that resumes it."""
    note = terminal().note
    note(f"stopped: {amount(run.counts['done'], 'song')} done; what was started is not lost")
    if journal is not None:
        note("run the same command again to resume; nothing is paid twice")
        return
    hashes = [job.hash for job in run.open.values() if job.hash is not None]
    unsent = sum(job.hash is None for job in run.open.values()) + (run.songs.left if run.songs else 0) + run.reading
    if hashes:
        note(f"{amount(len(hashes), 'job continues', 'jobs continue')} at the service; fetch the stems with:")
        words = ["mvsep-async", "download", *hashes[:_MOST], *(("--out", str(out)) if out else ())]
        typed = subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
        note("  " + typed, whole=True)
    if unsent:
        told = amount(unsent, "song was", "songs were")
        note(f"{told} not sent yet; without --no-journal, the same command would resume")
