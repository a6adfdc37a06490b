"""`python -m mvsep_async`: the command line."""

from __future__ import annotations

import sys

from mvsep_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
