"""A web server: it receives songs, leaves them to the workers, and shows their progress. See `stems.py`."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
from fastapi import FastAPI, HTTPException, UploadFile
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles
from stems import FOLDER, new_client, separate, tasks

from mvsep_async import ClientClosedError, MVSepClient


def create_app() -> FastAPI:
    """Make the web application."""
    client = new_client()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with client, tasks.open_async():
            yield

    app = FastAPI(title="Stems", lifespan=lifespan)
    (FOLDER / "stems").mkdir(parents=True, exist_ok=True)
    app.mount("/stems", StaticFiles(directory=FOLDER / "stems"))

    @app.post("/songs", status_code=202)
    async def upload(song: UploadFile) -> dict[str, str]:
        id, name = uuid4().hex, Path(song.filename or "").name or "song"
        folder = anyio.Path(FOLDER / "songs" / id)
        await folder.mkdir(parents=True)
        async with await anyio.open_file(folder / name, "wb") as file:
            while piece := await song.read(1 << 20):
                await file.write(piece)
        await separate.configure(queueing_lock=id).defer_async(id=id, song=name)
        return {"id": id}

    @app.get("/songs/{id}/events")
    async def events(id: str) -> StreamingResponse:
        if not await anyio.Path(FOLDER / "songs" / id).is_dir():
            raise HTTPException(404, "there is no such song")
        return StreamingResponse(progress_events(client, id), media_type="text/event-stream")

    return app


async def progress_events(client: MVSepClient, id: str) -> AsyncIterator[str]:
    """Yield the progress of a song as server-sent events, whichever process works on it."""
    try:
        while (job := await client.find(key=id)) is None:  # no worker has begun the task yet
            if await tasks.job_manager.list_jobs_async(queueing_lock=id, status="failed"):
                yield event(stage="over", error="this song cannot be separated", files=[])
                return
            yield event(stage="queued")
            await anyio.sleep(0.5)
        async for progress in job:
            yield event(stage=progress.stage, fraction=progress.fraction, seconds_left=progress.seconds_left)
    except ClientClosedError:
        return  # this server stops: the browser connects again, perhaps to another one
    files = [f"/stems/{path.relative_to(FOLDER / 'stems').as_posix()}" for path in job.paths or ()]
    yield event(stage="over", error=job.error and str(job.error), files=files)


def event(**fields: Any) -> str:
    """Return one server-sent event."""
    return f"data: {json.dumps(fields)}\n\n"
