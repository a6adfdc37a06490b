"""The user's configuration file: read strictly, written atomically and readable by its owner only."""

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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from platformdirs import PlatformDirs

from mvsep_async.cli.exits import UsageProblem

__all__ = [
    "KEYS",
    "cache_folder",
    "config_path",
    "expand_home",
    "exposed",
    "read",
    "read_table",
    "remove",
    "state_folder",
    "write",
]

KEYS: Final = ("token", "base_url", "region", "out", "format", "algorithm", "journal", "shared_files", "limit_rate")
"""What the file may hold, at its top and in each `[profile.NAME]`; all of it text."""

_Section: TypeAlias = dict[str, Any]
"""The settings at the top of the file, or those of one profile: text, and a table for each of `_TABLES`."""

_DIRS: Final = PlatformDirs("mvsep-async", appauthor=False)
_PROFILE: Final = "profile"
_TABLES: Final = ("library",)
"""Tables of settings of one command, at the top and in a profile; the command checks what they hold."""
_TABLE: Final = re.compile(r"^\s*\[", re.MULTILINE)


def config_path() -> Path:
    """Return where the file is: `~/.config/mvsep-async/config.toml`, or the platform's own place."""
    with _home():
        return _DIRS.user_config_path / "config.toml"


def cache_folder() -> Path:
    """Return where the catalogue is kept from one command to the next."""
    with _home():
        return _DIRS.user_cache_path


def state_folder() -> Path:
    """Return the folder for state, such as the journals."""
    with _home():
        return _DIRS.user_state_path


def expand_home(path: str) -> Path:
    """Return the path with `~` expanded; raises `UsageProblem` without a home directory."""
    with _home():
        return Path(path).expanduser()


@contextlib.contextmanager
def _home() -> Iterator[None]:
    """Explain the error of a user without a home directory, as in a container with any user id."""
    try:
        yield
    except RuntimeError as error:
        raise UsageProblem(
            f"{error}: this user has no home directory, so set HOME to a folder that can be written to"
        ) from None


def read(path: Path, profile: str | None = None) -> dict[str, str]:
    """Return the file's values, with those of a profile overriding the top-level ones; empty if there is no file.

    Raises `UsageProblem` for a file that cannot be read or understood, and for a profile that it does not have.
    """
    top, own = _sections(path, profile)
    return {key: value for key, value in (top | own).items() if key not in _TABLES}


def read_table(path: Path, name: str, profile: str | None = None) -> dict[str, Any]:
    """Return the settings of one command, unchecked, with those of a profile overriding the top-level ones."""
    top, own = _sections(path, profile)
    return {**top.get(name, {}), **own.get(name, {})}


def write(path: Path, key: str, value: str, profile: str | None = None) -> None:
    """Set one key, at the top or in a profile, and leave the rest as it is; the file is replaced at once (mode 0600).

    Raises `UsageProblem` where the file cannot be understood or written.
    """
    # TOML's basic strings take what JSON's do, except DEL.
    quoted = json.dumps(value, ensure_ascii=False).replace(chr(127), "\\u007f")
    _edit(path, key, f"{key} = {quoted}", {key: value}, profile)


def remove(path: Path, key: str, profile: str | None = None) -> bool:
    """Remove one key, at the top or in a profile; return whether it was there."""
    if key not in _parsed(_text(path), path).get(profile, {}):
        return False
    _edit(path, key, None, {}, profile)
    return True


def exposed(path: Path) -> bool:
    """Tell whether others than its owner may read the file."""
    if sys.platform == "win32":
        return False
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except OSError:
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise UsageProblem(f"the configuration file {path} is not UTF-8 text") from None
    except OSError as error:
        raise UsageProblem(f"the configuration file {path} cannot be read: {error.strerror}") from None


def _sections(path: Path, profile: str | None) -> tuple[_Section, _Section]:
    """Return the top of the file, and the profile; without one, an empty section."""
    sections = _parsed(_text(path), path)
    if profile is not None and profile not in sections:
        known = ", ".join(filter(None, sections)) or "none"
        raise UsageProblem(f"the configuration file {path} has no [profile.{profile}]; profiles in it: {known}")
    return sections[None], {} if profile is None else sections[profile]


def _parsed(text: str, path: Path) -> dict[str | None, _Section]:
    """Return each profile by its name, and the top of the file as that of `None`."""
    try:
        known = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageProblem(f"the configuration file {path} is not valid TOML: {error}") from None
    profiles = known.pop(_PROFILE, {})
    if not isinstance(profiles, dict) or not all(isinstance(one, dict) for one in profiles.values()):
        raise UsageProblem(
            f"the configuration file {path} has a value {_PROFILE!r} that is not a table: write [profile.NAME]"
        )
    return {name: _checked(one, path) for name, one in {None: known, **profiles}.items()}


def _checked(values: Mapping[str, Any], path: Path) -> _Section:
    checked: _Section = {}
    for key, value in values.items():
        if key in _TABLES:
            if not isinstance(value, dict):
                raise UsageProblem(
                    f"the configuration file {path} has a value {key!r} that is not a table: write [{key}]"
                )
            checked[key] = value
            continue
        if key not in KEYS:
            near = difflib.get_close_matches(key, (*KEYS, *_TABLES), 1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(KEYS)}"
            raise UsageProblem(f"the configuration file {path} has the unknown key {key!r}: {hint}")
        if key in ("algorithm", "limit_rate") and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        elif key == "journal" and value is False:
            value = "off"
        elif key == "shared_files" and isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str):
            raise UsageProblem(f'the configuration file {path} has a value {key!r} that is not text: write {key} = "…"')
        checked[key] = value
    return checked


def _edit(path: Path, key: str, line: str | None, change: Mapping[str, str], profile: str | None) -> None:
    """Replace, add or remove one key's line, then check that nothing else changed."""
    before = _text(path)
    after = _with(before, key, line, profile)
    sections = _parsed(before, path)
    section = sections.setdefault(profile, {})
    section.pop(key, None)
    section.update(change)
    if _parsed(after, path) != sections:
        raise UsageProblem(f"{key} cannot be changed in {path} without changing the rest: edit the file by hand")
    _replace(path, after)


def _replace(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise UsageProblem(f"the configuration file {path} cannot be written: {error.strerror}") from None


def _with(text: str, key: str, line: str | None, profile: str | None = None) -> str:
    """Return the file's text with the line of one key replaced, added or removed; its comments stay."""
    if text and not text.endswith("\n"):
        text += "\n"
    start = 0
    if profile is not None:
        quoted = re.escape(profile)
        header = re.search(rf'^[ \t]*\[{_PROFILE}\.(?:{quoted}|"{quoted}")\].*\n', text, re.MULTILINE)
        if header is None:
            name = profile if re.fullmatch(r"[A-Za-z0-9_-]+", profile) else json.dumps(profile)
            return text + (f"\n[{_PROFILE}.{name}]\n{line}\n" if line is not None else "")
        start = header.end()
    table = _TABLE.search(text, start)
    end = table.start() if table else len(text)
    found = re.compile(rf"^[ \t]*{key}[ \t]*=.*\n", re.MULTILINE).search(text, start, end)
    added = "" if line is None else line + "\n"
    if found:
        return text[: found.start()] + added + text[found.end() :]
    return text[:end] + added + text[end:]
