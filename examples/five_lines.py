"""The stems of one song, in a folder: `MVSEP_API_TOKEN=... python five_lines.py song.flac`."""

import asyncio
import sys

from mvsep_async import MVSepClient


async def main(song: str) -> None:
    async with MVSepClient() as client:
        for path in await client.separate(song, "stems", algorithm="BS Roformer"):
            print(path)


if len(sys.argv) != 2:
    sys.exit("Give one song: python five_lines.py song.flac")
asyncio.run(main(sys.argv[1]))
