"""`completion`: words completed by the shell."""

from __future__ import annotations

from typing import Literal

from mvsep_async.cli.config import COMMON, CommonOptions
from mvsep_async.cli.terminal import terminal

__all__ = ["completion"]


def completion(
    shell: Literal["bash", "zsh", "fish", "powershell"] | None = None,
    /,
    *,
    install: bool = False,
    common: CommonOptions = COMMON,
) -> int:
    """Print the completion script of a shell, or install it.

    Parameters
    ----------
    shell
        By default the one that this runs in.
    install
        Write the script to where the shell looks for it, and say where that is.
    """
    from mvsep_async.cli.app import app

    if install:
        path = app.install_completion(shell=shell, add_to_startup=False)
        terminal().note(f"installed as {path}: start a new shell")
    else:
        terminal().out.file.write(app.generate_completion(shell=shell))
    return 0
