"""A local sandbox: a small MVSEP server on 127.0.0.1 that really separates audio, for demos and tests.

```python
async with Sandbox(speed=60.0) as sandbox:
    client = MVSepClient(sandbox.premium_token, base_url=sandbox.url)
```
"""

from __future__ import annotations

from importlib.util import find_spec

_EXTRA = ("av", "numpy", "python_multipart", "soundfile", "starlette", "uvicorn")

for _name in _EXTRA:
    if find_spec(_name) is None:
        raise ImportError(
            f'The sandbox needs packages that are not installed ({_name}): pip install "mvsep-async[sandbox]"',
            name=_name,
        )

from .faults import Fault, FaultKind  # noqa: E402 - the check comes first
from .jobs import JobRecord  # noqa: E402
from .sandbox import Sandbox, serve  # noqa: E402
from .server.request_log import RequestRecord  # noqa: E402
from .settings import Quirks, SandboxSettings  # noqa: E402

__all__ = ["Fault", "FaultKind", "JobRecord", "Quirks", "RequestRecord", "Sandbox", "SandboxSettings", "serve"]
