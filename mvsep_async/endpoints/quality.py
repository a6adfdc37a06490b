"""The quality checker section of the API: measured separations of known data sets."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from operator import attrgetter
from pathlib import Path

from attrs import evolve, field, frozen

from mvsep_async.endpoints.paging import Page, collect, page_of, pages
from mvsep_async.errors import AuthenticationError, InvalidRequestError
from mvsep_async.http.call import Auth, Call, Caller
from mvsep_async.http.content import FileContent
from mvsep_async.http.multipart import Part
from mvsep_async.http.response import not_accepted
from mvsep_async.models.decode import decode, payload, record
from mvsep_async.models.message import Message
from mvsep_async.models.quality import Leaderboard, QualityAdded, QualityEntry

__all__ = ["QualityAPI"]


@frozen
class QualityAPI:
    """`client.quality`. Only `add` needs the token. An entry is deleted with the password that it was added with.

    `dataset_type`: the data set, a `mvsep_async.models.DatasetType` or its number.
    """

    _caller: Caller = field(repr=False)

    async def queue(self, *, start: int = 0, limit: int = 10) -> list[QualityEntry]:
        """Return the latest entries. More than 20 take several calls."""
        return await collect(self._queue, key=attrgetter("id"), start=start, limit=limit)

    def queue_all(self, *, start: int = 0) -> AsyncGenerator[QualityEntry]:
        """Iterate over all entries, latest first, page by page."""
        return pages(self._queue, key=attrgetter("id"), start=start)

    async def leaderboard(
        self,
        dataset_type: int | str = 0,
        *,
        start: int = 0,
        limit: int = 10,
        algo_name_filter: str | None = None,
        sort: str | None = None,
    ) -> Leaderboard:
        """Return the best entries of one data set. More than 20 take several calls.

        `sort`: one of the answer's `sortables`. `algo_name_filter`: words in the algorithm's name.
        """
        boards: list[Leaderboard] = []

        async def page(start: int, limit: int) -> Page[QualityEntry]:
            board, length = await self._leaderboard(dataset_type, start, limit, algo_name_filter, sort)
            boards.append(board)
            return Page(board.entries, length)

        entries = await collect(page, key=attrgetter("id"), start=start, limit=limit)
        return evolve(boards[0], entries=tuple(entries))

    def leaderboard_all(
        self,
        dataset_type: int | str = 0,
        *,
        start: int = 0,
        algo_name_filter: str | None = None,
        sort: str | None = None,
    ) -> AsyncGenerator[QualityEntry]:
        """Iterate over all entries of one data set, best first, page by page."""

        async def page(start: int, limit: int) -> Page[QualityEntry]:
            board, length = await self._leaderboard(dataset_type, start, limit, algo_name_filter, sort)
            return Page(board.entries, length)

        return pages(page, key=attrgetter("id"), start=start)

    async def add(
        self,
        zipfile: str | os.PathLike[str],
        *,
        algo_name: str,
        main_text: str,
        password: str,
        dataset_type: int | str = 0,
        ensemble: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> QualityAdded:
        """Add an entry: a zip of separated stems, streamed from disk, which the service then measures.

        `main_text`: the description on the site. `password`: needed to delete the entry. `on_progress(sent, total)` is
        called with the bytes. Raises `UploadError` for a file that cannot be read, `InvalidRequestError` for one that
        the service rejects.
        """
        call = Call(
            method="POST",
            path="quality_checker/add",
            form={
                "algo_name": algo_name,
                "main_text": main_text,
                "dataset_type": dataset_type,
                "ensemble": int(ensemble),
                "password": password,
            },
            files=(Part("zipfile", Path(zipfile).name, await FileContent.open(zipfile), "application/zip"),),
            multipart=True,
            auth=Auth.REQUIRED,
            repeatable=False,
            on_progress=on_progress,
        )
        return decode(record(await self._caller.call(call)), QualityAdded, what=call.path)

    async def entry(self, id: int) -> QualityEntry:
        """Return one entry, with its figures once it is measured.

        Raises `JobNotFoundError` or `InvalidRequestError` where there is none; how the service answers then is not
        documented.
        """
        call = Call(method="GET", path="quality_checker/entry", query={"id": id})
        found = record(await self._caller.call(call))
        return decode(found[0] if isinstance(found, list) and found else found, QualityEntry, what=call.path)

    async def delete(self, id: int, password: str) -> Message:
        """Delete an entry. Raises `AuthenticationError` for a wrong password."""
        call = Call(method="POST", path="quality_checker/delete", form={"id": id, "password": password})
        refusal: AuthenticationError | InvalidRequestError
        try:
            return decode(await self._caller.call(call), Message, what=call.path)
        except AuthenticationError as error:
            refusal = error
        except InvalidRequestError as error:
            if "password" not in error.message.lower() and "password" not in error.fields:
                raise
            refusal = error
        what = f"this password for quality entry {id}"
        raise not_accepted(what, refusal.reason, refusal.fields, refusal.status)

    async def _queue(self, start: int, limit: int) -> Page[QualityEntry]:
        call = Call(method="GET", path="quality_checker/queue", query={"start": start, "limit": limit})
        return page_of(payload(await self._caller.call(call)), QualityEntry, what=call.path)

    async def _leaderboard(
        self, dataset_type: int | str, start: int, limit: int, algo_name_filter: str | None, sort: str | None
    ) -> tuple[Leaderboard, int]:
        query = {
            "dataset_type": dataset_type,
            "start": start,
            "limit": limit,
            "algo_name_filter": algo_name_filter,
            "sort": sort,
        }
        call = Call(method="GET", path="quality_checker/leaderboard", query=query)
        answer = await self._caller.call(call)
        rows = payload(answer)
        board = decode({"data": answer} if isinstance(answer, list) else answer, Leaderboard, what=call.path)
        return board, len(rows) if isinstance(rows, list | dict) else 0
