"""Answers that the service gave, as sample files."""

import json
from pathlib import Path

from mvsep_async.http.call import Json

FOLDER = Path(__file__).parent


def recorded(name: str) -> Json:
    """Return a recorded answer, decoded."""
    answer: Json = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return answer
