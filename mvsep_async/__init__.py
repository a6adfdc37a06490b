"""The asyncio-native client for MVSEP, the service that separates songs into stems.

    async with MVSepClient() as client:
        paths = await client.separate("song.flac", "stems/", algorithm="BS Roformer")

Each name is imported on first use: importing this package alone loads none of its dependencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mvsep_async._lazy import lazy_attributes
from mvsep_async._version import __version__

if TYPE_CHECKING:
    from mvsep_async.catalogue.algorithm import Algorithm
    from mvsep_async.catalogue.catalogue import Catalogue
    from mvsep_async.catalogue.presets import Preset
    from mvsep_async.client import MVSepClient
    from mvsep_async.errors import (
        AuthenticationError,
        ClientClosedError,
        ConfigurationError,
        DailyLimitError,
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
    "DailyLimitError",
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
    "Preset",
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

_HOMES: Final = {
    "Algorithm": ".catalogue.algorithm",
    "Catalogue": ".catalogue.catalogue",
    "Job": ".jobs.job",
    "MVSepClient": ".client",
    "OutputFile": ".models.separation",
    "OutputFormat": ".models.output_format",
    "Pair": ".sources",
    "Preset": ".catalogue.presets",
    "Progress": ".jobs.progress",
    "Separation": ".models.separation",
    "Stage": ".models.stage",
}
_ERRORS: Final = {name: ".errors" for name in __all__ if name.endswith("Error")}

__getattr__ = lazy_attributes(__name__, _HOMES | _ERRORS)


def __dir__() -> list[str]:
    return sorted(__all__)
