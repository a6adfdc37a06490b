"""A job request as frozen values: the song, the settings of its separation, and the target of its stems."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, urandom
from pathlib import Path
from typing import Final, Literal, Self

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.naming import check_layout
from mvsep_async.sources import JobSource, RemoteType, is_url

__all__ = ["ID_PATTERN", "JobRequest", "JobSettings", "Target", "new_id"]

ID_PATTERN: Final = "mv[0-9a-f]{16}"
"""A regular expression for what `new_id` returns."""


@frozen
class JobSettings:
    """The checked settings of a separation. Jobs with the same settings share one object."""

    algorithm: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    output_format: OutputFormat = OutputFormat.MP3
    remote_type: RemoteType | None = None
    demo: bool = False
    webhook_url: str | None = None
    on_unknown: Literal["raise", "resubmit"] = "raise"
    anyway: bool = False
    """Send the job even if the account's plan does not seem to allow it."""


def _absolute(directory: str) -> str:
    return str(Path(directory).absolute())


@frozen
class Target:
    """The folder and layout for the stems of a job. `stems`: the stems to download, `None` for all.

    The folder is made absolute, since the next process that reads the journal may start in another folder.
    """

    directory: str = field(converter=_absolute)
    stems: tuple[str, ...] | None = None
    layout: str = "{song}/{stem}"
    overwrite: bool = False

    @classmethod
    def at(cls, directory: str | PathLike[str], stems: Iterable[str] | None, layout: str, overwrite: bool) -> Self:
        """Return the target for a caller's arguments. Raises `InvalidRequestError` for an invalid layout."""
        check_layout(layout)
        return cls(str(Path(directory)), None if stems is None else tuple(stems), layout, overwrite)


@frozen
class JobRequest:
    """One requested separation, as submitted by the caller.

    `id` is also the tag at the front of the uploaded file name, by which the job is found at the service.
    `fingerprint` identifies file and settings, `content` audio and settings; both are the same in every process.
    """

    id: str
    source: JobSource
    settings: JobSettings
    filename: str | None = None
    group: str | None = None
    priority: int = 0
    key: str | None = None
    metadata: Json = None
    target: Target | None = None
    fingerprint: str | None = None
    content: str | None = None

    @property
    def uploads(self) -> bool:
        """Whether a file is uploaded: it is read from this machine's disk, and its job's hash has the job's tag."""
        return self.source is not None and not is_url(self.source)


def new_id() -> str:
    """Return a new job id: 64 random bits as lower-case letters and digits, which survive the service's file naming."""
    return f"mv{urandom(8).hex()}"
