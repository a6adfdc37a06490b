"""`mvsep-async recipe`, as a person and as a program use it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from mvsep_async import MVSepClient, TransportError
from mvsep_async.recipes import Recipe, RecipeResult
from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import Cli, cli, home, service, songs

__all__ = ["cli", "home", "service", "songs"]

RECIPE = """
[[step]]
name = "voice"
preset = "vocals"
keep = []

[[step]]
name = "lead"
algorithm = "MVSep Karaoke"
input = "voice.Vocals"
"""
KARAOKE_STEMS = ("Lead vocals", "Back vocals", "Instrumental only", "Back vocals + instrumental")


@pytest.fixture(autouse=True)
def recipe(home: Path) -> Path:
    path = home / "r.toml"
    path.write_text(RECIPE)
    return path


def test_songs_go_through_a_recipe(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    ran = cli("recipe", "run", "r.toml", *songs, "none.wav", "--out", "out", "--json", "--poll-interval", "0.05")
    assert ran.code == 1
    by_source = {one["source"]: one for one in ran.documents}
    assert set(by_source) == {*songs, "none.wav"}
    assert by_source["none.wav"]["status"] == "failed"
    for song in songs:
        files = [home / "out" / Path(song).stem / f"{stem}.mp3" for stem in KARAOKE_STEMS]
        assert by_source[song]["files"] == [str(file) for file in files]
        assert all(file.read_bytes() == Path(song).read_bytes() for file in files)
    assert len(service.jobs) == 6


def test_a_song_that_finds_the_service_away_does_not_end_the_others(
    cli: Cli, service: Sandbox, songs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("mvsep_async.cli.commands.recipe")
    whole = module.run_recipe

    async def away(client: MVSepClient, recipe: Recipe, source: str, *rest: Any, **more: Any) -> RecipeResult:
        if source == songs[0]:
            raise TransportError("no connection")
        return await whole(client, recipe, source, *rest, **more)

    monkeypatch.setattr(module, "run_recipe", away)
    ran = cli("recipe", "run", "r.toml", *songs, "--json", "--poll-interval", "0.05")
    assert ran.code == 1
    assert {one["source"] for one in ran.documents if one["status"] == "failed"} == {songs[0]}
    assert len(ran.documents) == len(songs)


def test_with_a_journal_nothing_is_paid_twice(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    for _ in range(2):
        ran = cli("recipe", "run", "r.toml", songs[0], "--journal", "j.sqlite", "--poll-interval", "0.05")
        assert ran.code == 0, ran.err
    assert len(service.jobs) == 2


def test_a_recipe_is_checked_without_being_run(cli: Cli, service: Sandbox) -> None:
    ran = cli("recipe", "check", "r.toml", "--minutes", "3")
    assert ran.code == 0
    assert "voice.Vocals" in ran.out
    assert "a song of 3 minutes: 6 credits" in ran.err
    assert [step["algorithm"] for step in cli("recipe", "check", "r.toml", "--json").document] == [40, 49]
    assert not service.jobs


def test_a_mistake_is_reported_with_its_place(cli: Cli, service: Sandbox, recipe: Path) -> None:
    recipe.write_text(RECIPE.replace("voice.Vocals", "voice.Trumpet"))
    for words in (("check", "r.toml"), ("run", "r.toml", "song.wav")):
        ran = cli("recipe", *words)
        assert ran.code == 2
        assert "r.toml, step 2, input: step 'voice' has no stem 'Trumpet'" in ran.err
        stems = ran.err.partition("it has ")[2].strip().casefold().split(", ")
        assert len(stems) == len(set(stems)), "each stem once, however the catalogue spells it"
    assert cli("recipe", "run", "r.toml").code == 2
    assert cli("recipe", "check", "r.toml", "--minutes", "0").code == 2


def test_presets_are_listed(cli: Cli) -> None:
    assert "karaoke" in cli("recipe", "presets").out
    assert {"name": "vocals", "algorithm": 40} in [
        {"name": one["name"], "algorithm": one["algorithm"]} for one in cli("recipe", "presets", "--json").document
    ]
