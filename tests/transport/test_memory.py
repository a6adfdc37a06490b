import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_memory_does_not_grow_with_the_file() -> None:
    pytest.importorskip("resource")
    ran = subprocess.run([sys.executable, "-m", "tests.transport.hauler"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) < 48, "256 MiB each way, client and server in one process"
