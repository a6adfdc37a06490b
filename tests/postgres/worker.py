"""A process of its own that separates songs with a shared journal: `python -m tests.postgres.worker SETTINGS`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import anyio

from mvsep_async import MVSepClient
from mvsep_async.errors import MVSepError


async def main(settings: Mapping[str, Any]) -> None:
    """Submit `sources` with their position as key; print each that is over, then wait to be killed if asked to."""
    client = MVSepClient(
        settings["token"],
        base_url=settings["url"],
        journal=settings["journal"],
        lease=settings["lease"],
        concurrency=settings["concurrency"],
        poll_interval=settings.get("poll_interval", 0.05),
    )
    async with client, anyio.create_task_group() as tasks:

        async def separate(source: str) -> None:
            try:
                paths = await client.separate(source, settings["target"], algorithm=40, key=source)
                say("done", source, [str(path) for path in paths])
            except MVSepError as error:
                say("failed", source, f"{type(error).__name__}: {error}")

        say("open")
        for source in settings["sources"]:
            tasks.start_soon(separate, source)
        if settings.get("stays"):
            tasks.start_soon(anyio.sleep_forever)


def say(*words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, json.loads(sys.argv[1]))
