"""The command line, `mvsep-async`: commands over the public client, and a live display."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 all done, 1 some song failed, 2 bad usage, 130 interrupted.

    `argv`: the words after the program's name, by default the process's own.
    """
    try:
        from mvsep_async.cli.run import run

        return run(argv)
    except KeyboardInterrupt:  # while the program is loaded
        return 130
