"""The bots say which token is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("bot", ["discord", "telegram"])
@pytest.mark.parametrize("given", [(), ("MVSEP_API_TOKEN",)])
def test_a_bot_says_which_token_is_missing(bot: str, given: tuple[str, ...]) -> None:
    names = ("MVSEP_API_TOKEN", f"{bot.upper()}_TOKEN")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"PYTHONPATH": str(EXAMPLES.parent), **dict.fromkeys(given, "some-token-of-a-test")}
    program = [sys.executable, str(EXAMPLES / f"{bot}_bot.py")]
    ran = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    missing = next(name for name in names if name not in given)
    assert ran.stderr.startswith(f"Set {missing} to the token from ")
    assert ran.stderr.count("\n") == 1
