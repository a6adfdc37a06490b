"""A local sandbox: a small MVSEP server on 127.0.0.1 that really separates audio, for demos and tests.

```python
async with Sandbox(speed=60.0) as sandbox:
    client = MVSepClient(sandbox.premium_token, base_url=sandbox.url)
```
"""

from __future__ import annotations

try:
    import numpy as _numpy  # noqa: F401
    import python_multipart as _python_multipart  # noqa: F401
    import soundfile as _soundfile  # noqa: F401
    import starlette as _starlette  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
except ImportError as error:
    message = f'The sandbox needs packages that are not installed ({error.name}): pip install "mvsep-async[sandbox]"'
    raise ImportError(message, name=error.name) from error

from .faults import Fault, FaultKind
from .jobs import JobRecord
from .sandbox import Sandbox
from .serve import serve
from .server.edge import RequestRecord
from .settings import Quirks, SandboxSettings

__all__ = ["Fault", "FaultKind", "JobRecord", "Quirks", "RequestRecord", "Sandbox", "SandboxSettings", "serve"]
