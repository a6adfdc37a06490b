"""Convert jobs to table rows and back, without touching a disk.

Values that a person may want to read in an sqlite3 shell have their own columns, the others are JSON. Text that is not
valid Unicode (a file name in an old encoding) is stored as bytes. Tokens in links and messages are masked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

from attrs import Attribute, asdict

from mvsep_async.errors import JournalError, MVSepError
from mvsep_async.http.call import Json
from mvsep_async.http.hosts import Host
from mvsep_async.http.redaction import redact
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest, JobSettings, Target
from mvsep_async.journal.changes import Row, Value
from mvsep_async.journal.error_json import error_from_json, error_to_json
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.separation import InputFile, OutputFile, Separation
from mvsep_async.sources import Data, JobSource, Pair, Spooled, Stream, is_url

__all__ = ["FACT_COLUMNS", "REQUEST_COLUMNS", "RowReader", "facts_row", "request_row"]

REQUEST_COLUMNS: Final = (
    "id", "source_kind", "source", "source_beside", "filename", "settings", "owner_group", "priority", "owner_key",
    "metadata", "target", "fingerprint", "content",
)  # fmt: skip
FACT_COLUMNS: Final = (
    "state", "hash", "remote", "host", "attempts", "intent_at", "accepted_at", "separation", "error", "planned",
    "paths", "archived",
)  # fmt: skip

_UNTOUCHED: Final[Row] = (None, None, None, 0, None, None, None, None, None, None, None)
_LARGEST: Final = 2**63
"""SQLite's integers have 64 bits."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":")).encode


def request_row(request: JobRequest, *, spool: Path) -> Row:
    """Return the values of `REQUEST_COLUMNS`. Relative paths become absolute: the next process may start elsewhere.

    Raises `JournalError` for a request that cannot be stored.
    """
    try:
        if not -_LARGEST <= request.priority < _LARGEST:
            raise ValueError(f"the priority {request.priority} does not fit into 64 bits")
        return (
            request.id,
            *_source_values(request.source, spool),
            _text(request.filename),
            _settings_text(request.settings),
            _text(request.group),
            request.priority,
            _text(request.key),
            None if request.metadata is None else _json(request.metadata),
            None if request.target is None else _target_text(request.target),
            request.fingerprint,
            request.content,
        )
    except (TypeError, ValueError, OSError, RecursionError) as error:
        raise JournalError(f"job {request.id} cannot be stored in the journal: {error}", job=request.id) from error


def facts_row(state: JobState, facts: Facts) -> Row:
    """Return the values of `FACT_COLUMNS`. A separation's audio tags are left out: they are large and not needed."""
    if facts is NOTHING:
        return (state.value, *_UNTOUCHED)
    return (
        state.value,
        _text(facts.hash),
        _text(facts.remote),
        None if facts.host is None else str(facts.host),
        facts.attempts,
        facts.intent_at,
        facts.accepted_at,
        None if facts.separation is None else _masked_json(_separation_json(facts.separation)),
        None if facts.error is None else _masked_json(error_to_json(facts.error)),
        _json([(name, _absolute(path)) for name, path in facts.planned]) if facts.planned else None,
        _json([_absolute(path) for path in facts.paths]) if facts.paths else None,
        1 if facts.archived else None,
    )


class RowReader:
    """Converts rows to records. Jobs with equal settings share one `JobSettings`, `Target` and `Host`."""

    def __init__(self, *, spool: Path) -> None:
        self._spool = str(spool)
        self._settings = lru_cache(maxsize=1024)(_settings)
        self._target = lru_cache(maxsize=1024)(_target)
        self._host = lru_cache(maxsize=1024)(Host.parse)

    def record(self, row: Sequence[Any]) -> Record:
        """Return the record of a row of `REQUEST_COLUMNS` and `FACT_COLUMNS`; raises `JournalError` for a bad value."""
        try:
            return self._record(row)
        except (LookupError, TypeError, ValueError, AttributeError, MVSepError) as error:
            raise JournalError(f"job {row[0]!r} cannot be read ({type(error).__name__}: {error})") from error

    def _record(self, row: Sequence[Any]) -> Record:
        (
            id, kind, source, beside, filename, settings, group, priority, key, metadata, target, fingerprint,
            content, state, *facts,
        ) = row  # fmt: skip
        if not isinstance(id, str) or not isinstance(priority, int):
            raise TypeError("a value has the wrong type")
        request = JobRequest(
            id=id,
            source=self._source(kind, _str(source), _str(beside)),
            settings=self._settings(settings),
            filename=_str(filename),
            group=_str(group),
            priority=priority,
            key=_str(key),
            metadata=None if metadata is None else json.loads(metadata),
            target=None if target is None else self._target(target),
            fingerprint=_str(fingerprint),
            content=_str(content),
        )
        known = NOTHING if tuple(facts) == _UNTOUCHED else self._facts(facts)
        return Record(request, JobState(state), known)

    def _source(self, kind: str, source: Any, beside: Any) -> JobSource:
        match kind.split():
            case ["file" | "path" as how]:
                return _path(how, source)
            case ["url"]:
                return str(source)
            case ["spooled"]:
                return Spooled(Path(self._spool, source), str(beside))
            case ["pair", target, reference]:
                return Pair(_path(target, source), _path(reference, beside))
            case ["none"]:
                return None
        raise ValueError(f"unknown kind of source {kind!r}")

    def _facts(self, values: Sequence[Any]) -> Facts:
        (
            hash, remote, host, attempts, intent_at, accepted_at, separation, error, planned, paths, archived
        ) = values  # fmt: skip
        results = [] if planned is None else json.loads(planned)
        known = {text: Path(text) for _, text in results}
        return Facts(
            hash=_str(hash),
            remote=_str(remote),
            host=None if host is None else self._host(host),
            attempts=int(attempts),
            intent_at=None if intent_at is None else float(intent_at),
            accepted_at=None if accepted_at is None else float(accepted_at),
            separation=None if separation is None else _separation(json.loads(separation)),
            error=None if error is None else error_from_json(json.loads(error)),
            planned=tuple((name, known[text]) for name, text in results),
            paths=() if paths is None else tuple(known.get(text) or Path(text) for text in json.loads(paths)),
            archived=bool(archived),
        )


