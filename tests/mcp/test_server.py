"""What an assistant can and cannot do with `mvsep-async mcp`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from mvsep_async.sandbox import Sandbox
from tests.client.support import paid, until
from tests.mcp.conftest import Assistant, text_of

pytestmark = pytest.mark.slow


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    """Call a tool that succeeds, and return its structured result."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    structured: Any = result.structured_content
    return structured.get("result", structured)


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that fails, and return its one line."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    text = text_of(result)
    assert "\n" not in text
    return text


async def test_an_assistant_finds_estimates_and_separates_a_song(
    sandbox: Sandbox, assistant: Assistant, music: Path
) -> None:
    async with assistant(sandbox) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {
            "list_songs", "search_algorithms", "describe_algorithm", "estimate", "separate", "status", "download",
            "cancel",
        }  # fmt: skip
        assert str(music) in (client.instructions or "")
        [song] = (await call(client, "list_songs", words="SONG 2"))["songs"]
        assert song == str(music / "song 2.wav")

        best, *_ = await call(client, "search_algorithms", words="karaoke")
        assert "karaoke" in best["name"].lower()
        presets = await call(client, "search_algorithms")
        assert {"vocals", "Vocals"} & {stem for one in presets for stem in one["stems"]}
        assert all("\n  " not in (tool.description or "") for tool in tools.values())
        assert await call(client, "describe_algorithm", algorithm=40)
        details = await call(client, "describe_algorithm", algorithm="BS Roformer")
        assert details["algorithm"]["sep_type"] == 40
        assert details["options"][0]["choices"]

        model = details["options"][0]
        options = {model["name"]: int(next(iter(model["choices"])))}
        assert await call(client, "estimate", songs=[song], algorithm=40, options=options)
        estimate = await call(client, "estimate", songs=[str(music)])
        assert (estimate["credits"], estimate["credits_left_of_limit"]) == (5, 20)

        told: list[tuple[float, float | None, str | None]] = []

        async def progress(value: float, total: float | None, message: str | None) -> None:
            told.append((value, total, message))

        result = await client.call_tool("separate", {"song": song}, progress_callback=progress)
        assert not result.is_error, text_of(result)
        done: Any = result.structured_content
        assert done["done"]
        assert done["error"] is None
        assert [Path(file).relative_to(music) for file in done["files"]] == [
            Path("stems/song 2/Vocals.mp3"), Path("stems/song 2/Other.mp3"),
        ]  # fmt: skip
        assert all(Path(file).stat().st_size for file in done["files"])
        values = [value for value, _, _ in told]
        assert len(values) > 2
        assert values == sorted(set(values))
        assert all(total == 100 for _, total, _ in told)
        assert told[-1][2] is not None
        assert "100%" in told[-1][2]

        [state] = await call(client, "status", job=done["job"])
        assert state["state"] == "finished"
        # The same call again is answered from the journal.
        again = await call(client, "separate", song=song)
        assert again["job"] == done["job"]
        assert (await call(client, "estimate", songs=[song]))["credits_left_of_limit"] == 18
    assert paid(sandbox) == 1


async def test_credits_are_bounded_over_the_life_of_the_server_and_before_an_upload(
    held: Sandbox, assistant: Assistant, music: Path
) -> None:
    async with assistant(held, "--max-credits", "4") as client:
        answers: list[Any] = []

        async def separate(song: str, **more: Any) -> None:
            answers.append(await client.call_tool("separate", {"song": song, "wait_seconds": 0, **more}))

        async with anyio.create_task_group() as tasks:  # 3 and 3 and 3 and 3 credits at the same moment
            for format in ("mp3", "flac16", "wav16", "m4a"):
                tasks.start_soon(lambda format=format: separate("song 3.wav", output_format=format))
        refused = [text_of(answer) for answer in answers if answer.is_error]
        assert len(refused) == 3
        assert all("would cost 3 credits, and 1 of the limit of 4 are left" in text for text in refused)
        await until(lambda: held.jobs)
        assert "would cost 2 credits" in await refusal(client, "separate", song="song 2.wav")
        [listed] = [one for one in await call(client, "status") if not one["done"]]
        # A job that is repeated is not reserved for again; one that was cancelled at the service counts on.
        accepted = next(answer for answer in answers if not answer.is_error).structured_content
        assert listed["job"] == accepted["job"]
        cancelled = await call(client, "cancel", job=accepted["job"])
        assert cancelled["state"] == "cancelled"
        assert "1 of the limit of 4" in await refusal(client, "separate", song="song 2.wav")
    assert paid(held) == 1


