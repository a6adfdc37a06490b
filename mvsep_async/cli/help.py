"""Print the help of a command: what people need on one screen, and with `--help-all` everything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from cyclopts import App, Group
from docstring_parser import parse
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import ConsoleOptions

__all__ = ["ADVANCED", "COMMON", "FLAGS", "OPTIONS", "print_help"]

_ALL: Final = "--help-all"
FLAGS: Final = ("--help", "-h", _ALL)

OPTIONS: Final = Group("Options", sort_key=2)
ADVANCED: Final = Group("More options", sort_key=50)
COMMON: Final = Group("Common options", sort_key=100)
"""What the options of a command are grouped by. Only `--help-all` explains the last two groups; the names of the last
one, which every command has, are not repeated on each page."""

_WIDEST: Final = 24
"""Columns for the names of options; longer ones have their text on the next line."""
_LONGEST: Final = 100
"""Columns of a line that is still easy to read."""
_NARROWEST: Final = 20


def print_help(app: App, words: Sequence[str], console: Console) -> None:
    """Print the help of the command that `words` begin with; with `--help-all` among them, of all its options."""
    chain, apps, _ = app.parse_commands([word for word in words if word not in FLAGS])
    command = apps[-1].default_command
    page = _Page(full=_ALL in words, command=None if inspect.ismethod(command) else command)
    app.help_formatter = page
    app.help_print(list(chain), console=console)
    page.print_footer(console, [app.name[0], *chain], root=len(apps) == 1)


@define(eq=False)
class _Page:
    """Writes one page, in the calls that cyclopts makes of a help formatter."""

    full: bool
    command: Callable[..., Any] | None
    _hidden: list[str] = field(factory=list)
    """Names of options of the command itself that the page does not explain."""
    _shortened: bool = False

    def render_usage(self, console: Console, options: ConsoleOptions, usage: object) -> None:
        """Print the first line, with the names of what the command takes."""
        names = " ".join(_positional(self.command))
        text = f"Usage: {usage}".strip().replace("[ARGS...]", names).replace("[ARGS]", names)
        console.print(Text(text, style="bold"), soft_wrap=True)
        console.print()

    def render_description(self, console: Console, options: ConsoleOptions, description: object) -> None:
        """Print what the command does; on the full page, all of its description."""
        text = _plain(description, console)
        width = min(console.width, _LONGEST)
        for line in wrap(text, width, break_on_hyphens=False):
            console.print(line)
        about = parse(self.command.__doc__ or "").long_description if self.command and self.full else None
        for paragraph in (about or "").split("\n\n"):
            lines = wrap(paragraph, width, break_on_hyphens=False)
            if lines:
                console.print()
            for line in lines:
                console.print(line)
        console.print()

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a group of options or commands, or note their names for the end of a short page."""
        if not panel.entries:
            return
        if panel.title in (ADVANCED.name, COMMON.name) and not self.full:
            self._shortened = True
            self._hidden += [entry.names[0] for entry in panel.entries if panel.title == ADVANCED.name]
            return
        if panel.title not in ("Arguments", "Parameters", OPTIONS.name) or self.full:
            # Apps below others have cyclopts' own name for this group.
            title = OPTIONS.name if panel.title == "Parameters" else panel.title
            console.print(Text(f"{title}:", style="bold"))
        rows = [(_name(entry), self._text(entry, console)) for entry in panel.entries if entry.display_labels]
        indent = max((len(name) for name, _ in rows if len(name) <= _WIDEST), default=0) + 4
        for name, text in rows:
            left = f"  {name}"
            if len(left) + 2 > indent:
                console.print(Text(left, style="bold"), soft_wrap=True)
                left = ""
            for line in wrap(text, max(_NARROWEST, min(console.width, _LONGEST) - indent), break_on_hyphens=False) or [
                ""
            ]:
                console.print(Text.assemble((left.ljust(indent), "bold"), line), soft_wrap=True)
                left = ""
        console.print()

    def print_footer(self, console: Console, command: Sequence[str], *, root: bool) -> None:
        """Print where the rest is explained."""
        if root:
            console.print("`mvsep-async COMMAND --help` explains a command. First: `mvsep-async login`.")
        elif self._shortened:
            names = f": {', '.join(self._hidden)}, and those of every command" if self._hidden else ""
            for line in wrap(f"{_ALL} explains all options{names}.", console.width - 1, break_on_hyphens=False):
                console.print(line)

    def _text(self, entry: HelpEntry, console: Console) -> str:
        text = _plain(entry.description, console)
        if not self.full:
            first, stop, _ = text.partition(". ")
            return first + stop.strip()
        missing = [choice for choice in entry.choices or () if choice not in text]
        text += f" One of {', '.join(entry.choices or ())}." if missing else ""
        return text + (f" By default {entry.default}." if entry.default else "")


def _name(entry: HelpEntry) -> str:
    """Return how an option is written: `-a, --algorithm NAME`."""
    if entry.positional_label:
        return entry.positional_label
    names = [*entry.shorts, *entry.names] or list(entry.display_labels)
    indent = "" if entry.shorts or not entry.names[0].startswith("--") else "    "
    return indent + ", ".join(names) + (f" {entry.metavar.removesuffix('...')}" if entry.metavar else "")


def _positional(command: Callable[..., Any] | None) -> list[str]:
    """Return the names of a command's arguments as a usage line has them."""
    found = []
    for parameter in inspect.signature(command).parameters.values() if command else ():
        name = parameter.name.upper()
        if parameter.kind is parameter.VAR_POSITIONAL:
            found.append(f"{name}...")
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            found.append(name if parameter.default is parameter.empty else f"[{name}]")
    return found


def _plain(text: Any, console: Console) -> str:
    """Return what cyclopts made of a help text as plain text on one line."""
    if text is None:
        return ""
    lines = console.render_lines(text, console.options.update(width=10_000), pad=False)
    return " ".join(" ".join("".join(segment.text for segment in line) for line in lines).split())