def _text(value: str | None) -> Value:
    if value is None or value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def _str(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogatepass")
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{value!r} is not a text")


def _json(value: object) -> str:
    text = _encode(value)
    return text if isinstance(_text(text), str) else _encode_ascii(value)


def _absolute(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    return text if os.path.isabs(text) else str(Path(text).absolute())  # noqa: PTH117 -- faster, for each song


def _source_values(source: JobSource, spool: Path) -> tuple[Value, Value, Value]:
    match source:
        case None:
            return "none", None, None
        case Spooled(path, filename):
            # Only the file name, so that a journal can be moved together with its spool folder.
            kept = path.name if path.parent == spool else _absolute(path)
            return "spooled", _text(kept), _text(filename)
        case Pair(target, reference):
            kinds = f"pair {_path_kind(target)} {_path_kind(reference)}"
            return kinds, _text(_absolute(target)), _text(_absolute(reference))
        case Data() | Stream():
            raise TypeError("a song in memory must be spooled to a file first")
        case str() as url if is_url(url):
            return "url", _text(url), None
        case _:
            return _path_kind(source), _text(_absolute(source)), None


def _path_kind(path: str | os.PathLike[str]) -> str:
    return "file" if isinstance(path, str) else "path"


def _path(kind: str, text: Any) -> str | Path:
    if not isinstance(text, str) or kind not in ("file", "path"):
        raise TypeError("a path is not a text")
    return text if kind == "file" else Path(text)


@lru_cache(maxsize=256)
def _settings_text(settings: JobSettings) -> str:
    known = asdict(settings, filter=_given, recurse=False)
    known["output_format"] = settings.output_format.label
    return _json(known)


def _settings(text: str) -> JobSettings:
    known = json.loads(text)
    known["output_format"] = OutputFormat.parse(known["output_format"])
    known["options"] = tuple((name, key) for name, key in known.get("options", ()))
    return JobSettings(**known)


@lru_cache(maxsize=256)
def _target_text(target: Target) -> str:
    return _json({**asdict(target, filter=_given, recurse=False), "directory": _absolute(target.directory)})


def _target(text: str) -> Target:
    known = json.loads(text)
    stems = known.pop("stems", None)
    return Target(**known, stems=None if stems is None else tuple(stems))


def _given(attribute: Attribute[Any], value: object) -> bool:
    return value != attribute.default


# cattrs takes 1.5 times as long for a separation: 0.8 s more to open a journal of 100,000 finished jobs.


def _separation_json(separation: Separation) -> dict[str, Json]:
    return asdict(separation, filter=_worth_keeping)


def _masked_json(value: dict[str, Any]) -> str:
    """Return JSON without tokens. Usually there are none, which one search of the whole text shows."""
    text = _json(value)
    return text if redact(text) == text else _json(_masked(value))


def _masked(value: Any) -> Any:
    """Mask the tokens in all texts of a JSON value except keys."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {key: _masked(item) for key, item in value.items()}
        case list() | tuple():
            return [_masked(item) for item in value]
        case _:
            return value


def _worth_keeping(attribute: Attribute[Any], value: object) -> bool:
    return attribute.name != "tags" and value is not None and value != () and value != {}


def _separation(known: dict[str, Any]) -> Separation:
    song = cast("dict[str, Any] | None", known.pop("input_file", None))
    files = cast("list[dict[str, Any]]", known.pop("files", []))
    return Separation(
        **known,
        input_file=None if song is None else InputFile(**song),
        files=tuple(OutputFile(**file) for file in files),
    )
