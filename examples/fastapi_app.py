"""A web application that separates songs: drop a song on its page, watch its progress, listen to the stems.

    pip install mvsep-async fastapi uvicorn
    MVSEP_API_TOKEN=... python fastapi_app.py

The page is in the folder `fastapi_page` beside this file. Everybody who can open it sees all songs: put it behind a
login before it is public. There is one worker: the journal belongs to one process. The environment may set PORT, DATA
(the folder for journal and stems), MAX_UPLOAD_MB, and PUBLIC_URL, such as https://stems.example, where webhooks arrive.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import uvicorn
from anyio import to_thread
from anyio.abc import TaskGroup
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvsep_async import ClientClosedError, Job, MVSepClient, MVSepError, UploadError, UsageError
from mvsep_async.recipes import find_preset
from mvsep_async.webhooks import WebhookReceiver

PAGE = Path(__file__).parent / "fastapi_page"
PRESETS = ["vocals", "karaoke", "four-stems", "six-stems", "drums", "dereverb"]
HEADERS = {
    # The page loads nothing from elsewhere and runs no inline script, so the browser need not allow either.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "media-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
QUIET = 15.0
"""Seconds without news after which a comment is sent, so that proxies keep the connection open."""


class TooLargeError(Exception):
    """An upload is larger than allowed."""


class Songs:
    """The songs of the page: each is a job of the client, whose metadata has its title."""

    def __init__(self, client: MVSepClient, folder: Path, tasks: TaskGroup) -> None:
        self._client = client
        self._folder = folder
        self._tasks = tasks
        self._changes: dict[str, int] = {}
        """The number of each song's latest change."""
        self._count = 0
        self._changed = anyio.Event()
        self._stopping = False
        self._failed_downloads: dict[str, MVSepError] = {}
        for job in client.jobs():  # of earlier runs: the journal has them
            self._follow(job)

    async def add(self, pieces: AsyncIterator[bytes], name: str, preset: str, group: str | None) -> Job:
        job = await self._client.submit(
            pieces,  # spooled to disk as it arrives
            filename=name,
            algorithm=find_preset(preset),
            group=group,  # visitors take turns
            metadata={"title": Path(name).stem, "preset": preset, "at": time.time()},
        )
        self._follow(job)
        return job

    async def find(self, id: str) -> Job:
        job = await self._client.find(id=id)
        if job is None:
            raise HTTPException(404, "There is no such song.")
        return job

    async def remove(self, job: Job) -> None:
        """Cancel a song that is in progress; remove one that is over."""
        if not job.done():
            await job.cancel()
            return
        await self._client.prune([job])
        await to_thread.run_sync(lambda: shutil.rmtree(self._folder / job.id, ignore_errors=True))
        self._note(job)

    def all(self) -> list[Job]:
        return self._client.jobs()

    def show(self, job: Job) -> dict[str, Any]:
        """Return what the page shows of a song."""
        progress = job.progress
        error = job.error or self._failed_downloads.get(job.id)
        about = job.metadata if isinstance(job.metadata, dict) else {}
        return {
            "id": job.id,
            "title": about.get("title") or job.id,
            "preset": about.get("preset"),
            "at": about.get("at"),
            "stage": progress.stage,
            "fraction": progress.fraction,
            "place": progress.place,
            "queue_position": progress.queue_position,
            "queue_length": progress.queue_length,
            "starts_in": progress.starts_in,
            "seconds_left": progress.seconds_left,
            "over": job.done() and (error is not None or bool(job.paths)),
            "error": error and str(error),
            "stems": [{"name": path.stem, "url": f"songs/{job.id}/{n}"} for n, path in enumerate(job.paths)],
        }

    async def changes(self) -> AsyncIterator[str]:
        """Yield all songs, then each that changes, as server-sent events."""
        seen = 0
        while not self._stopping:
            changed, now = self._changed, self._count
            for id in [id for id, number in self._changes.items() if number > seen]:
                job = await self._client.find(id=id)
                yield event({"id": id, "removed": True} if job is None else self.show(job))
            seen = now
            with anyio.move_on_after(QUIET) as quiet:
                await changed.wait()
            if quiet.cancelled_caught:
                yield ": nothing new\n\n"
            await anyio.sleep(0.1)  # several changes make one event

    def stop(self) -> None:
        """End the streams of events: a server that stops waits for its connections."""
        self._stopping = True
        self._changed.set()

    def _follow(self, job: Job) -> None:
        self._note(job)
        self._tasks.start_soon(self._fetch, job)

    async def _fetch(self, job: Job) -> None:
        """Note every change of a job, and download its stems once it is done."""
        try:
            async for _ in job:
                self._note(job)
            if job.error is None:
                await job.download(self._folder / job.id, layout="{stem}")
        except ClientClosedError:
            return  # the server stops; the next one continues here
        except MVSepError as error:  # such as a full disk: the next start tries again
            self._failed_downloads[job.id] = error
        self._note(job)

    def _note(self, job: Job) -> None:
        self._count += 1
        self._changes[job.id] = self._count
        self._changed.set()
        self._changed = anyio.Event()


