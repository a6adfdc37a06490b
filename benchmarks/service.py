"""A sandbox in a process of its own: `python -m benchmarks.service SETTINGS`, as JSON, until stdin ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import asdict, frozen

from mvsep_async.sandbox import Sandbox

__all__ = ["Service", "serving"]


@frozen
class Service:
    """The URL of the sandbox, and the tokens of its two accounts."""

    url: str
    premium_token: str
    free_token: str


@contextmanager
def serving(job_seconds: float, **settings: float) -> Iterator[Service]:
    """Run a sandbox in another process, so that it does not affect the measurement."""
    command = [sys.executable, "-m", "benchmarks.service", json.dumps({"job_seconds": job_seconds, **settings})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Service(**json.loads(process.stdout.readline()))
        process.communicate()


def main() -> None:
    with Sandbox(stems="copy", **json.loads(sys.argv[1])) as sandbox:
        print(json.dumps(asdict(Service(sandbox.url, sandbox.premium_token, sandbox.free_token))), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
