"""The separation section of the API: create, get, cancel and delete jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from attrs import field, frozen

from mvsep_async.endpoints.files import UploadFile, parts_of
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
"""The kinds of link that the service can fetch a song from (its API page)."""


@frozen
class SeparationsAPI:
    """`client.separations`: the service's calls, one coroutine each.

    They use neither the account's slots nor the journal; `client.submit` does. `host`: the address of the host that has
    the job, such as `https://de.mvsep.com`; by default the client's base URL. `priority`: which calls go first when
    the requests of a minute are short, an `mvsep_async.endpoints.Priority`.
    """

    _caller: Caller = field(repr=False)

    async def create(
        self,
        *,
        files: UploadFile | Mapping[str, UploadFile] | tuple[Part, ...] = (),
        url: str | None = None,
        remote_type: str | None = None,
        sep_type: int | None = None,
        options: Mapping[str, str] | None = None,
        output_format: OutputFormat | int = OutputFormat.MP3,
        demo: bool = False,
        webhook_url: str | None = None,
        host: Host | str | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        on_handed_over: Callable[[], None] | None = None,
        before_last: Callable[[], Awaitable[None]] | None = None,
        on_rate_limited: Callable[[], None] | None = None,
    ) -> Created:
        """Create a job. It costs credits on a premium account, so the call is sent only once, whatever happens.

            created = await client.separations.create(files="song.flac", sep_type=40, options={"add_opt1": "81"})
            status = await client.separations.get(created.hash)

        - `files`: the song as a path, a file opened in binary mode, or a pair of a file name and a path, bytes or an
          open file. For matchering a mapping: `{"target_audiofile": …, "reference_audiofile": …}`. Nothing for
          generators and with `url`.
        - `url`: the address of the song instead. `remote_type`: `direct` (the default), `mega`, `drive` or `dropbox`.
        - `sep_type`: the algorithm's number, `None` for the service's default. `options`: `add_optN` → key.
        - `demo`: publish the result on the service's demo page. `webhook_url`: called when the job is over.
        - `on_progress(sent, total)` is called with the bytes of the files. `on_handed_over()` is called before the last
          byte is sent: from then on the service may have the job. `before_last()` is awaited before that, and may raise
          to keep the service from accepting the job. `on_rate_limited()` is called when the service
          answered 429: it does not have the job, and everything is sent again.

        Raises `InvalidRequestError`, `NoFreeSlotError`, `DailyLimitError` or `AuthenticationError` when the service
        refuses, and `UploadError` for a file that cannot be read.
        """
        parts = await parts_of(files)
        _check_create(parts, url, remote_type, options or ())
        call = Call(
            method="POST",
            path="separation/create",
            form={
                "url": url,
                "remote_type": remote_type,
                "sep_type": sep_type,
                **(options or {}),
                "output_format": int(output_format),
                "is_demo": int(demo),
                "webhook_url": webhook_url,
            },
            files=parts,
            multipart=True,
            auth=Auth.REQUIRED,
            host=_host(host),
            repeatable=False,
            priority=Priority.CREATE,
            on_progress=on_progress,
            on_handed_over=on_handed_over,
            before_last=before_last,
            on_rate_limited=on_rate_limited,
        )
        return decode(record(await self._caller.call(call)), Created, what=call.path)

    async def get(
        self,
        hash: str,
        *,
        host: Host | str | None = None,
        mirror: bool = False,
        priority: Priority = Priority.POLL,
        before_last: Callable[[], Awaitable[None]] | None = None,
    ) -> JobStatus:
        """Return the status of a job, with its `separation` once it is done. No token is sent.

        `mirror=True` asks for links to the service's mirror, which can be faster: **each such call costs one credit**
        and needs the token. `before_last()` is awaited just before the request is sent, and may raise to prevent it.
        A failed or missing job is a status, not an error.
        """
        call = Call(
            method="GET",
            path="separation/get",
            query={"hash": _hash(hash), "mirror": 1 if mirror else None},
            auth=Auth.REQUIRED if mirror else Auth.NONE,
            host=_host(host),
            # Each mirror call costs a credit: a lost answer is not worth a second one.
            repeatable=not mirror,
            tolerant=True,
            priority=priority,
            before_last=before_last,
        )
        return read_job(await self._caller.call(call), hash=hash)

    async def get_remote(
        self, hash: str, *, host: Host | str | None = None, priority: Priority = Priority.POLL
    ) -> JobStatus:
        """Return the status of a URL job by the short hash of its create; once done, `hash` is that of the real job.

        For some minutes after create, `NOT_FOUND` and `UNKNOWN` mean that the service is still fetching the song.
        """
        call = Call(
            method="GET",
            path="separation/get-remote",
            query={"hash": _hash(hash)},
            host=_host(host),
            tolerant=True,
            priority=priority,
        )
        return read_remote(await self._caller.call(call), hash=hash)

    async def cancel(
        self, hash: str, *, host: Host | str | None = None, before_last: Callable[[], Awaitable[None]] | None = None
    ) -> Message:
        """Cancel a job. Its credits are refunded if it is not processed yet.

        `before_last()` is awaited before the last byte is sent, each time that the call is sent, and may raise to keep
        the service from cancelling the job.

        Raises `InvalidRequestError` when the service refuses, and `JobNotFoundError` when it has no such job.
        """
        return await self._act("separation/cancel", hash, host, before_last)

    async def delete(self, hash: str, *, host: Host | str | None = None) -> Message:
        """Delete a finished job and its files at the service. They cannot be restored.

        Raises `InvalidRequestError` when the service refuses, and `JobNotFoundError` when it has no such job: it may
        be deleted already.
        """
        return await self._act("separation/delete", hash, host)

    async def _act(
        self, path: str, hash: str, host: Host | str | None, before_last: Callable[[], Awaitable[None]] | None = None
    ) -> Message:
        call = Call(
            method="POST",
            path=path,
            form={"hash": _hash(hash)},
            auth=Auth.REQUIRED,
            host=_host(host),
            priority=Priority.CANCEL,
            before_last=before_last,
        )
        return decode(await self._caller.call(call), Message, what=call.path)


def _check_create(files: tuple[Part, ...], url: str | None, remote_type: str | None, options: Iterable[str]) -> None:
    """Raise `InvalidRequestError` for parameters of a create that exclude each other or that are unknown."""
    if url is not None and files:
        raise InvalidRequestError(f"give files or a url, not both: {len(files)} file(s) and {url[:120]!r}")
    if remote_type is not None and url is None:
        raise InvalidRequestError(f"remote_type={remote_type[:60]!r} requires a url: give the url, or leave it out")
    if remote_type is not None and remote_type not in REMOTE_TYPES:
        raise InvalidRequestError(
            f"unknown remote_type {remote_type[:60]!r}: use one of {', '.join(REMOTE_TYPES)}", candidates=REMOTE_TYPES
        )
    for name in options:
        if not name.startswith("add_opt"):
            raise InvalidRequestError(f"unknown option {name[:60]!r}: options are named add_opt1, add_opt2…")


def _hash(hash: str) -> str:
    if not hash.strip():
        raise InvalidRequestError("the job's hash is empty: give the hash that create returned")
    return hash


def _host(host: Host | str | None) -> Host | None:
    return Host.parse(host) if isinstance(host, str) else host
