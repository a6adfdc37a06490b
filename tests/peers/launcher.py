"""Runs the published `mvsep` command against another server. Only the address of its "main" mirror is changed.

Usage: python launcher.py BASE_URL ARGUMENTS…
"""

import sys

from mvsep_cli.config import Config

Config.MIRRORS["main"] = sys.argv.pop(1)

from mvsep_cli.__main__ import main  # noqa: E402 - the address must be there first

sys.exit(main())