def create_app(
    client: MVSepClient | None = None, data: Path | None = None, max_upload_mb: int | None = None
) -> FastAPI:
    """Make the application, by default around a client of the account that the environment names."""
    folder = data or Path(os.environ.get("DATA", "data"))
    limit = max_upload_mb or int(os.environ.get("MAX_UPLOAD_MB", "200"))
    folder.mkdir(parents=True, exist_ok=True)
    mvsep = client or MVSepClient(journal=folder / "journal.sqlite")
    public_url = os.environ.get("PUBLIC_URL")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with mvsep, anyio.create_task_group() as tasks:
            app.state.songs = Songs(mvsep, folder / "stems", tasks)
            yield
            tasks.cancel_scope.cancel()

    app = FastAPI(title="Stems", lifespan=lifespan)
    app.add_middleware(SecurityHeaders)
    # A webhook only makes the client look at once. Without a public address it looks by itself, a little later.
    app.mount("/hooks", WebhookReceiver(mvsep, public_url and f"{public_url.rstrip('/')}/hooks"))
    app.mount("/page", StaticFiles(directory=PAGE))

    def songs(request: Request) -> Songs:
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise HTTPException(403, "Requests from other sites are not allowed.")
        found: Songs = request.app.state.songs
        return found

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/settings")
    async def settings() -> dict[str, Any]:
        presets = [{"name": name, "about": find_preset(name).about} for name in PRESETS]
        return {"presets": presets, "max_upload_mb": limit}

    @app.get("/songs")
    async def list_songs(request: Request) -> list[dict[str, Any]]:
        return [songs(request).show(job) for job in songs(request).all()]

    @app.post("/songs", status_code=202)
    async def separate(request: Request, name: str, preset: str = "vocals") -> dict[str, Any]:
        try:
            pieces = limited(request, limit << 20)
            visitor = request.client.host if request.client else None
            return songs(request).show(await songs(request).add(pieces, name, preset, visitor))
        except TooLargeError:
            raise HTTPException(413, f"The song is larger than {limit} MB.") from None
        except (UsageError, UploadError) as error:  # a mistake in what was asked for, or in the song
            raise HTTPException(422, str(error)) from None
        except MVSepError as error:
            raise HTTPException(503, str(error)) from None

    @app.get("/events")
    async def events(request: Request) -> StreamingResponse:
        return StreamingResponse(songs(request).changes(), media_type="text/event-stream")

    @app.get("/songs/{id}/{number}")
    async def stem(request: Request, id: str, number: int) -> FileResponse:
        paths = (await songs(request).find(id)).paths
        if not 0 <= number < len(paths):
            raise HTTPException(404, "There is no such stem.")
        return FileResponse(paths[number], filename=paths[number].name, content_disposition_type="inline")

    @app.delete("/songs/{id}", status_code=204)
    async def remove(request: Request, id: str) -> None:
        await songs(request).remove(await songs(request).find(id))

    return app


class SecurityHeaders:
    """Add `HEADERS` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)


async def limited(request: Request, most: int) -> AsyncIterator[bytes]:
    """Yield a request's body piece by piece; raise `TooLargeError` as soon as it is too large."""
    if int(request.headers.get("content-length", 0)) > most:
        raise TooLargeError
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise TooLargeError
        yield piece


def event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


class Server(uvicorn.Server):
    """A server that ends the streams of events when it has to stop."""

    def __init__(self, app: FastAPI, port: int) -> None:
        super().__init__(uvicorn.Config(app, port=port, timeout_graceful_shutdown=5))
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        songs: Songs = self._app.state.songs
        songs.stop()
        super().handle_exit(sig, frame)


if __name__ == "__main__":
    if not os.environ.get("MVSEP_API_TOKEN"):
        sys.exit("Set MVSEP_API_TOKEN to the token from the account page of mvsep.com, or of `mvsep-async sandbox`.")
    with suppress(KeyboardInterrupt):  # uvicorn passes Ctrl-C on when it has stopped
        Server(create_app(), int(os.environ.get("PORT", "8000"))).run()
