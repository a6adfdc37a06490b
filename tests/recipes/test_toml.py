from __future__ import annotations

from pathlib import Path

import pytest

from mvsep_async import OutputFormat
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.recipes import Input, RecipeError, load_recipe, read_recipe

GOOD = '''
name = "Dry lead"   # what it is called
about = """
[[step]]
algorithm = "this is only text"
"""
output_format = "flac"

[[step]]
name = "voice"
preset = "vocals"
keep = []

[[step]]
name = "lead"
algorithm = 49
input = "voice.Vocals"
keep = ["Lead vocals"]
output_format = "mp3"

[[step]]
algorithm = "Reverb Removal"
input = "lead.Lead vocals"
[step.options]
add_opt1 = 0
'''


def test_a_mark_at_the_beginning_as_windows_editors_write_it_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(GOOD, "utf-8-sig")
    assert load_recipe(path).name == "Dry lead"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my recipe.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_file_becomes_a_recipe(tmp_path: Path, catalogue: Catalogue) -> None:
    recipe = load_recipe(written(tmp_path, GOOD))
    voice, lead, dry = recipe.steps
    assert recipe.name == "Dry lead"
    assert (voice.algorithm, voice.keep, voice.output_format) == (40, (), OutputFormat.FLAC_16)
    assert (lead.input, lead.keep, lead.output_format) == (Input("voice", "Vocals"), ("Lead vocals",), OutputFormat.MP3)
    assert (dry.name, dict(dry.options), dry.keep) == ("step 3", {"add_opt1": "0"}, None)
    resolved = read_recipe(tmp_path / "my recipe.toml").resolve(catalogue)
    assert [step.algorithm for step in resolved.steps] == [40, 49, 22]


def test_a_recipe_without_a_name_is_called_after_its_file(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, "[[step]]\nalgorithm = 40")).name == "my recipe"


@pytest.mark.parametrize(
    ("old", "new", "place", "why"),
    [
        ('name = "voice"', 'nmae = "voice"', "step 1, nmae", "did you mean 'name'"),
        ('preset = "vocals"', 'preset = "vocls"', "step 1, preset", "did you mean vocals"),
        ('preset = "vocals"', 'preset = "vocals"\nalgorithm = 40', "step 1, preset", "either"),
        ('preset = "vocals"', "", "step 1", "either"),
        ("keep = []", 'keep = "Vocals"', "step 1, keep", "a list"),
        ("algorithm = 49", "algorithm = 4.9", "step 2, algorithm", "a number"),
        ("algorithm = 49", "algorithm = true", "step 2, algorithm", "a number"),
        ('name = "lead"', 'name = "voice"', "step 2, name", "two steps"),
        ('"voice.Vocals"', '"vioce.Vocals"', "step 2, input", "does not exist"),
        ('"voice.Vocals"', '"voice"', "step 2, input", "step.stem"),
        ('output_format = "mp3"', 'output_format = "mp4"', "step 2, output_format", "mp4"),
        ('output_format = "flac"', 'output_format = "flak"', "output_format", "flak"),
        ("add_opt1 = 0", "add_opt1 = [1]", "step 3, options", "a text or a number"),
        ('name = "Dry lead"', "name = 5", "name", "a text"),
        ('name = "Dry lead"', "nam = 5", "nam", "did you mean 'name'"),
    ],
)
def test_what_is_wrong_is_reported_with_its_place(tmp_path: Path, old: str, new: str, place: str, why: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}, {place}: ")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "place", "why"),
    [
        ("algorithm = 49", 'algorithm = "MVSep Karaokee"', "step 2, algorithm", "MVSep Karaoke"),
        ("algorithm = 49", "algorithm = 68", "step 2, algorithm", "two songs"),
        ('"voice.Vocals"', '"voice.Trumpet"', "step 2, input", "it has"),
        ('["Lead vocals"]', '["Lead guitar"]', "step 2, keep", "Lead vocals"),
        ("add_opt1 = 0", 'add_opt1 = "x"', "step 3, options", "add_opt1"),
        ("add_opt1 = 0", "add_opt9 = 0", "step 3, options", "add_opt9"),
    ],
)
def test_so_is_what_the_catalogue_does_not_know(
    tmp_path: Path, catalogue: Catalogue, old: str, new: str, place: str, why: str
) -> None:
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        read_recipe(path).resolve(catalogue)
    assert str(caught.value).startswith(f"{path}, {place}: ")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"name = \xff", "UTF-8"),
        (b"\nname = = 1", "line 2"),
        (b"", "no steps"),
        (b"step = 5", r"\[\[step\]\]"),
        (b"#" * (2 << 20), "too large"),
    ],
)
def test_files_that_are_no_recipes(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=why) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
