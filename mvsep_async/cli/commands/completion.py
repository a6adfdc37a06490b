"""`completion`: the completion script of a shell."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeAlias

from cyclopts.completion import detect_shell, get_default_completion_path

from mvsep_async.cli.config import COMMON, CommonOptions
from mvsep_async.cli.terminal import terminal

__all__ = ["completion", "completion_script"]

Shell: TypeAlias = Literal["bash", "zsh", "fish", "powershell"]

_PROGRAM: Final = "mvsep-async"

_BASH_FILES: Final = '_mvsep_async_files "${cur}"'
_BASH_FILES_FUNCTION: Final = """
_mvsep_async_files() {
  local path
  COMPREPLY=()
  compopt -o filenames 2>/dev/null
  while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen -f -- "$1")
}
"""
"""Offers the file names that begin with a word, each whole: `$(…)` would split them at spaces. With `filenames`, bash
quotes them."""

_ZSH_ENTRY: Final = """
if [[ "${zsh_eval_context[-1]}" == loadautofunc ]]; then
  _cyclopts_mvsep-async "$@"
else
  compdef _cyclopts_mvsep-async mvsep-async
fi
"""
"""Runs the completion when zsh loads the file by `fpath`, and registers it when the file is sourced."""

_STARTUP: Final = {
    "zsh": "add this line to ~/.zshrc, before compinit: fpath=({folder} $fpath)",
    "bash": "bash loads it by itself where the package bash-completion is installed; else add this line to ~/.bashrc: "
    "source {path}",
    "fish": "fish loads it by itself",
    "powershell": "add this line to your profile: . {path}",
}


def completion(
    shell: Shell | None = None,
    /,
    *,
    install: bool = False,
    common: CommonOptions = COMMON,
) -> int:
    """Print the completion script of a shell, or install it.

    It completes commands, options, files, formats, presets, algorithms (those of the list that `mvsep-async algorithms`
    stored) and the ids of jobs.

    Parameters
    ----------
    shell
        bash, zsh, fish or powershell; by default the shell that runs this command.
    install
        Write the script to where the shell looks for it, and print what else to do.
    """
    found = shell or detect_shell()
    script = completion_script(found)
    if install:
        path = get_default_completion_path(found, _PROGRAM)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script, "utf-8", newline="\n")
        terminal().note(f"installed as {path}")
        startup = _STARTUP[found].format(path=path, folder=path.parent)
        if found == "zsh" and not _initializes_completion(Path.home() / ".zshrc"):
            startup = f"add this line to ~/.zshrc: fpath=({path.parent} $fpath); autoload -Uz compinit && compinit"
        terminal().note(startup, whole=True)
        terminal().note("then start a new shell")
    else:
        terminal().out.file.write(script)
    return 0


def _initializes_completion(zshrc: Path) -> bool:
    """Tell whether zsh's own completion is turned on, as frameworks do."""
    try:
        text = zshrc.read_text("utf-8", "replace")
    except OSError:
        return False
    return "compinit" in text or "oh-my-zsh" in text


def completion_script(shell: Shell) -> str:
    """Return cyclopts' script, with what it lacks: names with spaces in bash, loading by `fpath` in zsh."""
    from mvsep_async.cli.app import app

    script = app.generate_completion(shell=shell)
    match shell:
        case "bash":
            return script.replace('COMPREPLY=( $(compgen -f -- "${cur}") )', _BASH_FILES) + _BASH_FILES_FUNCTION
        case "zsh":
            return script + _ZSH_ENTRY
        case _:
            return script
