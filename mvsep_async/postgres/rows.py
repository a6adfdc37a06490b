"""Convert jobs to rows of the shared journal's tables and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attrs import asdict

from mvsep_async.errors import JournalError, MVSepError
from mvsep_async.jobs.coordinator import JobView
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.request import JobRequest
from mvsep_async.journal.changes import Row, Value
from mvsep_async.journal.rows import FACT_COLUMNS, REQUEST_COLUMNS, RowReader, facts_row
from mvsep_async.models.stage import Stage
from mvsep_async.sources import Spooled

__all__ = [
    "VIEW_COLUMNS",
    "ViewReader",
    "encoded",
    "error_text",
    "machine_of",
    "progress_text",
    "turn_group",
]

VIEW_COLUMNS: Final = (*REQUEST_COLUMNS, *FACT_COLUMNS, "cancelling", "progress", "machine")
"""The columns that `ViewReader` reads."""

_STATE: Final = VIEW_COLUMNS.index("state")
_ERROR: Final = VIEW_COLUMNS.index("error")

_MARK: Final = "\\x"
"""The beginning of a text that is stored in hexadecimal: PostgreSQL's texts have no NUL and are valid Unicode."""


def error_text(error: MVSepError) -> Value:
    """Return an error as a value of the column `error`."""
    row = facts_row(JobState.FAILED, Facts(error=error))
    return _encoded(row[FACT_COLUMNS.index("error")])


def encoded(row: Row) -> list[Value]:
    """Return a row with texts that PostgreSQL can store."""
    return [_encoded(value) for value in row]


def turn_group(group: str | None) -> str:
    """Return the name of a group in the table of turns: a digest, since groups may be of any length."""
    return "" if group is None else hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def machine_of(request: JobRequest, machine: str, *, shared_files: bool) -> str | None:
    """Return the machine on which the paths of a job are valid; `None` for all."""
    return None if shared_files and not isinstance(request.source, Spooled) else machine


def progress_text(progress: Progress) -> str:
    """Return the progress of a job as JSON."""
    known = asdict(progress, filter=lambda attribute, value: value is not None and attribute.name != "stage")
    return json.dumps({"stage": progress.stage.value, **known})


class ViewReader:
    """Reads jobs of any client from rows of `VIEW_COLUMNS` and the error after which each was released."""

    def __init__(self, *, spool: Path) -> None:
        self._rows = RowReader(spool=spool)

    def view(self, row: Sequence[Any]) -> JobView:
        """Return the job of a row. Raises `JournalError` for a value that cannot be read.

        The last column is the error of a released job, which is shown as a failed one.
        """
        *values, cancelling, progress, machine, failure = row
        if failure is not None:
            values[_STATE], values[_ERROR] = JobState.FAILED.value, failure
        record = self._rows.record([_decoded(value) for value in values])
        return JobView(record, None if progress is None else _progress(progress), bool(cancelling), machine)


def _progress(text: str) -> Progress:
    try:
        known = json.loads(text)
        return Progress(**{**known, "stage": Stage(known["stage"])})
    except (TypeError, ValueError, LookupError) as error:
        raise JournalError(f"the progress of a job in the journal cannot be read: {error}") from error


def _encoded(value: Value) -> Value:
    if isinstance(value, bytes):
        return _MARK + value.hex()
    if isinstance(value, str) and ("\0" in value or value.startswith(_MARK) or not value.isascii()):
        encoded = value.encode("utf-8", "surrogatepass")
        if "\0" in value or value.startswith(_MARK) or not _is_utf8(encoded):
            return _MARK + encoded.hex()
    return value


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_MARK):
        return bytes.fromhex(value.removeprefix(_MARK)).decode("utf-8", "surrogatepass")
    return value
