"""The site section of the API: algorithms, news, the queue, demos. None of it needs the token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from attrs import field, frozen

from mvsep_async.endpoints.paging import Page, collect, page_of, pages
from mvsep_async.http.call import Auth, Call, Caller, Priority
from mvsep_async.models.decode import decode, payload, record
from mvsep_async.models.site import DemoEntry, NewsItem, Queue, QueueSummary

if TYPE_CHECKING:
    from mvsep_async.catalogue.catalogue import Catalogue

__all__ = ["SiteAPI"]


@frozen
class SiteAPI:
    """`client.site`: algorithms, news, the queue, demos."""

    _caller: Caller = field(repr=False)

    async def algorithms(self, scopes: str | Sequence[str] | None = None) -> Catalogue:
        """Return the algorithms; each is decoded on first use, since the answer has about a megabyte.

        `scopes`: `single_upload` (the service's default: algorithms for one song), `no_upload`, `matchering_upload`,
        or several of them, one call each. `client.catalogue()` has all.
        """
        from mvsep_async.catalogue.catalogue import Catalogue

        wanted = [scopes] if scopes is None or isinstance(scopes, str) else list(dict.fromkeys(scopes))
        calls = [Call(method="GET", path="app/algorithms", query={"scopes": scope}) for scope in wanted]
        return Catalogue(*[await self._caller.call(call) for call in calls])

    async def news(self, *, lang: str | None = None, start: int = 0, limit: int = 10) -> list[NewsItem]:
        """Return the news, newest first. `lang`: two letters. More than 20 take several calls."""
        return await collect(partial(self._news, lang=lang), key=attrgetter("id"), start=start, limit=limit)

    def news_all(self, *, lang: str | None = None, start: int = 0) -> AsyncGenerator[NewsItem]:
        """Iterate over all news, newest first, page by page."""
        return pages(partial(self._news, lang=lang), key=attrgetter("id"), start=start)

    async def queue(self, *, priority: Priority = Priority.REST) -> Queue:
        """Return the number of jobs at the service, by plan.

        With a token also the account's `plan`, and the `free_separations` that a free account has left today.
        """
        call = Call(method="GET", path="app/queue", auth=Auth.OPTIONAL, priority=priority)
        # Not `payload`: the account's plan is beside `queue`, and either could be in `data`.
        answer = await self._caller.call(call)
        inner = answer.get("data") if isinstance(answer, dict) else None
        return decode(inner if isinstance(inner, dict) else answer, Queue, what=call.path)

    async def queue_summary(self) -> QueueSummary:
        """Return what is ahead of the account's next job, in jobs and seconds. Needs the token."""
        call = Call(method="GET", path="app/queue/summary", auth=Auth.REQUIRED)
        return decode(record(await self._caller.call(call)), QueueSummary, what=call.path)

    async def demo(
        self,
        *,
        start: int = 0,
        limit: int = 10,
        algorithm_id: int | None = None,
        options: Mapping[str, str | int] | None = None,
    ) -> list[DemoEntry]:
        """Return separations that their owners published, newest first. More than 20 take several calls.

        `algorithm_id`, `options` (field → key): only those of this algorithm with these options. The links on the
        service's demo page have the algorithm's `sep_type` there.
        """
        page = partial(self._demo, algorithm_id=algorithm_id, options=options)
        return await collect(page, key=attrgetter("hash"), start=start, limit=limit)

    def demo_all(
        self, *, start: int = 0, algorithm_id: int | None = None, options: Mapping[str, str | int] | None = None
    ) -> AsyncGenerator[DemoEntry]:
        """Iterate over all published separations, newest first, page by page; filters as in `demo`."""
        page = partial(self._demo, algorithm_id=algorithm_id, options=options)
        return pages(page, key=attrgetter("hash"), start=start)

    async def _news(self, start: int, limit: int, *, lang: str | None) -> Page[NewsItem]:
        call = Call(method="GET", path="app/news", query={"start": start, "limit": limit, "lang": lang})
        return page_of(payload(await self._caller.call(call)), NewsItem, what=call.path)

    async def _demo(
        self, start: int, limit: int, *, algorithm_id: int | None, options: Mapping[str, str | int] | None
    ) -> Page[DemoEntry]:
        filters = {f"options[{name}]": key for name, key in (options or {}).items()}
        query = {"start": start, "limit": limit, "algorithm_id": algorithm_id, **filters}
        call = Call(method="GET", path="app/demo", query=query)
        return page_of(payload(await self._caller.call(call)), DemoEntry, what=call.path)