async def test_a_call_that_is_repeated_while_the_song_is_separated_is_one_job(
    held: Sandbox, assistant: Assistant
) -> None:
    async with assistant(held) as client:
        both: list[Any] = []

        async def separate() -> None:
            both.append(await call(client, "separate", song="song 2.wav", wait_seconds=0.05))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(separate)
            tasks.start_soon(separate)
        first, second = both
        assert first["job"] == second["job"]
        assert not first["done"]
        await until(lambda: held.jobs)
        held.finish(held.jobs[0].hash)
        done = await call(client, "download", job=first["job"], stems=["vocals"], out="voices")
        assert [Path(file).parts[-3:] for file in done["files"]] == [("voices", "song 2", "Vocals.mp3")]
    assert paid(held) == 1


async def test_only_the_named_folders_are_read_and_written(
    sandbox: Sandbox, assistant: Assistant, music: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "private"
    outside.mkdir()
    (outside / "secret.wav").write_bytes((music / "song 2.wav").read_bytes())
    (music / "link.wav").symlink_to(outside / "secret.wav")
    (music / "linked").symlink_to(outside)
    (music / "notes.txt").write_text("no song")
    async with assistant(sandbox) as client:
        for path in (
            str(outside / "secret.wav"), "../private/secret.wav", "link.wav", "linked/secret.wav", "/etc/passwd",
        ):  # fmt: skip
            assert "outside the folders" in await refusal(client, "separate", song=path)
            assert "outside the folders" in await refusal(client, "estimate", songs=[path])
        (music / "stems").symlink_to(outside)
        (music / "voices").mkdir()
        (music / "voices" / "song 2").symlink_to(outside)
        for folder in (str(outside), "../private", "linked", "linked/new", "voices", None):
            assert "outside the folders" in await refusal(client, "separate", song="song 2.wav", out=folder)
        assert "is text, not audio" in await refusal(client, "separate", song="notes.txt")
        assert "there is no file 'gone.wav'" in await refusal(client, "separate", song="gone.wav")
        assert "is a folder" in await refusal(client, "separate", song=".")
        listed = (await call(client, "list_songs"))["songs"]
        assert sorted(Path(song).name for song in listed) == ["song 2.wav", "song 3.wav"]
    assert paid(sandbox) == 0
    assert [path.name for path in outside.iterdir()] == ["secret.wav"]


async def test_mistakes_are_one_line_that_says_what_to_do(sandbox: Sandbox, assistant: Assistant) -> None:
    async with assistant(sandbox) as client:
        assert "BS Roformer" in await refusal(client, "separate", song="song 2.wav", algorithm="BS Rofomer")
        assert "mp3, wav16" in await refusal(client, "separate", song="song 2.wav", output_format="ogg")
        assert "Vocals" in await refusal(client, "separate", song="song 2.wav", stems=["Trumpet"])
        assert "status lists the jobs" in await refusal(client, "download", job="no-such-job")
    async with assistant(sandbox, token="no-account-has-4711") as client:
        text = await refusal(client, "separate", song="song 2.wav")
        assert "token" in text
        assert "4711" not in text


async def test_a_free_account_pays_no_credits_and_is_not_limited_by_them(
    sandbox: Sandbox, assistant: Assistant
) -> None:
    async with assistant(sandbox, "--max-credits", "0", token=sandbox.free_token) as client:
        assert (await call(client, "separate", song="song 2.wav"))["done"]


async def test_a_server_that_is_started_again_continues_with_its_jobs(held: Sandbox, assistant: Assistant) -> None:
    async with assistant(held) as client:
        first = await call(client, "separate", song="song 2.wav", wait_seconds=0)
        await until(lambda: held.jobs)
    held.finish(held.jobs[0].hash)
    async with assistant(held, "--max-credits", "0") as client:
        again = await call(client, "separate", song="song 2.wav")  # costs nothing: it is the job of the first server
        assert again["job"] == first["job"]
        assert len(again["files"]) == 2
        # Separating it once more would cost credits; the refusal leaves the job that there is.
        assert "0 of the limit of 0" in await refusal(client, "separate", song="song 2.wav", again=True)
        assert (await call(client, "separate", song="song 2.wav"))["job"] == first["job"]
    assert paid(held) == 1
