"""The user's configuration file: read strictly, written atomically and for its owner's eyes only."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import stat
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mvsep_async.cli.exits import UsageProblem

__all__ = ["KEYS", "cache_folder", "config_path", "exposed", "read", "write"]

KEYS: Final = ("token", "base_url", "out", "format", "algorithm")
"""What the file may hold, all of it text."""

_APP: Final = "mvsep-async"
_TABLE: Final = re.compile(r"^\s*\[", re.MULTILINE)


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the file is: below `XDG_CONFIG_HOME` (by default `~/.config`), on Windows below `APPDATA`."""
    return _base(environ, "XDG_CONFIG_HOME", ".config", "APPDATA") / _APP / "config.toml"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the catalogue is kept from one command to the next."""
    return _base(environ, "XDG_CACHE_HOME", ".cache", "LOCALAPPDATA") / _APP


def read(path: Path) -> dict[str, str]:
    """Return what the file says, nothing where there is none; raises `UsageProblem` where it cannot be understood."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise UsageProblem(f"the configuration file {path} is no UTF-8 text") from None
    except OSError as error:
        raise UsageProblem(f"the configuration file {path} cannot be read: {error.strerror}") from None
    return _parsed(text, path)


def write(path: Path, key: str, value: str) -> None:
    """Set one key and leave the rest as it is: a new file (mode 0600) takes the place of the old one at once.

    Raises `UsageProblem` where the file cannot be understood or written.
    """
    before = read(path)
    after = _with(path.read_text("utf-8") if before else "", key, value)
    if _parsed(after, path) != before | {key: value}:
        raise UsageProblem(f"{key} cannot be put into {path} without a change of the rest: put it there by hand")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(after)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise UsageProblem(f"the configuration file {path} cannot be written: {error.strerror}") from None


def exposed(path: Path) -> bool:
    """Tell whether others than its owner may read the file."""
    if sys.platform == "win32":
        return False
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except OSError:
        return False


def _base(environ: Mapping[str, str], variable: str, folder: str, windows: str) -> Path:
    given = environ.get(windows if sys.platform == "win32" else variable, "")
    # A relative path in one of these is to be ignored (XDG Base Directory Specification).
    return Path(given) if Path(given).is_absolute() else Path("~").expanduser() / folder


def _parsed(text: str, path: Path) -> dict[str, str]:
    try:
        known = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageProblem(f"the configuration file {path} is no TOML: {error}") from None
    for key, value in known.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYS)}"
            raise UsageProblem(f"the configuration file {path} has the unknown key {key!r}: {hint}")
        if key == "algorithm" and isinstance(value, int) and not isinstance(value, bool):
            known[key] = str(value)
        elif not isinstance(value, str):
            raise UsageProblem(f'the configuration file {path} has a {key} that is no text: write {key} = "…"')
    return known


def _with(text: str, key: str, value: str) -> str:
    """Return the file's text with one key set, its comments kept."""
    # TOML's basic strings take what JSON's do, but for DEL.
    quoted = json.dumps(value, ensure_ascii=False).replace(chr(127), "\\u007f")
    line = f"{key} = {quoted}"
    found = re.search(rf"^[ \t]*{key}[ \t]*=.*$", text, re.MULTILINE)
    if found:
        return text[: found.start()] + line + text[found.end() :]
    table = _TABLE.search(text)
    at = table.start() if table else len(text)
    head = text[:at]
    return head + ("\n" if head and not head.endswith("\n") else "") + line + "\n" + text[at:]
