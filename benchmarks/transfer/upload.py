"""Upload a song of 512 MiB, compared with curl and with httpx's own `files=`.

On a machine that has other work to do, processor time is what can be compared: who needs less of it waits less too.
"""

from __future__ import annotations

import ssl

import httpx

from benchmarks.report import Row
from benchmarks.transfer.bench import MIB, Bench, Scheme, curl_upload, interleaved, our_upload, running

CURL_GOALS: dict[Scheme, float] = {"plain": 1.2, "TLS": 1.1}
HTTPX_GOAL = 0.6


def measure(quick: bool) -> list[Row]:
    """Measure both schemes, plain and TLS."""
    size, rounds = (4 * MIB, 1) if quick else (512 * MIB, 7)
    rows = []
    with Bench.opened(size) as bench:
        for scheme, goal in CURL_GOALS.items():
            times = interleaved(
                bench,
                {
                    "curl": lambda scheme=scheme: curl_upload(bench, scheme),  # type: ignore[misc]
                    "ours": running(our_upload, bench, scheme),
                    "httpx": running(_httpx_upload, bench, scheme),
                },
                rounds,
            )
            name = f"upload {size // MIB} MiB, {scheme}"
            ours = times["ours"]
            for peer, bound, work_bound in (("curl", goal, None), ("httpx", HTTPX_GOAL, HTTPX_GOAL)):
                rows += [
                    Row.beside(name, "s", ours.wall, times[peer].wall, peer, goal=bound),
                    Row.beside(f"{name}: processor time", "s", ours.work, times[peer].work, peer, goal=work_bound),
                ]
    return rows


async def _httpx_upload(bench: Bench, scheme: Scheme) -> None:
    context = ssl.create_default_context(cafile=str(bench.authority))
    async with httpx.AsyncClient(verify=context, timeout=60, trust_env=False) as http:
        with bench.song.open("rb") as file:
            response = await http.post(bench.urls[scheme], files={"audiofile": file})
            response.raise_for_status()
