"""The account section: who one is, what one has separated, and the account's switches."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from attrs import frozen

from mvsep_async.endpoints.paging import collect, pages
from mvsep_async.endpoints.refusals import words_of
from mvsep_async.errors import AuthenticationError, InvalidRequestError
from mvsep_async.http.call import Auth, Call, Caller, Json, Priority
from mvsep_async.models.decode import decode, payload, record
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.message import Message
from mvsep_async.models.user import User

__all__ = ["AccountAPI"]


@frozen
class AccountAPI:
    """`client.account`. All but `login` and `register` need the token.

    Wherever the token is all that a call carries, the service's 400 means that it is wrong, and is raised as
    `AuthenticationError`.
    """

    _caller: Caller

    async def login(self, email: str, password: str) -> User:
        """Return the account of this email and password, with its `api_token` where the service sends it.

        Raises `AuthenticationError`, whose `fields` name what is wrong.
        """
        call = Call(method="POST", path="app/login", form={"email": email, "password": password})
        refusal: AuthenticationError | InvalidRequestError
        try:
            answer = await self._caller.call(call)
        except (AuthenticationError, InvalidRequestError) as error:
            refusal = error
        else:
            return decode(record(answer), User, what=call.path)
        raise AuthenticationError(
            f"the service does not accept this email and password: {words_of(refusal)}",
            fields=refusal.fields,
            status=refusal.status,
        )

    async def register(self, name: str, email: str, password: str, password_confirmation: str | None = None) -> Message:
        """Make a new account; the service then sends a mail to confirm the address.

        `password_confirmation`: the password, unless given. Raises `InvalidRequestError`, whose `fields` name what is
        wrong with the form.
        """
        call = Call(
            method="POST",
            path="app/register",
            form={
                "name": name,
                "email": email,
                "password": password,
                "password_confirmation": password if password_confirmation is None else password_confirmation,
            },
            repeatable=False,
        )
        return decode(await self._caller.call(call), Message, what=call.path)

    async def user(self, *, priority: Priority = Priority.REST) -> User:
        """Return the account that the token belongs to: its plan, its credits, its unfinished jobs."""
        call = Call(method="GET", path="app/user", auth=Auth.REQUIRED, priority=priority)
        return decode(record(await self._authenticated(call)), User, what=call.path)

    async def history(
        self, *, start: int = 0, limit: int = 10, priority: Priority = Priority.REST
    ) -> list[HistoryEntry]:
        """Return the account's separations, the newest (`start=0`) first; more than 20 are asked for in pages."""

        async def page(start: int, limit: int) -> list[HistoryEntry]:
            return await self._history(start, limit, priority)

        return await collect(page, key=_identity, start=start, limit=limit)

    def history_all(self, *, start: int = 0, priority: Priority = Priority.REST) -> AsyncGenerator[HistoryEntry]:
        """Iterate over all the account's separations, the newest first, asking page by page."""

        async def page(start: int, limit: int) -> list[HistoryEntry]:
            return await self._history(start, limit, priority)

        return pages(page, key=_identity, start=start)

    async def enable_premium(self) -> Message:
        """Let jobs spend credits from now on."""
        return await self._switch("enable_premium")

    async def disable_premium(self) -> Message:
        """Let no job spend credits from now on: jobs run on the free plan's terms."""
        return await self._switch("disable_premium")

    async def enable_long_filenames(self) -> Message:
        """Have results named at length."""
        return await self._switch("enable_long_filenames")

    async def disable_long_filenames(self) -> Message:
        """Have results named briefly."""
        return await self._switch("disable_long_filenames")

    async def _history(self, start: int, limit: int, priority: Priority = Priority.REST) -> list[HistoryEntry]:
        call = Call(
            method="GET",
            path="app/separation_history",
            query={"start": start, "limit": limit},
            auth=Auth.REQUIRED,
            priority=priority,
        )
        return decode(payload(await self._authenticated(call)), list[HistoryEntry], what=call.path)

    async def _switch(self, name: str) -> Message:
        call = Call(method="POST", path=f"app/{name}", form={}, auth=Auth.REQUIRED)
        return decode(await self._authenticated(call), Message, what=call.path)

    async def _authenticated(self, call: Call) -> Json:
        """Send a call whose only parameter that can be wrong is the token."""
        try:
            return await self._caller.call(call)
        except InvalidRequestError as error:
            refusal = error
        if refusal.status != 400 or refusal.fields.keys() - {"api_token"}:
            raise refusal
        raise AuthenticationError(
            f"the service does not accept the API token: {words_of(refusal)}. Check MVSEP_API_TOKEN, or the token "
            "given to the client",
            fields=refusal.fields,
            status=refusal.status,
        )


def _identity(entry: HistoryEntry) -> object:
    return entry.hash if entry.id is None else entry.id
