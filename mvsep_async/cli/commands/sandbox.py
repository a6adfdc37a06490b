"""`sandbox`: a local sandbox, in the foreground of a terminal."""

from __future__ import annotations

import errno
import importlib
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter, validators

from mvsep_async.cli.config import COMMON, TOKEN_VARIABLE, URL_VARIABLE, CommonOptions
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.terminal import terminal

if TYPE_CHECKING:
    from mvsep_async.sandbox import Sandbox

__all__ = ["load_sandbox", "sandbox"]

_POSITIVE: Final = validators.Number(gt=0)
_NOT_NEGATIVE: Final = validators.Number(gte=0)


def sandbox(
    *,
    port: Annotated[int, Parameter(metavar="N", validator=validators.Number(gte=0, lte=65535))] = 0,
    speed: Annotated[float, Parameter(metavar="N", validator=_POSITIVE)] = 60.0,
    job_seconds: Annotated[float | None, Parameter(metavar="N", validator=_NOT_NEGATIVE)] = None,
    queue_seconds: Annotated[float, Parameter(metavar="N", validator=_NOT_NEGATIVE)] = 0.0,
    jobs_ahead: Annotated[int, Parameter(metavar="N", validator=_NOT_NEGATIVE)] = 0,
    requests_per_minute: Annotated[int, Parameter(metavar="N", validator=_POSITIVE)] = 120,
    link_bytes_per_second: Annotated[float | None, Parameter(metavar="N", validator=_POSITIVE)] = None,
    body_read_timeout: Annotated[float, Parameter(metavar="SECONDS", validator=_POSITIVE)] = 60.0,
    premium_limit: Annotated[int, Parameter(metavar="N", validator=_POSITIVE)] = 10,
    premium_minutes: Annotated[float, Parameter(metavar="N", validator=_NOT_NEGATIVE)] = 1000.0,
    free_limit: Annotated[int, Parameter(metavar="N", validator=_POSITIVE)] = 1,
    free_per_day: Annotated[int, Parameter(metavar="N", validator=_NOT_NEGATIVE)] = 50,
    manual: bool = False,
    common: CommonOptions = COMMON,
) -> int:
    """Run a local sandbox until Ctrl-C: a small MVSEP server that really separates audio, into centre and sides.

    It prints its address, the tokens of a premium and of a free account, and the two lines that point programs at it.

    Parameters
    ----------
    port
        Port on 127.0.0.1, or 0 for any that is free.
    speed
        Seconds of audio that are separated in a second.
    job_seconds
        Processing time of each job. By default it depends on the song's length and --speed.
    queue_seconds
        Shortest time that a job waits in the queue.
    jobs_ahead
        Other users' jobs ahead of each new one.
    requests_per_minute
        Requests a minute; more are answered by 429.
    link_bytes_per_second
        Speed of all uploads together, and of all downloads. By default there is no limit.
    body_read_timeout
        Longest pause within a request's body. Then the connection is closed.
    premium_limit
        Most unfinished jobs of the premium account.
    premium_minutes
        Credits of the premium account.
    free_limit
        Most unfinished jobs of the free account.
    free_per_day
        Separations of the free account a day.
    manual
        Advance jobs only on request. POST to /_sandbox/start, finish and fail.
    """
    package = load_sandbox()
    made = package.Sandbox(
        port=port,
        speed=speed,
        job_seconds=job_seconds,
        queue_seconds=queue_seconds,
        jobs_ahead=jobs_ahead,
        requests_per_minute=requests_per_minute,
        link_bytes_per_second=link_bytes_per_second,
        body_read_timeout=body_read_timeout,
        premium_limit=premium_limit,
        premium_minutes=premium_minutes,
        free_limit=free_limit,
        free_per_day=free_per_day,
        manual=manual,
    )
    try:
        package.serve(made, _announce)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise UsageProblem(
            f"port {port} cannot be used ({error.strerror}): choose another one, or leave out --port"
        ) from None
    if not common.json:
        terminal().note("the sandbox has stopped")
    return 0


def load_sandbox() -> Any:
    """Return the package `mvsep_async.sandbox`; raise `UsageProblem` if packages that it needs are missing."""
    try:
        return importlib.import_module("mvsep_async.sandbox")
    except ImportError as error:
        raise UsageProblem(
            f'the sandbox needs a package that is not installed ({error.name}): run pip install "mvsep-async[sandbox]"'
        ) from None


def _announce(running: Sandbox) -> None:
    here = terminal()
    if here.json:
        here.document({"url": running.url, "premium_token": running.premium_token, "free_token": running.free_token})
        return
    form = '$env:{} = "{}"' if sys.platform == "win32" else "export {}={}"
    for line in (
        f"The sandbox runs at {running.url}",
        f"  premium token  {running.premium_token}",
        f"  free token     {running.free_token}",
        "",
        "To use it, copy these two lines into another terminal:",
        "",
        form.format(URL_VARIABLE, running.url),
        form.format(TOKEN_VARIABLE, running.premium_token),
        "",
        "Ctrl-C ends it.",
    ):
        here.result(line)
    here.out.file.flush()
