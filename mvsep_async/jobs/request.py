"""What was asked for, as values: one separation, how it is to be made, and where its stems shall go."""

from __future__ import annotations

from os import urandom
from pathlib import Path
from typing import Final, Literal

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.sources import PreparedSource, RemoteType

__all__ = ["ID_PATTERN", "JobRequest", "JobSettings", "Target", "new_id"]

ID_PATTERN: Final = "mv[0-9a-f]{16}"
"""A regular expression for what `new_id` returns."""


@frozen
class JobSettings:
    """How a song is to be separated, checked. One object serves all jobs that were asked for in the same way."""

    algorithm: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    output_format: OutputFormat = OutputFormat.MP3
    remote_type: RemoteType | None = None
    demo: bool = False
    webhook_url: str | None = None
    on_unknown: Literal["raise", "resubmit"] = "raise"
    anyway: bool = False
    """Send it although the account's plan does not allow it, as far as is known."""


def _absolute(directory: str) -> str:
    return str(Path(directory).absolute())


@frozen
class Target:
    """Where the stems of a job shall go. `stems`: `None` for all of them.

    The folder becomes absolute: the next process, which finds it in the journal, may start elsewhere.
    """

    directory: str = field(converter=_absolute)
    stems: tuple[str, ...] | None = None
    layout: str = "{song}/{stem}"
    overwrite: bool = False


@frozen
class JobRequest:
    """One separation as it was asked for. `id` is at the same time the tag at the front of the uploaded name.

    `fingerprint` is the same for the same song and settings, in every process; given by `map` where there is a journal.
    """

    id: str
    source: PreparedSource
    settings: JobSettings
    filename: str | None = None
    group: str | None = None
    priority: int = 0
    key: str | None = None
    metadata: Json = None
    target: Target | None = None
    fingerprint: str | None = None


def new_id() -> str:
    """Return a new job id: 64 random bits in lower-case letters and digits, which every slug leaves as they are."""
    return f"mv{urandom(8).hex()}"
