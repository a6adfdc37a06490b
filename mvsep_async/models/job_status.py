"""The status of a job: the answers of `separation/get` and `separation/get-remote`, decoded."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

from attrs import evolve, field, frozen

from mvsep_async.errors import ProtocolError
from mvsep_async.http.call import Json
from mvsep_async.models.decode import decode, wire
from mvsep_async.models.separation import Separation, with_hash
from mvsep_async.models.values import flat_text, url_text

__all__ = ["JobKind", "JobStatus", "read_job", "read_remote"]


class JobKind(Enum):
    """The meaning of a status. An unknown status means that the job is still running."""

    WAITING = "waiting"
    DISTRIBUTING = "distributing"
    PROCESSING = "processing"
    MERGING = "merging"
    DONE = "done"
    FAILED = "failed"
    NOT_FOUND = "not_found"
    """Deleted, expired, never created; or, soon after create, not registered yet."""
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """Still running, with a status that is not known."""

    @property
    def final(self) -> bool:
        """Whether the job is over; soon after create, `NOT_FOUND` can also mean that it is not registered yet."""
        return self in _FINAL


_FINAL: Final = frozenset({JobKind.DONE, JobKind.FAILED, JobKind.NOT_FOUND, JobKind.CANCELLED})
_KINDS: Final = {kind.value: kind for kind in JobKind} | {"canceled": JobKind.CANCELLED}
_ENVELOPE: Final = frozenset({"success", "status", "data", "message", "errors", "error", "hash", "link", "files"})
"""Keys beside `data` that are read here, or, the last three, only inside it."""
_NOT_YET: Final = re.compile(r"being downloaded|please wait|in progress|not (?:yet )?ready", re.IGNORECASE)
_GONE: Final = re.compile(
    r"not[ _]found|no (?:such|query results)|does ?n[o']t exist|do not exist|expired|deleted|unknown|invalid",
    re.IGNORECASE,
)


@frozen(kw_only=True)
class JobStatus:
    """The status of a job at one moment.

    `status`: the service's word in lower case, empty if there is none. `queue_position`: the job's place among
    `queue_length` unprocessed jobs of the same priority. `separation`: the result of a job that is done; a URL job's
    first stage has none, and names the real job in `hash` and `link` instead.
    """

    kind: JobKind = field(metadata=wire("kind", via=JobKind))
    status: str
    hash: str
    link: str | None = field(default=None, metadata=wire("link", via=url_text))
    queue_position: int | None = field(default=None, metadata=wire("current_order"))
    queue_length: int | None = field(default=None, metadata=wire("queue_count"))
    chunks_done: int | None = field(default=None, metadata=wire("finished_chunks"))
    chunks_total: int | None = field(default=None, metadata=wire("all_chunks"))
    message: str | None = None
    separation: Separation | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


def read_job(answer: Json, *, hash: str) -> JobStatus:
    """Read the answer of `separation/get` for the job `hash`.

    Raises `ProtocolError` for any other answer, and for a refusal whose reason is not recognised.
    """
    what = "separation/get"
    body, kind, status, beside = _opened(answer, what)
    if kind is JobKind.DONE and "files" not in body:
        raise ProtocolError(f"the answer to {what} has status done but no list of files", hash=hash)
    return _status(body, beside, kind, status, hash, what)


def read_remote(answer: Json, *, hash: str) -> JobStatus:
    """Read the answer of `separation/get-remote` for the URL job `hash`; when done, it names the real job.

    Raises `ProtocolError` for any other answer, and for `done` without the hash of the real job.
    """
    what = "separation/get-remote"
    body, kind, status, beside = _opened(answer, what)
    if kind is JobKind.DONE:
        real = with_hash(body).get("hash")
        if isinstance(real, str) and real:
            hash = real
        elif "files" not in body:  # not seen, but easy to read: the result itself, without the step in between
            raise ProtocolError(f"the answer to {what} has status done but no hash of the real job", hash=hash)
    return _status(body, beside, kind, status, hash, what)


def _status(
    body: Mapping[str, Json], beside: Mapping[str, Json], kind: JobKind, status: str, hash: str, what: str
) -> JobStatus:
    separation = None
    if kind is JobKind.DONE and "files" in body:
        result = {key: value for key, value in body.items() if key != "message"}
        separation = decode({**result, "hash": hash}, Separation, what=what)
        body = {"message": body.get("message")}
    known: dict[str, Json] = {**beside, **body, "kind": kind.value, "status": status, "hash": hash}
    return evolve(decode(known, JobStatus, what=what), separation=separation)


def _opened(answer: Json, what: str) -> tuple[dict[str, Json], JobKind, str, dict[str, Json]]:
    """Split an answer into its `data` with the message, its meaning, its status word, and the unknown keys beside."""
    if not isinstance(answer, dict):
        raise ProtocolError(f"the answer to {what} should be an object, not {type(answer).__name__}")
    data = answer.get("data")
    body = dict(data) if isinstance(data, dict) else {}
    messages = (body.pop("message", None), data, answer.get("message"), answer.get("errors"), answer.get("error"))
    texts = (flat_text(message) for message in messages if not isinstance(message, dict) or message is not data)
    message = next((text for text in texts if text), None)
    if message is not None:
        body["message"] = message
    word = answer.get("status", body.get("status"))
    status = re.sub(r"[\s-]+", "_", word.strip().lower()) if isinstance(word, str) else ""
    beside = {key: value for key, value in answer.items() if key not in _ENVELOPE}
    return body, _kind(answer, body, status, what), status, beside


def _kind(answer: Mapping[str, Json], body: Mapping[str, Json], status: str, what: str) -> JobKind:
    if status:
        return _KINDS.get(status, JobKind.UNKNOWN)
    message = body.get("message")
    if str(answer.get("success", True)).lower() not in ("false", "0"):
        if body.get("files") is not None:
            return JobKind.DONE
    elif message is None or _GONE.search(str(message)):
        return JobKind.NOT_FOUND
    elif _NOT_YET.search(str(message)):
        return JobKind.UNKNOWN
    raise ProtocolError(f"the answer to {what} has no status" + (f": {str(message)[:150]}" if message else ""))
