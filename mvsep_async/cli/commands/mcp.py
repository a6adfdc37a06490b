"""`mcp`: the client as a Model Context Protocol server on standard input and output."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators

from mvsep_async.cli.complete import GivenJournal
from mvsep_async.cli.config import COMMON, TRANSFER, CommonOptions, TransferOptions, connect, load_config
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.journal import drop_unsent
from mvsep_async.cli.terminal import terminal

__all__ = ["mcp"]


async def mcp(
    *,
    folder: tuple[Path, ...] = (),
    max_credits: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 20,
    journal: GivenJournal | None = None,
    transfer: TransferOptions = TRANSFER,
    common: CommonOptions = COMMON,
) -> int:
    """Let an assistant separate songs: serve the Model Context Protocol on standard input and output.

    The assistant's program starts this command; see the documentation for its configuration.

    Parameters
    ----------
    folder
        A folder whose songs may be read and in which stems may be written; repeatable.
    max_credits
        Credits that may be spent as long as this server runs.
    journal
        File that records the jobs, by default one for each account, apart from that of other commands; or a
        postgresql:// URL.
    """
    package = _load_package()
    if not folder:
        raise UsageProblem("give the folders that the assistant may use: --folder MUSIC")
    config = load_config(common)
    if journal is None:
        shared = config.journal_path
        journal = shared.with_suffix(".mcp.sqlite") if isinstance(shared, Path) else shared
    await drop_unsent(journal)
    async with connect(config, needs_token=True, journal=journal, transfer=transfer) as client:
        server = package.create_server(client, folder, max_credits=max_credits)
        terminal().note(f"serving on standard input and output; at most {max_credits} credits")
        await package.serve(server)
    return 0


def _load_package() -> Any:
    """Return the package `mvsep_async.mcp`; raise `UsageProblem` if packages that it needs are missing."""
    try:
        return importlib.import_module("mvsep_async.mcp")
    except ImportError as error:
        raise UsageProblem(
            f'the MCP server needs a package that is not installed ({error.name}): run pip install "mvsep-async[mcp]"'
        ) from None
