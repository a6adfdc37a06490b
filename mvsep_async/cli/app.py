"""The registry of commands. The module of a command is imported when the command is run, not before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cyclopts import App, Group, Parameter

from mvsep_async._version import __version__
from mvsep_async.cli.help import FLAGS, OPTIONS

__all__ = ["ALIASES", "COMMANDS", "COMPLETE", "app"]

COMPLETE: Final = "__complete"
"""The word that cyclopts' completion scripts call the program with."""

_COMMANDS: Final = Group("Commands", sort_key=1)

COMMANDS: Final[tuple[tuple[str, str, str], ...]] = (
    ("separate", "separate:separate", "Separate songs into stems: files, folders, links."),
    ("library", "library:library", "Keep a folder of stems up to date with a folder of music."),
    ("jobs", "jobs:jobs", "List, follow, fetch and cancel jobs."),
    ("algorithms", "algorithms:algorithms", "List, search and explain the algorithms."),
    ("account", "account:account", "Log in, see credits and history, change settings."),
    ("demo", "demo:demo", "Try it without an account, on songs made for it."),
    ("service queue", "site:queue", "Show how busy the service is."),
    ("service news", "site:news", "Read the service's news."),
    ("service demo-page", "site:demo_page", "List separations that were published."),
    ("service quality", "quality:quality", "The quality checker: measured separations."),
    ("more recipe", "recipe:recipe", "Run and check chains of separations."),
    ("more estimate", "estimate:estimate", "Show what separating songs would cost."),
    ("more sandbox", "sandbox:sandbox", "Run a local sandbox, for programs of your own."),
    ("more mcp", "mcp:mcp", "Let an assistant separate songs: an MCP server."),
    ("more journal", "journal:journal", "Show the journal, or move it into PostgreSQL and back."),
    ("more config", "config:config", "Show and change the configuration."),
    ("more completion", "completion:completion", "Print or install shell completion."),
)
"""Words, `module:object` below `mvsep_async.cli.commands`, help. This is the one place where a command is added."""

ALIASES: Final[Mapping[str, str]] = {
    **{name: f"jobs {name}" for name in ("status", "watch", "download", "cancel")},
    **{name: f"account {name}" for name in ("login", "logout", "register", "history")},
    **{words.split()[1]: words for words, _, _ in COMMANDS if " " in words},
}
"""Shorter names of commands that stand below others in the help."""


def _default(value: object) -> str | None:
    """Show a default in the help only where it says something."""
    return None if value is False or value is None or value == () or value == "" else str(value)


app: Final = App(
    name="mvsep-async",
    help="Separate songs into vocals, drums, bass and more with MVSEP.",
    version=__version__,
    help_flags=FLAGS,
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=_default),
    result_action="return_value",
    group_commands=_COMMANDS,
    group_parameters=OPTIONS,
)
_below: Final = {
    "service": App(
        name="service",
        help="Public pages of the service: queue, news, quality checker.",
        help_flags=FLAGS,
        sort_key=8,
    ),
    "more": App(
        name="more", help="Recipes, prices, sandbox, MCP, configuration, completion.", help_flags=FLAGS, sort_key=9
    ),
}
for _index, (_words, _module, _help) in enumerate(COMMANDS):
    _parent, _, _name = _words.rpartition(" ")
    (_below[_parent] if _parent else app).command(
        f"mvsep_async.cli.commands.{_module}", name=_name, help=_help, sort_key=_index
    )
for _app in _below.values():
    app.command(_app)
app["--help"].group = OPTIONS
app["--help"].help = "Explain a command; --help-all has all its options."
app["--version"].group = OPTIONS
app["--version"].help = "Print the version."
