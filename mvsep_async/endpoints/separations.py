"""The separation section: create a job, look at it, cancel it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from mvsep_async.errors import InvalidRequestError
from mvsep_async.http.call import Auth, Call, Caller, Priority
from mvsep_async.http.hosts import Host
from mvsep_async.http.multipart import Part
from mvsep_async.models.decode import decode, record
from mvsep_async.models.job_status import JobStatus, read_job, read_remote
from mvsep_async.models.message import Message
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.separation import Created

__all__ = ["REMOTE_TYPES", "SeparationsAPI"]

REMOTE_TYPES: Final = ("direct", "mega", "drive", "dropbox")
"""Where the service knows how to fetch a song from (its API page)."""


@frozen
class SeparationsAPI:
    """`client.separations`: the calls as the service has them, one coroutine each.

    They know nothing of slots or of the journal; `client.submit` does. `host` is the host that has the job, the
    client's base URL by default: a job can be asked about only where it was created.
    """

    _caller: Caller

    async def create(
        self,
        *,
        files: tuple[Part, ...] = (),
        url: str | None = None,
        remote_type: str | None = None,
        sep_type: int | None = None,
        options: Mapping[str, str] | None = None,
        output_format: OutputFormat = OutputFormat.MP3,
        demo: bool = False,
        webhook_url: str | None = None,
        host: Host | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        on_handed_over: Callable[[], None] | None = None,
        on_turned_away: Callable[[], None] | None = None,
    ) -> Created:
        """Create a job, which costs credits on a premium account: the call is sent once, whatever happens.

        `files`: `audiofile`; `target_audiofile` and `reference_audiofile` for matchering; none for generators and with
        `url`. `options`: `add_optN` → key. `sep_type`: `None` leaves it to the service. `on_progress(sent, total)` is
        told the bytes, `on_handed_over()` that from now on the service may have the job, `on_turned_away()` that it has
        not, since it answered 429, and that all is sent again.

        Raises `InvalidRequestError`, `NoFreeSlotError` or `AuthenticationError` when the service refuses.
        """
        form = _create_form(files, url, remote_type, sep_type, options or {}, output_format, demo, webhook_url)
        call = Call(
            method="POST",
            path="separation/create",
            form=form,
            files=files,
            multipart=True,
            auth=Auth.REQUIRED,
            host=host,
            repeatable=False,
            priority=Priority.CREATE,
            on_progress=on_progress,
            on_handed_over=on_handed_over,
            on_turned_away=on_turned_away,
        )
        return decode(record(await self._caller.call(call)), Created, what=call.path)

    async def get(
        self, hash: str, *, host: Host | None = None, mirror: bool = False, priority: Priority = Priority.LOOK
    ) -> JobStatus:
        """Look at a job, with its `separation` once it is done; the hash is enough, no token is sent.

        `mirror=True` asks for files on the service's mirror, for better speed: **each such call costs one credit** and
        needs the token. A job that failed, or is not there, is an answer and no error.
        """
        query: dict[str, str | int] = {"hash": _hash(hash)}
        if mirror:
            query["mirror"] = 1
        call = Call(
            method="GET",
            path="separation/get",
            query=query,
            auth=Auth.REQUIRED if mirror else Auth.NONE,
            host=host,
            # A credit is spent by each: a lost answer is not worth a second one.
            repeatable=not mirror,
            tolerant=True,
            priority=priority,
        )
        return read_job(await self._caller.call(call), hash=hash)

    async def get_remote(self, hash: str, *, host: Host | None = None, priority: Priority = Priority.LOOK) -> JobStatus:
        """Look at a URL job by the short hash of its create; once done, `hash` and `link` name the real job.

        Soon after create, `NOT_FOUND` and `UNKNOWN` mean that the service is still fetching the song.
        """
        call = Call(
            method="GET",
            path="separation/get-remote",
            query={"hash": _hash(hash)},
            host=host,
            tolerant=True,
            priority=priority,
        )
        return read_remote(await self._caller.call(call), hash=hash)

    async def cancel(self, hash: str, *, host: Host | None = None) -> Message:
        """Cancel a job; its credits come back while it is not yet processed.

        Raises `InvalidRequestError` when the service will not, and `JobNotFoundError` when it has no such job.
        """
        call = Call(
            method="POST",
            path="separation/cancel",
            form={"hash": _hash(hash)},
            auth=Auth.REQUIRED,
            host=host,
            priority=Priority.CANCEL,
        )
        return decode(await self._caller.call(call), Message, what=call.path)


def _create_form(
    files: tuple[Part, ...],
    url: str | None,
    remote_type: str | None,
    sep_type: int | None,
    options: Mapping[str, str],
    output_format: OutputFormat,
    demo: bool,
    webhook_url: str | None,
) -> dict[str, str | int]:
    """Put the parameters of a create together; raises `InvalidRequestError` for those that exclude each other."""
    form: dict[str, str | int] = {}
    if url is not None:
        if files:
            raise InvalidRequestError("a job takes files or a url, not both")
        form["url"] = url
    if remote_type is not None:
        if url is None:
            raise InvalidRequestError("remote_type says what kind of link a url is: give it with a url only")
        if remote_type not in REMOTE_TYPES:
            raise InvalidRequestError(
                f"there is no remote_type {remote_type[:60]!r}: it is one of {', '.join(REMOTE_TYPES)}",
                candidates=REMOTE_TYPES,
            )
        form["remote_type"] = remote_type
    if sep_type is not None:
        form["sep_type"] = sep_type
    for name, value in options.items():
        if not name.startswith("add_opt"):
            raise InvalidRequestError(f"the service takes options named add_opt1, add_opt2…, not {name[:60]!r}")
        form[name] = value
    form["output_format"] = int(output_format)
    form["is_demo"] = int(demo)
    if webhook_url is not None:
        form["webhook_url"] = webhook_url
    return form


def _hash(hash: str) -> str:
    if not hash.strip():
        raise InvalidRequestError("a job's hash cannot be empty")
    return hash
