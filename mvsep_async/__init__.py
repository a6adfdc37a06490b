"""The asyncio-native client for MVSEP, the service that separates songs into stems.

    async with MVSepClient() as client:
        paths = await client.separate("song.flac", "stems/", algorithm="BS Roformer")

Everything is loaded when it is first used: importing this package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mvsep_async._version import __version__

if TYPE_CHECKING:
    from mvsep_async.catalogue.algorithm import Algorithm
    from mvsep_async.catalogue.catalogue import Catalogue
    from mvsep_async.client import MVSepClient
    from mvsep_async.errors import (
        AuthenticationError,
        ClientClosedError,
        ConfigurationError,
        DownloadError,
        InvalidRequestError,
        JobCancelledError,
        JobFailedError,
        JobNotFoundError,
        JobTimeoutError,
        JournalError,
        MVSepError,
        NoFreeSlotError,
        ProtocolError,
        RateLimitedError,
        ServiceError,
        ServiceUnavailableError,
        SubmissionUnknownError,
        TransportError,
        UploadError,
        UsageError,
        WireError,
    )
    from mvsep_async.jobs.job import Job
    from mvsep_async.jobs.progress import Progress
    from mvsep_async.models.output_format import OutputFormat
    from mvsep_async.models.separation import OutputFile, Separation
    from mvsep_async.models.stage import Stage
    from mvsep_async.sources import Pair

__all__ = [
    "Algorithm",
    "AuthenticationError",
    "Catalogue",
    "ClientClosedError",
    "ConfigurationError",
    "DownloadError",
    "InvalidRequestError",
    "Job",
    "JobCancelledError",
    "JobFailedError",
    "JobNotFoundError",
    "JobTimeoutError",
    "JournalError",
    "MVSepClient",
    "MVSepError",
    "NoFreeSlotError",
    "OutputFile",
    "OutputFormat",
    "Pair",
    "Progress",
    "ProtocolError",
    "RateLimitedError",
    "Separation",
    "ServiceError",
    "ServiceUnavailableError",
    "Stage",
    "SubmissionUnknownError",
    "TransportError",
    "UploadError",
    "UsageError",
    "WireError",
    "__version__",
]

_HOMES = {
    "Algorithm": "catalogue.algorithm",
    "Catalogue": "catalogue.catalogue",
    "Job": "jobs.job",
    "MVSepClient": "client",
    "OutputFile": "models.separation",
    "OutputFormat": "models.output_format",
    "Pair": "sources",
    "Progress": "jobs.progress",
    "Separation": "models.separation",
    "Stage": "models.stage",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
