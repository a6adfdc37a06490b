from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from mvsep_async import InvalidRequestError, JobFailedError, ServiceUnavailableError
from mvsep_async.recipes import Recipe, RecipeError, Step, run_recipe
from mvsep_async.recipes.runner import Transfer
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient, wav

KEPT = {"Some Song/lead/Back vocals.mp3", "Some Song/dry/Noreverb.mp3"}


def made(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("transfer", ["url", "file"])
async def test_a_stem_of_one_is_the_song_of_the_next(
    sandbox: Sandbox, client_of: NewClient, chain: Recipe, song: Path, tmp_path: Path, transfer: Transfer
) -> None:
    stages: list[tuple[str, str]] = []
    async with client_of(sandbox) as client:
        result = await run_recipe(
            client,
            chain,
            song,
            tmp_path / "out",
            transfer=transfer,
            on_progress=lambda step, job, progress: stages.append((step.name, progress.stage.value)),
        )
    assert result.error is None
    assert made(tmp_path / "out") == KEPT, "nothing but what is kept"
    assert [(file.step, file.stem) for file in result.files] == [("lead", "Back vocals"), ("dry", "Noreverb")]
    assert all(path.read_bytes() == song.read_bytes() for path in result.paths)
    assert [job.sep_type for job in sandbox.jobs] == [40, 49, 22]
    sent = {step for step, stage in stages if stage == "uploading"}
    assert sent == ({"voice"} if transfer == "url" else {"voice", "lead", "dry"})


async def test_what_the_service_will_not_fetch_goes_by_file(
    sandbox: Sandbox, client_of: NewClient, chain: Recipe, song: Path, tmp_path: Path
) -> None:
    sandbox.faults.add(kind="refuse", path="separation/create", status=400, skip=1, body={"message": "Not from there"})
    async with client_of(sandbox) as client:
        result = await run_recipe(client, chain, song, tmp_path / "out")
    assert result.error is None
    assert made(tmp_path / "out") == KEPT


async def test_a_step_that_fails_takes_only_its_own_along(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    sandbox.fail_sep_types = frozenset({49})
    tree = Recipe(
        name="tree",
        steps=[
            Step(name="voice", algorithm=40, keep=["Vocals"]),
            Step(name="lead", algorithm=49, input="voice.Vocals"),
            Step(name="dry", algorithm=22, input="lead.Lead vocals"),
            Step(name="dry voice", algorithm=22, input="voice.Vocals"),
        ],
    )
    journal = tmp_path / "j.sqlite"
    async with client_of(sandbox, journal=journal) as client:
        result = await run_recipe(client, tree, song, tmp_path / "out", transfer="file")
        assert isinstance(result.error, JobFailedError)
        assert [(step.started, step.error is None) for step in result.steps] == [
            (True, True),
            (True, False),
            (False, False),
            (True, True),
        ]
        assert [step.files != () for step in result.steps] == [True, False, False, True]
    sandbox.fail_sep_types = frozenset()
    async with client_of(sandbox, journal=journal) as client:
        result = await run_recipe(client, tree, song, tmp_path / "out", transfer="file")
    assert result.error is None
    assert sorted(job.sep_type for job in sandbox.jobs) == [22, 22, 40, 49, 49], "only what failed is done again"
    assert all("(2)" not in name for name in made(tmp_path / "out"))


async def test_nothing_is_paid_twice(
    sandbox: Sandbox, client_of: NewClient, chain: Recipe, song: Path, tmp_path: Path
) -> None:
    for transfer in ("url", "url", "file"):
        async with client_of(sandbox, journal=tmp_path / "j.sqlite") as client:
            assert (await run_recipe(client, chain, song, tmp_path / "out", transfer=transfer)).error is None
    assert len(sandbox.jobs) == 3
    longer = evolve(chain, steps=[*chain.steps, Step(name="more", algorithm=47, input="dry.Noreverb", keep=())])
    async with client_of(sandbox, journal=tmp_path / "j.sqlite") as client:
        assert (await run_recipe(client, longer, song, tmp_path / "out")).error is None
    assert len(sandbox.jobs) == 4
    assert made(tmp_path / "out") == KEPT


async def test_a_stem_that_is_gone_is_made_again_at_the_next_try(
    sandbox: Sandbox, client_of: NewClient, chain: Recipe, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox, journal=tmp_path / "j.sqlite") as client:
        await run_recipe(client, evolve(chain, steps=[evolve(chain.steps[0], keep=["Other"])]), song, tmp_path / "out")
    sandbox.delete(sandbox.jobs[0].hash)
    async with client_of(sandbox, journal=tmp_path / "j.sqlite") as client:
        assert (await run_recipe(client, chain, song, tmp_path / "out")).error is not None
        assert (await run_recipe(client, chain, song, tmp_path / "out")).error is None
    paid = [job.sep_type for job in sandbox.jobs if job.credits > job.refunded]
    assert sorted(paid) == [22, 40, 40, 49]


async def test_a_step_that_an_outage_has_ended_is_continued_by_the_next_run(
    sandbox: Sandbox, client_of: NewClient, chain: Recipe, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox, patience=0.3) as client:
        fault = sandbox.faults.add(kind="html", path="separation/get", count=None)
        result = await run_recipe(client, chain, song, tmp_path / "out")
        assert isinstance(result.error, ServiceUnavailableError)
        sandbox.faults.remove(fault)
        result = await run_recipe(client, chain, song, tmp_path / "out")
        assert result.error is None
    assert [job.sep_type for job in sandbox.jobs] == [40, 49, 22]


async def test_what_cannot_be_is_refused_before_anything_is_sent(
    sandbox: Sandbox, client_of: NewClient, chain: Recipe, song: Path, tmp_path: Path
) -> None:
    wrong = Recipe(name="r", steps=[Step(name="a", algorithm=40), Step(name="b", algorithm=49, input="a.Trumpet")])
    async with client_of(sandbox) as client:
        with pytest.raises(RecipeError, match="Trumpet"):
            await run_recipe(client, wrong, song, tmp_path / "out")
        with pytest.raises(InvalidRequestError, match="step"):
            await run_recipe(client, chain, song, tmp_path / "out", layout="{song}/{stem}")
        with pytest.raises(InvalidRequestError, match="sng"):
            await run_recipe(client, chain, song, tmp_path / "out", layout="{sng}/{step}/{stem}")
        with pytest.raises(InvalidRequestError, match="file not found"):
            await run_recipe(client, chain, tmp_path / "none.wav", tmp_path / "out")
    assert not sandbox.jobs


async def test_bytes_and_a_layout_of_ones_own(
    sandbox: Sandbox, client_of: NewClient, chain: Recipe, tmp_path: Path
) -> None:
    async with client_of(sandbox) as client:
        result = await run_recipe(
            client, chain, wav(), tmp_path / "out", filename="my {song}.wav", layout="{algorithm}/{song} - {stem}"
        )
    assert result.error is None
    assert made(tmp_path / "out") == {
        "MVSep Karaoke/my {song} - Back vocals.mp3",
        "Reverb Removal/my {song} - Noreverb.mp3",
    }
