"""The account section of the API: login, the account, its history, purchases and settings."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Final

from attrs import asdict, field, frozen

from mvsep_async.endpoints.paging import Page, collect, page_of, pages
from mvsep_async.errors import AuthenticationError, InvalidRequestError, ProtocolError
from mvsep_async.http.call import Auth, Call, Caller, Json, Priority
from mvsep_async.http.response import CREDENTIALS_ADVICE, not_accepted
from mvsep_async.http.token import Token
from mvsep_async.models.decode import decode, payload, record
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.message import Message
from mvsep_async.models.user import CreditAlert, Purchase, User

__all__ = ["AccountAPI"]

_PURCHASES_PAGE: Final = 100
"""Most purchases in one answer (the service's OpenAPI description)."""


@frozen
class AccountAPI:
    """`client.account`. All calls but `login` and `register` need the token.

    A call whose only parameter is the token raises `AuthenticationError` for the service's 400.
    """

    _caller: Caller = field(repr=False)

    async def login(self, email: str, password: str) -> User:
        """Return the account with this email and password, and its `api_token` where the service sends it.

        Raises `AuthenticationError`, whose `fields` say which of the two is wrong.
        """
        secret = Token(password)
        del password  # else a traceback with local variables would show it
        call = Call(method="POST", path="app/login", form={"email": email, "password": secret})
        refusal: AuthenticationError | InvalidRequestError
        try:
            answer = await self._caller.call(call)
        except (AuthenticationError, InvalidRequestError) as error:
            refusal = error
        else:
            return decode(record(answer), User, what=call.path)
        raise not_accepted("this email and password", refusal.reason, refusal.fields, refusal.status)

    async def register(self, name: str, email: str, password: str, password_confirmation: str | None = None) -> Message:
        """Create an account; the service then mails a link to confirm the address.

        `password_confirmation`: by default the password. Raises `InvalidRequestError`, whose `fields` say what is wrong
        with the form.
        """
        secret = Token(password)
        confirmation = secret if password_confirmation is None else Token(password_confirmation)
        del password, password_confirmation  # else a traceback with local variables would show them
        call = Call(
            method="POST",
            path="app/register",
            form={"name": name, "email": email, "password": secret, "password_confirmation": confirmation},
            repeatable=False,
        )
        return decode(await self._caller.call(call), Message, what=call.path)

    async def user(self, *, priority: Priority = Priority.REST) -> User:
        """Return the token's account: its plan, its credits, its unfinished jobs."""
        call = Call(method="GET", path="app/user", auth=Auth.REQUIRED, priority=priority)
        return decode(record(await self._authenticated(call)), User, what=call.path)

    async def history(
        self, *, start: int = 0, limit: int = 10, priority: Priority = Priority.REST
    ) -> list[HistoryEntry]:
        """Return the account's separations, newest (`start=0`) first. More than 20 take several calls."""
        page = partial(self.history_page, priority=priority)
        return await collect(page, key=_identity, start=start, limit=limit)

    def history_all(self, *, start: int = 0, priority: Priority = Priority.REST) -> AsyncGenerator[HistoryEntry]:
        """Iterate over all separations of the account, newest first, page by page."""
        return pages(partial(self.history_page, priority=priority), key=_identity, start=start)

    async def purchases(self, *, start: int = 0, limit: int = 20, status: str | None = None) -> list[Purchase]:
        """Return the account's purchases of credits, newest first. More than 100 take several calls.

        `status`: only those with this status.
        """
        page = partial(self._purchases, status=status)
        return await collect(page, key=_purchase_identity, start=start, limit=limit, page=_PURCHASES_PAGE)

    def purchases_all(self, *, start: int = 0, status: str | None = None) -> AsyncGenerator[Purchase]:
        """Iterate over all purchases of the account, newest first, page by page."""
        return pages(partial(self._purchases, status=status), key=_purchase_identity, start=start, page=_PURCHASES_PAGE)

    async def credit_alert(self) -> CreditAlert:
        """Return the number of credits below which the service sends a mail."""
        call = Call(method="GET", path="credit_alert", auth=Auth.REQUIRED)
        return decode(record(await self._authenticated(call)), CreditAlert, what=call.path)

    async def set_credit_alert(self, credit_threshold: int) -> Message:
        """Have the service send a mail when fewer credits than this are left; 0 turns it off."""
        if credit_threshold < 0:
            raise InvalidRequestError(f"credit_threshold must be 0 (off) or more, not {credit_threshold}")
        call = Call(method="POST", path="credit_alert", form={"credit_threshold": credit_threshold}, auth=Auth.REQUIRED)
        return decode(await self._caller.call(call), Message, what=call.path)

    async def enable_premium(self) -> Message:
        """Allow jobs to spend credits."""
        return await self._switch("enable_premium")

    async def disable_premium(self) -> Message:
        """Forbid jobs to spend credits: they run on the terms of the free plan."""
        return await self._switch("disable_premium")

    async def enable_long_filenames(self) -> Message:
        """Give results long names, with the algorithm and its options."""
        return await self._switch("enable_long_filenames")

    async def disable_long_filenames(self) -> Message:
        """Give results short names."""
        return await self._switch("disable_long_filenames")

    async def history_page(self, start: int, limit: int, *, priority: Priority = Priority.REST) -> Page[HistoryEntry]:
        """Return one page of the history as the service sends it, which may have fewer entries than `limit`."""
        call = Call(
            method="GET",
            path="app/separation_history",
            query={"start": start, "limit": limit},
            auth=Auth.REQUIRED,
            priority=priority,
        )
        answer = await self._authenticated(call)
        rows = payload(answer)
        if not rows and rows is answer:
            # Only the service's own empty list ends the history: after a lost answer, it proves that a job may be sent.
            raise ProtocolError(f"the answer to {call.path} has no data")
        if isinstance(rows, list):  # without a hash, an entry names no job
            rows = [None if isinstance(row, dict) and not row.get("hash") else row for row in rows]
        return page_of(rows, HistoryEntry, what=call.path)

    async def _purchases(self, start: int, limit: int, *, status: str | None) -> Page[Purchase]:
        query = {"offset": start, "limit": limit, "status": status}
        call = Call(method="GET", path="purchases", query=query, auth=Auth.REQUIRED)
        return page_of(_rows(payload(await self._caller.call(call))), Purchase, what=call.path)

    async def _switch(self, name: str) -> Message:
        call = Call(method="POST", path=f"app/{name}", auth=Auth.REQUIRED)
        return decode(await self._authenticated(call), Message, what=call.path)

    async def _authenticated(self, call: Call) -> Json:
        """Send a call whose token is the only parameter that can be wrong."""
        try:
            return await self._caller.call(call)
        except InvalidRequestError as error:
            refusal = error
        if refusal.status != 400 or refusal.fields.keys() - {"api_token"}:
            raise refusal
        raise not_accepted("the API token", refusal.reason, refusal.fields, refusal.status, CREDENTIALS_ADVICE)


def _identity(entry: HistoryEntry) -> object:
    return entry.hash if entry.id is None else entry.id


def _rows(data: Json) -> Json:
    """Return the one list in an object, such as `{"purchases": […], "total": 3}`: the shape is not documented."""
    lists = [value for value in data.values() if isinstance(value, list)] if isinstance(data, dict) else []
    return lists[0] if len(lists) == 1 else data


def _purchase_identity(purchase: Purchase) -> object:
    return str(asdict(purchase)) if purchase.id is None else purchase.id
