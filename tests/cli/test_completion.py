"""Completion, by the shells themselves where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from mvsep_async.cli.commands.completion import Shell, completion_script
from tests.cli.conftest import Cli

CASES = [
    (["sep"], "separate"),
    (["separate", "-f", "flac2"], "flac24"),
    (["separate", "--preset", "kar"], "karaoke"),
    (["separate", "-a", "MelBand"], "MelBand Roformer"),
    (["separate", "my"], "my songs/"),
    (["separate", "my songs/a"], "my songs/a song.wav"),
    (["algorithms", "show", "MelBand"], "MelBand Roformer"),
    (["more", "config", "set", "jour"], "journal"),
]


@pytest.fixture(autouse=True)
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a song in a folder, and the program on the path."""
    (home / "my songs").mkdir()
    (home / "my songs" / "a song.wav").touch()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return home


def completed(command: list[str], script: str) -> str:
    return subprocess.run(command, input=script, stdout=subprocess.PIPE, text=True, check=False).stdout


script_of = cache(completion_script)
"""cyclopts needs a second for a script."""


def script_file(shell: Shell, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script_of(shell), "utf-8")
    return path


BASH = """
source {script}
COMP_WORDS=(mvsep-async {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1))
_mvsep_async
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="there is no bash")
@pytest.mark.parametrize(("words", "wanted"), CASES)
def test_bash(folder: Path, tmp_path: Path, words: list[str], wanted: str) -> None:
    script = script_file("bash", tmp_path / "script")
    given = " ".join(f"'{word}'" for word in words)
    out = completed(["bash", "--norc"], BASH.format(script=script, words=given))
    # What is a file name, bash itself quotes, and ends with a slash where it is a folder.
    assert out.splitlines() in ([wanted.replace(" ", "\\ ")], [wanted.removesuffix("/")])


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@pytest.mark.parametrize(("words", "wanted"), CASES)
def test_fish(folder: Path, tmp_path: Path, words: list[str], wanted: str) -> None:
    script = script_file("fish", tmp_path / "script.fish")
    line = " ".join(word.replace(" ", "\\ ") for word in ["mvsep-async", *words])
    out = completed(["fish", "--no-config"], f"source {script}\ncomplete -C {line!r}\n")
    assert [one.split("\t")[0] for one in out.splitlines()] == [wanted]


# What was completed becomes a comment, so that the command does not run.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1='%% '; bindkey -e; setopt interactivecomments; fpath=({folder} \$fpath)"
zpty -w shell "autoload -Uz compinit; compinit -u -D; print READY"
while zpty -r shell line; do [[ "$line" == READY* ]] && break; done
zpty -w -n shell $'{line}\t'
zpty -w shell $'\x01#'
zpty -w shell 'print -r -- "<<END>>"'
while zpty -r shell line; do print -r -- "$line"; [[ "$line" == *"<<END>>"* && "$line" != *print* ]] && break; done
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
@pytest.mark.parametrize(("words", "wanted"), CASES)
def test_zsh(folder: Path, tmp_path: Path, words: list[str], wanted: str) -> None:
    script = script_file("zsh", tmp_path / "functions" / "_mvsep-async")
    line = " ".join(word.replace(" ", "\\\\ ") for word in ["mvsep-async", *words])
    out = completed(["zsh", "-f"], ZSH.format(folder=script.parent, line=line))
    assert wanted.rstrip("/").replace(" ", "\\ ").removeprefix(words[-1].replace(" ", "\\ ")) in out


def test_what_to_do_for_zsh_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    ran = cli("completion", "zsh", "--install")
    assert ran.code == 0
    folder = tmp_path / ".zsh" / "completions"
    assert f"fpath=({folder} $fpath); autoload -Uz compinit && compinit\n" in ran.err
    (tmp_path / ".zshrc").write_text("autoload -Uz compinit\ncompinit\n")
    said = cli("completion", "zsh", "--install").err
    assert f"before compinit: fpath=({folder} $fpath)\nthen start a new shell\n" in said
    assert [path.read_text("utf-8") for path in folder.iterdir()] == [script_of("zsh")]
