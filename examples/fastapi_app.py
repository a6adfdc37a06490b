"""A web application that separates songs, with progress as server-sent events and webhooks where it is public.

    pip install mvsep-async fastapi uvicorn python-multipart
    MVSEP_API_TOKEN=... uvicorn --factory fastapi_app:create_app --timeout-graceful-shutdown 1

One worker: the journal, and the account's slots, belong to one process. Set PUBLIC_URL, such as https://stems.example,
where the service can reach it.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request, UploadFile
from fastapi.responses import HTMLResponse, StreamingResponse

from mvsep_async import ClientClosedError, InvalidRequestError, Job, MVSepClient, MVSepError, UploadError
from mvsep_async.webhooks import WebhookReceiver

PAGE = """<!doctype html><title>Stems</title>
<form><input type=file name=song required> <button>Separate</button></form><progress max=1 value=0></progress><ul></ul>
<script>
document.forms[0].onsubmit = async event => {
  event.preventDefault()
  const answer = await fetch("songs", {method: "POST", body: new FormData(event.target)})
  const song = await answer.json()
  if (!answer.ok) return alert(song.detail)
  const events = new EventSource(`songs/${song.id}/events`)
  events.onmessage = ({data}) => document.querySelector("progress").value = JSON.parse(data).fraction ?? 0
  events.addEventListener("over", ({data}) => {
    events.close()
    const {error, files} = JSON.parse(data)
    if (error) return alert(error)
    for (const {stem, url} of files) {
      const link = Object.assign(document.createElement("a"), {href: url, textContent: stem})
      document.querySelector("ul").appendChild(document.createElement("li")).appendChild(link)
    }
  })
}
</script>"""


def create_app(client: MVSepClient | None = None, public_url: str | None = os.environ.get("PUBLIC_URL")) -> FastAPI:
    """Make the application, by default around a client of the account that the environment names."""
    mvsep = client or MVSepClient(journal="fastapi_app.sqlite")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with mvsep:
            yield

    app = FastAPI(title="Stems", lifespan=lifespan)
    # A webhook only makes the client look at once. Without a public address it looks by itself, a little later.
    app.mount("/hooks", WebhookReceiver(mvsep, public_url and f"{public_url.rstrip('/')}/hooks"))

    async def known(song: str) -> Job:
        job = await mvsep.find(key=song)
        if job is None:
            raise HTTPException(404, "there is no such song")
        return job

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return PAGE

    @app.post("/songs", status_code=202)
    async def separate(request: Request, song: UploadFile, algorithm: str = "BS Roformer") -> dict[str, Any]:
        name = uuid4().hex  # as the job's key it is what the job is found by, after a restart too
        try:
            job = await mvsep.submit(
                pieces(song),
                filename=song.filename,
                algorithm=algorithm,
                group=request.client.host if request.client else None,  # visitors take turns
                key=name,
            )
        except (InvalidRequestError, UploadError) as error:  # a mistake in what was asked for, or in the song
            raise HTTPException(422, str(error)) from None
        except MVSepError as error:
            raise HTTPException(503, str(error)) from None
        return await shown(name, job)

    @app.get("/songs/{song}")
    async def look(song: str) -> dict[str, Any]:
        return await shown(song, await known(song))

    @app.get("/songs/{song}/events")
    async def events(song: str) -> StreamingResponse:
        return StreamingResponse(progress_events(song, await known(song)), media_type="text/event-stream")

    @app.delete("/songs/{song}")
    async def cancel(song: str) -> dict[str, Any]:
        job = await known(song)
        await job.cancel()
        return await shown(song, job)

    return app


async def pieces(song: UploadFile) -> AsyncIterator[bytes]:
    """Give an upload piece by piece."""
    while piece := await song.read(1 << 20):
        yield piece


async def progress_events(song: str, job: Job) -> AsyncIterator[str]:
    """Give a job's life as server-sent events.

    Any number of browsers may listen. One that goes away ends its iteration and nothing else; one that comes back
    begins with how it stands.
    """
    try:
        async for _ in job:
            yield f"data: {json.dumps(await shown(song, job))}\n\n"
    except ClientClosedError:
        return  # the server stops: the browser will ask again
    yield f"event: over\ndata: {json.dumps(await shown(song, job))}\n\n"


async def shown(song: str, job: Job) -> dict[str, Any]:
    """Return what the world may know of a job."""
    progress = job.progress
    separation = await job if job.done() and job.error is None else None
    return {
        "id": song,
        "stage": progress.stage,
        "fraction": progress.fraction,
        "place": progress.place,
        "starts_in": progress.starts_in,
        "error": job.error and str(job.error),
        "files": [{"stem": file.stem or file.name, "url": file.url} for file in separation.files] if separation else [],
    }
