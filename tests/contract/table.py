"""The service's API as a table: every endpoint, what it is sent, and where each field of its answer is typed.

This is what is known of the service, written down once more, so that the client, the sandbox and the models are held
against it and not only against each other.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import anyio
from attrs import evolve, field, frozen

from mvsep_async import MVSepClient, OutputFormat
from mvsep_async.models import JobKind, JobStatus
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.accounts import DEFAULT_PASSWORD

__all__ = ["TABLE", "Endpoint", "World"]


@frozen
class World:
    """What a row is tried in."""

    client: MVSepClient
    sandbox: Sandbox
    song: Path

    async def made(self, sep_type: int = 40, **arguments: object) -> str:
        """Create a job and return its hash."""
        create: Any = self.client.separations.create
        return str((await create(files=self.song, sep_type=sep_type, **arguments)).hash)

    async def done(self, sep_type: int = 40, **arguments: object) -> str:
        """Create a job, wait until it is done, and return its hash."""
        hash = await self.made(sep_type, **arguments)
        with anyio.fail_after(60):
            while (await self.client.separations.get(hash)).kind is not JobKind.DONE:
                self.sandbox.finish(hash)
                await anyio.sleep(0.01)
        return hash


@frozen(kw_only=True)
class Endpoint:
    """One row.

    `call`: the client's call; its last request is the one that is checked. `sends`: every parameter with its value,
    `None` for any. `refused`: parameter → a value that the service refuses, `None` to leave it out. `changes`: a
    parameter → a value that changes the answer. `proven_by`: parameter → the path whose row shows its effect.
    `answers`: the path of each field in the JSON → the path of the attribute in the client's value.
    """

    name: str
    method: str
    path: str
    call: Callable[[World], Awaitable[object]]
    sends: Mapping[str, str | None]
    refused: Mapping[str, str | None] = field(factory=dict)
    changes: Mapping[str, str] = field(factory=dict)
    proven_by: Mapping[str, str] = field(factory=dict)
    answers: Mapping[str, str] = field(factory=dict)
    success: bool = True
    """What the answer says of itself."""


WRONG_TOKEN: Final = "no-such-token"
TOKEN: Final = {"api_token": None}
WITHOUT_TOKEN: Final = {"api_token": WRONG_TOKEN}
MESSAGE: Final = {"success": "success", "message": "message"}
CREATED: Final = {"data.hash": "hash", "data.link": "link"}
BRIEF: Final = {
    "name": "name",
    "render_id": "sep_type",
    "algorithm_group_id": "group_id",
    "orientation": "orientation",
    "order_id": "order_id",
}
USER: Final = {
    "data.name": "name",
    "data.email": "email",
    "data.premium_minutes": "premium_minutes",
    "data.premium_enabled": "premium_enabled",
    "data.long_filenames_enabled": "long_filenames_enabled",
    "data.copy_metadata": "copy_metadata",
    "data.created_at": "created_at",
    "data.updated_at": "updated_at",
}
QUALITY: Final = {
    "id": "id",
    "dataset_type": "dataset_type",
    "date": "date",
    "algo_name": "algo_name",
    "main_text": "main_text",
    "ensemble": "ensemble",
    "proc": "proc",
    "proc_remote_date": "proc_remote_date",
    "msg": "message",
    "metrics": "metrics",
    "sdr_vocals": "sdr.vocals",
    "dataset_name": "dataset_name",
}


def under(prefix: str, fields: Mapping[str, str], attribute: str | None = None) -> dict[str, str]:
    """Return fields below a path of the JSON, and below the path of an attribute."""
    below = prefix if attribute is None else attribute
    return {f"{prefix}.{key}": f"{below}.{path}" if below else path for key, path in fields.items()}


async def _create(world: World) -> object:
    return await world.client.separations.create(
        files=world.song,
        sep_type=40,
        options={"add_opt1": "171", "add_opt2": "8", "add_opt3": "1"},
        output_format=OutputFormat.FLAC_16,
        demo=True,
        webhook_url=f"{world.sandbox.url}/hook",
    )


async def _create_url(world: World) -> object:
    url = "https://files.example/song.wav"
    world.sandbox.remote_file(url, world.song)
    return await world.client.separations.create(url=url, remote_type="direct", sep_type=40)


async def _create_pair(world: World) -> object:
    files = {"target_audiofile": world.song, "reference_audiofile": ("reference.wav", world.song)}
    return await world.client.separations.create(files=files, sep_type=68)


async def _create_from_text(world: World) -> object:
    options = {"add_opt1": "a calm song", "add_opt2": "30"}
    return await world.client.separations.create(sep_type=62, options=options)


async def _create_with_four_options(world: World) -> object:
    options = {"add_opt1": "a", "add_opt2": "b", "add_opt3": "english", "add_opt4": "1"}
    return await world.client.separations.create(files=world.song, sep_type=120, options=options)


def _status(status: str | None = None, **data: object) -> Callable[[World], Awaitable[JobStatus]]:
    async def call(world: World) -> JobStatus:
        hash = await world.made()
        if status is not None:
            world.sandbox.show(hash, status, **data)
        return await world.client.separations.get(hash)

    return call


async def _failed(world: World) -> JobStatus:
    hash = await world.made()
    world.sandbox.fail(hash, "no audio")
    return await world.client.separations.get(hash)


async def _done(world: World) -> JobStatus:
    return await world.client.separations.get(await world.done())


async def _mirror(world: World) -> JobStatus:
    before = world.sandbox.minutes(world.sandbox.premium_token)
    hash = await world.done()
    spent = before - world.sandbox.minutes(world.sandbox.premium_token)
    status = await world.client.separations.get(hash, mirror=True)
    assert before - world.sandbox.minutes(world.sandbox.premium_token) == spent + 1
    return status


async def _transcription(world: World) -> JobStatus:
    return await world.client.separations.get(await world.done(39))


async def _get_remote(world: World) -> JobStatus:
    url = "https://files.example/song.wav"
    world.sandbox.remote_file(url, world.song)
    created = await world.client.separations.create(url=url, sep_type=40)
    with anyio.fail_after(60):
        while (status := await world.client.separations.get_remote(created.hash)).kind is not JobKind.DONE:
            await anyio.sleep(0.01)
    return status


def _fetching(pending: Literal["message", "not_found", "status"]) -> Callable[[World], Awaitable[JobStatus]]:
    async def call(world: World) -> JobStatus:
        world.sandbox.fetch_seconds = 3600
        world.sandbox.quirks = evolve(world.sandbox.quirks, remote_pending=pending)
        url = "https://files.example/song.wav"
        world.sandbox.remote_file(url, world.song)
        created = await world.client.separations.create(url=url, sep_type=40)
        return await world.client.separations.get_remote(created.hash)

    return call


async def _gone(world: World) -> JobStatus:
    return await world.client.separations.get("20260101000000-0123456789-no-such-song.wav")


def _user_with(current_queue: Literal["count", "null"]) -> Callable[[World], Awaitable[object]]:
    async def call(world: World) -> object:
        world.sandbox.quirks = evolve(
            world.sandbox.quirks, current_queue=current_queue, minutes_as_text=True, flags_as_bool=True
        )
        return await _user(world)

    return call


async def _cancel(world: World) -> object:
    return await world.client.separations.cancel(await world.made())


async def _delete(world: World) -> object:
    return await world.client.separations.delete(await world.done())


async def _user(world: World) -> object:
    await world.made()
    return await world.client.account.user()


async def _history(world: World) -> object:
    for _ in range(3):
        await world.done()
    return await world.client.account.history(start=0, limit=2)


async def _algorithms(world: World) -> object:
    return (await world.client.site.algorithms("single_upload"))[40]


async def _variants(world: World) -> object:
    return (await world.client.site.algorithms())[56]


async def _demo(world: World) -> object:
    for _ in range(3):
        await world.done(demo=True, options={"add_opt1": "171", "add_opt2": "8"})
    return await world.client.site.demo(start=0, limit=2, algorithm_id=40, options={"add_opt1": "171"})


def _zip() -> tuple[str, bytes]:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("song_0.wav", b"0")
    return "stems.zip", target.getvalue()


async def _quality_added(world: World) -> int:
    name, data = _zip()
    path = world.song.with_name(name)
    await anyio.Path(path).write_bytes(data)
    added = await world.client.quality.add(
        path, algo_name="My Model", main_text="A model", password="secret", dataset_type=1, ensemble=True
    )
    world.sandbox.advance(3600)
    return added.id


async def _quality_add(world: World) -> object:
    await _quality_added(world)
    return None


async def _quality_entry(world: World) -> object:
    return await world.client.quality.entry(await _quality_added(world))


async def _quality_queue(world: World) -> object:
    await _quality_added(world)
    await _quality_added(world)
    return await world.client.quality.queue(start=0, limit=1)


async def _leaderboard(world: World) -> object:
    await _quality_added(world)
    await _quality_added(world)
    return await world.client.quality.leaderboard(1, start=0, limit=1, algo_name_filter="Model", sort="sdr_bass")


async def _quality_delete(world: World) -> object:
    return await world.client.quality.delete(await _quality_added(world), "secret")


PENDING: Final[tuple[Literal["message", "not_found", "status"], ...]] = ("message", "not_found", "status")
PASSWORD: Final = "a long password"

TABLE: Final = (
    Endpoint(
        name="create",
        method="POST",
        path="separation/create",
        call=_create,
        sends={
            **TOKEN,
            "audiofile": None,
            "sep_type": "40",
            "add_opt1": "171",
            "add_opt2": "8",
            "add_opt3": "1",
            "output_format": "2",
            "is_demo": "1",
            "webhook_url": None,
        },
        refused={
            **WITHOUT_TOKEN,
            "audiofile": None,
            "sep_type": "9999",
            "add_opt1": "no choice",
            "add_opt2": "no choice",
            "add_opt3": "no choice",
            "output_format": "99",
            "is_demo": "perhaps",
            "webhook_url": "https://elsewhere.example/",
        },
        answers=CREATED,
    ),
    Endpoint(
        name="create with four options",
        method="POST",
        path="separation/create",
        call=_create_with_four_options,
        sends={
            **TOKEN,
            "audiofile": None,
            "sep_type": "120",
            "add_opt1": "a",
            "add_opt2": "b",
            "add_opt3": "english",
            "add_opt4": "1",
            "output_format": "0",
            "is_demo": "0",
        },
        refused={"add_opt4": "no choice"},
    ),
    Endpoint(
        name="create from a URL",
        method="POST",
        path="separation/create",
        call=_create_url,
        sends={**TOKEN, "url": None, "remote_type": "direct", "sep_type": "40", "output_format": "0", "is_demo": "0"},
        refused={"url": "no URL", "remote_type": "torrent"},
        answers=CREATED,
    ),
    Endpoint(
        name="create from a pair",
        method="POST",
        path="separation/create",
        call=_create_pair,
        sends={
            **TOKEN,
            "target_audiofile": None,
            "reference_audiofile": None,
            "sep_type": "68",
            "output_format": "0",
            "is_demo": "0",
        },
        refused={"target_audiofile": None, "reference_audiofile": None},
        answers=CREATED,
    ),
    Endpoint(
        name="create from a text",
        method="POST",
        path="separation/create",
        call=_create_from_text,
        sends={
            **TOKEN,
            "sep_type": "62",
            "add_opt1": "a calm song",
            "add_opt2": "30",
            "output_format": "0",
            "is_demo": "0",
        },
        refused={"add_opt1": None},
        answers=CREATED,
    ),
    Endpoint(
        name="waiting",
        method="GET",
        path="separation/get",
        call=_status(),
        sends={"hash": None},
        changes={"hash": "20260101000000-0123456789-no-such-song.wav"},
        answers={
            "status": "status",
            "data.queue_count": "queue_length",
            "data.current_order": "queue_position",
        },
    ),
    Endpoint(
        name="distributing",
        method="GET",
        path="separation/get",
        call=_status("distributing", finished_chunks=1, all_chunks=4),
        sends={"hash": None},
        answers={
            "status": "status",
            "data.queue_count": "queue_length",
            "data.current_order": "queue_position",
            "data.finished_chunks": "chunks_done",
            "data.all_chunks": "chunks_total",
        },
    ),
    Endpoint(
        name="processing",
        method="GET",
        path="separation/get",
        call=_status("processing", message="Your file is being processed"),
        sends={"hash": None},
        answers={"status": "status", "data.message": "message"},
    ),
    Endpoint(
        name="merging",
        method="GET",
        path="separation/get",
        call=_status("merging", message="joining", finished_chunks=4, all_chunks=4),
        sends={"hash": None},
        answers={
            "status": "status",
            "data.message": "message",
            "data.finished_chunks": "chunks_done",
            "data.all_chunks": "chunks_total",
        },
    ),
    Endpoint(
        name="failed",
        method="GET",
        path="separation/get",
        call=_failed,
        sends={"hash": None},
        answers={"status": "status", "data.message": "message"},
    ),
    Endpoint(
        name="queued, a status that is not documented",
        method="GET",
        path="separation/get",
        call=_status("queued"),
        sends={"hash": None},
        answers={"status": "status", "data.queue_count": "queue_length"},
    ),
    Endpoint(
        name="not found",
        method="GET",
        path="separation/get",
        call=_gone,
        sends={"hash": None},
        answers={"status": "status", "data.message": "message"},
        success=False,
    ),
    Endpoint(
        name="done",
        method="GET",
        path="separation/get",
        call=_done,
        sends={"hash": None},
        answers={
            "status": "status",
            **under(
                "data",
                {
                    "hash": "hash",
                    "algorithm": "algorithm",
                    "algorithm_description": "algorithm_description",
                    "output_format": "output_format",
                    "size": "size",
                    "tags": "tags",
                    "input_file.url": "input_file.url",
                    "input_file.size": "input_file.size",
                    "input_file.download": "input_file.name",
                    "files.0.url": "files.0.url",
                    "files.0.size": "files.0.size",
                    "files.0.download": "files.0.name",
                    "files.0.type": "files.0.stem",
                    "files.0.bytes": "files.0.bytes",
                    "date": "date",
                    "image": "image",
                },
                "separation",
            ),
        },
    ),
    Endpoint(
        name="done, with a transcription",
        method="GET",
        path="separation/get",
        call=_transcription,
        sends={"hash": None},
        answers={"data.transcription": "separation.transcription"},
    ),
    Endpoint(
        name="the mirror",
        method="GET",
        path="separation/get",
        call=_mirror,
        sends={**TOKEN, "hash": None, "mirror": "1"},
        # A wrong token is refused only because of `mirror`: without it no token is needed.
        refused=WITHOUT_TOKEN,
        answers={"data.files.0.url": "separation.files.0.url"},
    ),
    Endpoint(
        name="a URL job",
        method="GET",
        path="separation/get-remote",
        call=_get_remote,
        sends={"hash": None},
        changes={"hash": "n2AwBjy4KsFZfqqR"},
        answers={"status": "status", "data.hash": "hash", "data.link": "link"},
    ),
    *(
        Endpoint(
            name=f"a URL job that is being fetched, {pending}",
            method="GET",
            path="separation/get-remote",
            call=_fetching(pending),
            sends={"hash": None},
            answers={"data.message": "message"},
            success=pending == "status",
        )
        for pending in PENDING
    ),
    Endpoint(
        name="cancel",
        method="POST",
        path="separation/cancel",
        call=_cancel,
        sends={**TOKEN, "hash": None},
        refused={**WITHOUT_TOKEN, "hash": "no-such-job"},
        answers=MESSAGE,
    ),
    Endpoint(
        name="delete",
        method="POST",
        path="separation/delete",
        call=_delete,
        sends={**TOKEN, "hash": None},
        refused={**WITHOUT_TOKEN, "hash": "no-such-job"},
        answers=MESSAGE,
    ),
    Endpoint(
        name="algorithms",
        method="GET",
        path="app/algorithms",
        call=_algorithms,
        sends={"scopes": "single_upload"},
        changes={"scopes": "no_upload"},
        answers=under(
            "[render_id=40]",
            {
                "id": "id",
                "render_id": "sep_type",
                "name": "name",
                "algorithm_group_id": "group_id",
                "algorithm_group.name": "group",
                "orientation": "plan",
                "order_id": "order_id",
                "price_coefficient": "price_coefficient",
                "usage": "usage",
                "rating.average": "rating",
                "rating.total": "rating_total",
                "is_active": "is_active",
                "audio_upload_disabled": "audio_upload_disabled",
                "audio_widget": "audio_widget",
                "allow_resample": "allow_resample",
                "output_stems": "output_stems",
                "outputs": "outputs",
                "description": "description",
                "created_at": "created_at",
                "updated_at": "updated_at",
                "algorithm_descriptions.0.lang": "descriptions.0.lang",
                "algorithm_descriptions.0.short_description": "descriptions.0.short_description",
                "algorithm_descriptions.0.long_description": "descriptions.0.long_description",
                "algorithm_fields.0.name": "fields.0.name",
                "algorithm_fields.0.text": "fields.0.label",
                "algorithm_fields.0.options": "fields.0.options",
                "algorithm_fields.0.default_key": "fields.0.default",
                "algorithm_fields.0.input_type": "fields.0.input_type",
                "algorithm_fields.0.required": "fields.0.required",
                "algorithm_fields.0.server_key": "fields.0.server_key",
                "algorithm_fields.0.price_rules.0.option_key": "fields.0.price_rules.0.option_key",
                "algorithm_fields.0.price_rules.0.mode": "fields.0.price_rules.0.mode",
                "algorithm_fields.0.price_rules.0.value": "fields.0.price_rules.0.value",
                "algorithm_fields.0.output_overrides": "fields.0.output_overrides",
                "algorithm_fields.1.help_link": "fields.1.help_link",
                "algorithm_fields.2.conditions.0.depends_on_field_id": "fields.2.conditions.0.depends_on",
                "algorithm_fields.2.conditions.0.operator": "fields.2.conditions.0.operator",
                "algorithm_fields.2.conditions.0.value_json": "fields.2.conditions.0.values",
                "algorithm_fields.2.conditions.0.action": "fields.2.conditions.0.action",
            },
            "",
        ),
    ),
    Endpoint(
        name="algorithms with variants",
        method="GET",
        path="app/algorithms",
        call=_variants,
        sends={},
        answers={
            "[render_id=56].output_variants": "output_variants",
        },
    ),
    Endpoint(
        name="news",
        method="GET",
        path="app/news",
        call=lambda world: world.client.site.news(lang="en", start=0, limit=2),
        sends={"lang": "en", "start": "0", "limit": "2"},
        changes={"lang": "ru", "start": "1", "limit": "1"},
        answers=under(
            "0",
            {name: name for name in ("id", "title", "lang", "text", "status", "created_at", "updated_at")},
        ),
    ),
    Endpoint(
        name="queue",
        method="GET",
        path="app/queue",
        call=lambda world: world.client.site.queue(),
        sends=TOKEN,
        refused=WITHOUT_TOKEN,
        answers={
            "queue.in_process": "in_process",
            "queue.premium": "premium",
            "queue.registered": "registered",
            "queue.unregistered": "unregistered",
            "current.plan": "plan.plan",
            "current.queue": "plan.queue",
            "free_separations.left": "free_separations.left",
            "free_separations.max": "free_separations.limit",
        },
    ),
    Endpoint(
        name="queue summary",
        method="GET",
        path="app/queue/summary",
        call=lambda world: world.client.site.queue_summary(),
        sends=TOKEN,
        refused=WITHOUT_TOKEN,
        answers={"data.ahead": "ahead", "data.estimated_wait_seconds": "estimated_wait_seconds"},
    ),
    Endpoint(
        name="demo",
        method="GET",
        path="app/demo",
        call=_demo,
        sends={"start": "0", "limit": "2", "algorithm_id": "40", "options[add_opt1]": "171"},
        changes={"start": "1", "limit": "1", "algorithm_id": "63", "options[add_opt1]": "81"},
        answers={
            "0.hash": "0.hash",
            "0.date": "0.date",
            "0.input_audio": "0.input_audio",
            "0.size": "0.size",
            **under("0.algorithm", BRIEF),
        },
    ),
    Endpoint(
        name="login",
        method="POST",
        path="app/login",
        call=lambda world: world.client.account.login("premium@example.test", DEFAULT_PASSWORD),
        sends={"email": "premium@example.test", "password": None},
        refused={"email": "nobody@sandbox.example", "password": "wrong"},
        answers={**USER, "data.api_token": "api_token"},
    ),
    Endpoint(
        name="register",
        method="POST",
        path="app/register",
        call=lambda world: world.client.account.register("Name", "new@sandbox.example", PASSWORD),
        sends={
            "name": "Name",
            "email": "new@sandbox.example",
            "password": PASSWORD,
            "password_confirmation": PASSWORD,
        },
        refused={"name": None, "email": "no address", "password": "short", "password_confirmation": "another one"},
        answers=MESSAGE,
    ),
    Endpoint(
        name="user",
        method="GET",
        path="app/user",
        call=_user,
        sends=TOKEN,
        refused=WITHOUT_TOKEN,
        answers={**USER, "data.api_token": "api_token", "data.current_queue.0.hash": "current_queue.jobs.0.hash"},
    ),
    Endpoint(
        name="user with a count of jobs, and numbers as text",
        method="GET",
        path="app/user",
        call=_user_with("count"),
        sends=TOKEN,
        answers={**USER, "data.current_queue": "current_queue.count"},
    ),
    Endpoint(
        name="user without a count of jobs",
        method="GET",
        path="app/user",
        call=_user_with("null"),
        sends=TOKEN,
        answers=USER,
    ),
    Endpoint(
        name="history",
        method="GET",
        path="app/separation_history",
        call=_history,
        sends={**TOKEN, "start": "0", "limit": "2"},
        refused=WITHOUT_TOKEN,
        changes={"start": "1", "limit": "1"},
        answers={
            **under(
                "data.0",
                {
                    name: name
                    for name in ("id", "hash", "created_at", "updated_at", "job_exists", "credits", "time_left")
                },
                "0",
            ),
            **under("data.0.algorithm", {**BRIEF, "algorithm_group.name": "group"}, "0.algorithm"),
        },
    ),
    *(
        Endpoint(
            name=name,
            method="POST",
            path=f"app/{name}",
            call=lambda world, name=name: getattr(world.client.account, name)(),  # type: ignore[misc]
            sends=TOKEN,
            refused=WITHOUT_TOKEN,
            answers=MESSAGE,
        )
        for name in ("enable_premium", "disable_premium", "enable_long_filenames", "disable_long_filenames")
    ),
    Endpoint(
        name="purchases",
        method="GET",
        path="purchases",
        call=lambda world: world.client.account.purchases(limit=1, status="completed"),
        sends={**TOKEN, "limit": "1", "offset": "0", "status": "completed"},
        refused={**WITHOUT_TOKEN, "limit": "many"},
        changes={"offset": "1", "status": "refunded"},
        answers=under(
            "data.0",
            {name: name for name in ("id", "status", "credits", "amount", "currency", "created_at", "updated_at")},
            "0",
        ),
    ),
    Endpoint(
        name="credit alert",
        method="GET",
        path="credit_alert",
        call=lambda world: world.client.account.credit_alert(),
        sends=TOKEN,
        refused=WITHOUT_TOKEN,
        answers={"data.credit_threshold": "credit_threshold"},
    ),
    Endpoint(
        name="set the credit alert",
        method="POST",
        path="credit_alert",
        call=lambda world: world.client.account.set_credit_alert(25),
        sends={**TOKEN, "credit_threshold": "25"},
        refused={**WITHOUT_TOKEN, "credit_threshold": "-1"},
        answers={"success": "success"},
    ),
    Endpoint(
        name="quality queue",
        method="GET",
        path="quality_checker/queue",
        call=_quality_queue,
        sends={"start": "0", "limit": "1"},
        changes={"start": "1", "limit": "2"},
        answers=under("0", QUALITY),
    ),
    Endpoint(
        name="leaderboard",
        method="GET",
        path="quality_checker/leaderboard",
        call=_leaderboard,
        sends={"dataset_type": "1", "start": "0", "limit": "1", "algo_name_filter": "Model", "sort": "sdr_bass"},
        changes={
            "dataset_type": "2",
            "start": "1",
            "limit": "2",
            "algo_name_filter": "Nothing",
            "sort": "sdr_vocals",
        },
        answers={
            **under("data.0", QUALITY, "entries.0"),
            "dataset_type": "dataset_type",
            "sortables": "sortables",
            "sort": "sort",
        },
    ),
    Endpoint(
        name="quality add",
        method="POST",
        path="quality_checker/add",
        call=_quality_add,
        sends={
            **TOKEN,
            "zipfile": None,
            "algo_name": "My Model",
            "main_text": "A model",
            "dataset_type": "1",
            "ensemble": "1",
            "password": "secret",
        },
        refused={**WITHOUT_TOKEN, "zipfile": None, "algo_name": "", "main_text": "", "ensemble": "perhaps"},
        proven_by={"dataset_type": "quality_checker/leaderboard", "password": "quality_checker/delete"},
    ),
    Endpoint(
        name="quality entry",
        method="GET",
        path="quality_checker/entry",
        call=_quality_entry,
        sends={"id": None},
        refused={"id": "1"},
        answers=QUALITY,
    ),
    Endpoint(
        name="quality delete",
        method="POST",
        path="quality_checker/delete",
        call=_quality_delete,
        sends={"id": None, "password": "secret"},
        refused={"id": "1", "password": "wrong"},
        answers={"success": "success", "data.message": "message"},
    ),
)
