"""A process that separates songs into a folder that other processes use at the same time, and prints the paths."""

import sys

import anyio

from mvsep_async import MVSepClient


async def main(url: str, token: str, folder: str, *songs: str) -> None:
    async with MVSepClient(token, base_url=url, poll_interval=0.05, requests_per_minute=60_000) as client:
        async for job in client.map(songs, directory=folder, algorithm=40):
            if job.error is not None:
                raise job.error
            for path in job.paths:
                sys.stdout.write(f"{job.source}\t{path}\n")


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
