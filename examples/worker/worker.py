"""A worker: it separates the songs that the web servers receive. See `stems.py`."""

import asyncio

from stems import LEASE, new_client, tasks


async def main() -> None:
    """Work until stopped. More tasks at a time than the account has slots, so that no slot waits for a task."""
    async with new_client() as client, tasks.open_async():
        await tasks.run_worker_async(
            concurrency=20,
            additional_context={"client": client},
            update_heartbeat_interval=LEASE / 3,
            stalled_worker_timeout=LEASE,
            shutdown_graceful_timeout=5,
        )


if __name__ == "__main__":
    asyncio.run(main())
