"""`login` and `register`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
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

__all__ = ["login", "register"]


def login(
    *,
    email: str | None = None,
    token: Annotated[bool, Parameter(negative=())] = False,
    password_stdin: bool = False,
    print: bool = False,
    common: CommonOptions = COMMON,
) -> Callable[[], Awaitable[int]]:
    """Get the account's API token with email and password, and keep it for later commands.

    It goes into the configuration file, which only you can read then. The password is asked for and kept nowhere.

    Parameters
    ----------
    email
        The account's email; asked for by default.
    token
        You have the token already: ask for it, try it, and keep it.
    password_stdin
        Read the password (or the token) from the first line of standard input.
    print
        Print the token, and keep it nowhere.
    """
    if token:
        given = Token(ask_secret("API token: ", from_stdin=password_stdin).strip())
        return partial(_try, given, print, common)
    email = email or ask("Email: ")
    return partial(_login, email, ask_secret("Password: ", from_stdin=password_stdin), print, common)


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
        Your name; asked for by default.
    email
        Your email; asked for by default.
    password_stdin
        Read the password from the first line of standard input.
    """
    name = name or ask("Name: ")
    email = email or ask("Email: ")
    password = ask_secret("Password: ", from_stdin=password_stdin)
    if not password_stdin and ask_secret("Password again: ") != password:
        raise UsageProblem("the two passwords are not the same")
    return partial(_register, name, email, password, common)


async def _login(email: str, password: str, show: bool, common: CommonOptions) -> int:
    async with connect(load_config(common)) as client:
        user = await client.account.login(email, password)
    if user.api_token is None:
        raise UsageProblem(
            "the service accepted the password and sent no token: copy the token from the account page, and run "
            "`mvsep-async login --token`"
        )
    return await _keep(user, user.api_token, show, common)


async def _try(token: Token, show: bool, common: CommonOptions) -> int:
    config = load_config(common)
    async with MVSepClient(token.reveal(), base_url=config.base_url.value) as client:
        user = await client.account.user()
    return await _keep(user, token, show, common)


async def _register(name: str, email: str, password: str, common: CommonOptions) -> int:
    async with connect(load_config(common)) as client:
        said = await client.account.register(name, email, password)
    if common.json:
        terminal().document({"email": email, "message": said.message})
    else:
        terminal().result(said.message or f"the account of {email} is made; now run `mvsep-async login`")
    return 0


async def _keep(user: User, token: Token, show: bool, common: CommonOptions) -> int:
    here = terminal()
    if show:
        if common.json:
            here.document({"name": user.name, "email": user.email, "token": token.reveal()})
        else:
            here.result(token.reveal())
        return 0
    path = config_file.config_path()
    await to_thread.run_sync(config_file.write, path, "token", token.reveal())
    if common.base_url:
        await to_thread.run_sync(config_file.write, path, "base_url", common.base_url)
    if common.json:
        here.document({"name": user.name, "email": user.email, "path": str(path)})
    else:
        here.result(f"logged in as {user.name or user.email}; the token is kept in {path}")
    if load_config(common).token != token:
        here.note(f"{TOKEN_VARIABLE} is set in the environment, and goes before the file")
    return 0
