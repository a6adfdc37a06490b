"""The registry of commands. A module of commands is imported when one of them is run, not before."""

from __future__ import annotations

from typing import Final

from cyclopts import App, Group, Parameter

from mvsep_async._version import __version__

__all__ = ["COMMANDS", "app"]

_SONGS: Final = Group("Separating", sort_key=1)
_TRY: Final = Group("Trying it", sort_key=2)
_KNOW: Final = Group("Looking things up", sort_key=3)
_ACCOUNT: Final = Group("The account", sort_key=4)
_SELF: Final = Group("This program", sort_key=5)

COMMANDS: Final[tuple[tuple[str, str, Group, str], ...]] = (
    ("separate", "commands.separate:separate", _SONGS, "Separate songs: files, folders, addresses."),
    ("library", "commands.library:library", _SONGS, "Keep a folder of stems up to date with a folder of music."),
    ("recipe", "commands.recipe:recipe", _SONGS, "Chains of separations: run them, check them."),
    ("status", "commands.service_jobs:status", _SONGS, "Show where a job stands."),
    ("watch", "commands.service_jobs:watch", _SONGS, "Follow jobs that were started elsewhere until they are over."),
    (
        "download",
        "commands.service_jobs:download",
        _SONGS,
        "Fetch the stems of jobs, waiting for those that are not over.",
    ),
    ("cancel", "commands.service_jobs:cancel", _SONGS, "Cancel jobs; credits come back for what is not yet processed."),
    ("jobs", "commands.jobs:jobs", _SONGS, "List, resume or prune the jobs of a journal."),
    ("demo", "commands.demo:demo", _TRY, "See it at work, without an account: a few songs and a local sandbox."),
    ("sandbox", "commands.sandbox:sandbox", _TRY, "Run a local sandbox, for programs of your own."),
    ("algorithms", "commands.algorithms:algorithms", _KNOW, "List, search and explain the algorithms."),
    ("estimate", "commands.estimate:estimate", _KNOW, "Say what separating songs would cost."),
    ("queue", "commands.site:queue", _KNOW, "Show how busy the service is."),
    ("news", "commands.site:news", _KNOW, "Read the service's news."),
    ("demo-page", "commands.site:demo_page", _KNOW, "List separations that their makers made public."),
    ("quality", "commands.quality:quality", _KNOW, "The quality checker: measured separations."),
    ("account", "commands.account:account", _ACCOUNT, "Show the account, and switch its settings."),
    ("history", "commands.account:history", _ACCOUNT, "List what the account has separated."),
    ("login", "commands.login:login", _ACCOUNT, "Get the API token, and keep it for later commands."),
    ("register", "commands.login:register", _ACCOUNT, "Make a new account."),
    ("config", "commands.config:config", _SELF, "Show the configuration, and where each value comes from."),
    ("completion", "commands.completion:completion", _SELF, "Print or install the completion script of a shell."),
)
"""Name, `module:object` below `mvsep_async.cli`, group, help. This is the one place where a command is added."""


def _default(value: object) -> str | None:
    """Show a default in the help only where it says something."""
    return None if value is False or value is None or value == () or value == "" else str(value)


app: Final = App(
    name="mvsep-async",
    help="The client for MVSEP, the service that splits songs into stems.",
    version=__version__,
    help_format="markdown",
    default_parameter=Parameter(negative=(), show_default=_default),
    result_action="return_value",
)
for _name, _place, _group, _help in COMMANDS:
    app.command(f"mvsep_async.cli.{_place}", name=_name, group=_group, help=_help)
app["--help"].group = _SELF
app["--version"].group = _SELF
