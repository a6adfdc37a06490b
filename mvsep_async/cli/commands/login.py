"""`login` and `register`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Annotated

from anyio import to_thread
from cyclopts import Parameter

from mvsep_async.cli import config_file
from mvsep_async.cli.config import COMMON, TOKEN_VARIABLE, CommonOptions, connect, load_config
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.prompts import ask, ask_secret
from mvsep_async.cli.terminal import terminal
from mvsep_async.client import MVSepClient
from mvsep_async.http.token import Token
from mvsep_async.models.user import User

__all__ = ["login", "logout", "register"]


def login(
    *,
    email: str | None = None,
    token: Annotated[bool, Parameter(negative=())] = False,
    password_stdin: bool = False,
    print: bool = False,
    common: CommonOptions = COMMON,
) -> Callable[[], Awaitable[int]]:
    """Get the account's API token with email and password, and store it for later commands.

    It is written to the configuration file, which only you can read. The password is asked for and not stored.

    Parameters
    ----------
    email
        The account's email; by default you are asked for it.
    token
        Store a token that you already have. It is asked for and tried first.
    password_stdin
        Read the password (or the token) from the first line of standard input.
    print
        Print the token and do not store it.
    """
    if token:
        given = Token(ask_secret("API token: ", from_stdin=password_stdin).strip())
    else:
        email = email or ask("Email: ")
        password = ask_secret("Password: ", from_stdin=password_stdin)

    async def work() -> int:
        config = load_config(common)
        if token:
            async with MVSepClient(given.reveal(), base_url=config.base_url.value) as client:
                return await _keep(await client.account.user(), given, print, common)
        async with connect(config) as client:
            user = await client.account.login(email or "", password)
        if user.api_token is None:
            raise UsageProblem(
                "the service accepted the password and sent no token: copy the token from the account page, and run "
                "`mvsep-async login --token`"
            )
        return await _keep(user, user.api_token, print, common)

    return work


async def logout(*, common: CommonOptions = COMMON) -> int:
    """Remove the API token from the configuration file."""
    path = config_file.config_path()
    removed = await to_thread.run_sync(config_file.remove, path, "token", common.profile)
    text = f"the token was removed from {path}" if removed else f"there is no token in {path}"
    terminal().answer({"removed": removed, "path": str(path)}, text)
    if os.environ.get(TOKEN_VARIABLE):
        terminal().note(f"{TOKEN_VARIABLE} is still set in the environment, and is used")
    return 0


def register(
    *,
    name: str | None = None,
    email: str | None = None,
    password_stdin: bool = False,
    common: CommonOptions = COMMON,
) -> Callable[[], Awaitable[int]]:
    """Make a new account. The service then sends a mail to confirm the address.

    Parameters
    ----------
    name
        Your name; by default you are asked for it.
    email
        Your email; by default you are asked for it.
    password_stdin
        Read the password from the first line of standard input.
    """
    name = name or ask("Name: ")
    email = email or ask("Email: ")
    password = ask_secret("Password: ", from_stdin=password_stdin)
    if not password_stdin and ask_secret("Password again: ") != password:
        raise UsageProblem("the two passwords are not the same")

    async def work() -> int:
        async with connect(load_config(common)) as client:
            said = await client.account.register(name, email, password)
        text = said.message or f"the account of {email} was made; run `mvsep-async login` next"
        terminal().answer({"email": email, "message": said.message}, text)
        return 0

    return work


async def _keep(user: User, token: Token, show: bool, common: CommonOptions) -> int:
    here = terminal()
    if show:
        here.answer({"name": user.name, "email": user.email, "token": token.reveal()}, token.reveal(), whole=True)
        return 0
    path = config_file.config_path()
    values = {"token": token.reveal(), "base_url": common.base_url, "region": common.region}
    for key, value in values.items():
        if value:
            await to_thread.run_sync(config_file.write, path, key, value, common.profile)
    text = f"logged in as {user.name or user.email}; the token is stored in {path}"
    here.answer({"name": user.name, "email": user.email, "path": str(path)}, text)
    if common.profile is None and load_config(common).token != token:
        here.note(f"{TOKEN_VARIABLE} is set in the environment and is used instead of the file")
    return 0
