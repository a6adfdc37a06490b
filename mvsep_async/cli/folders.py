"""The folder for stems: made and tried before anything is paid."""

from __future__ import annotations

import tempfile
from pathlib import Path

from anyio import to_thread

from mvsep_async.cli.exits import UsageProblem

__all__ = ["prepare_folder"]


async def prepare_folder(folder: Path) -> None:
    """Make a folder and check that files can be written in it; raises `UsageProblem` where that fails."""

    def prepare() -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except FileExistsError:
            raise UsageProblem(f"the folder {str(folder)!r} cannot be made: a file has that name") from None
        except OSError as error:
            raise UsageProblem(f"the folder {str(folder)!r} cannot be written: {error.strerror}") from None

    await to_thread.run_sync(prepare)
