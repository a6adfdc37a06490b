"""The service's API, one class a section, one coroutine a call; each module is imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvsep_async._lazy import lazy_attributes

if TYPE_CHECKING:
    from mvsep_async.endpoints.account import AccountAPI
    from mvsep_async.endpoints.files import UploadFile
    from mvsep_async.endpoints.quality import QualityAPI
    from mvsep_async.endpoints.separations import SeparationsAPI
    from mvsep_async.endpoints.site import SiteAPI
    from mvsep_async.http.call import Priority

__all__ = ["AccountAPI", "Priority", "QualityAPI", "SeparationsAPI", "SiteAPI", "UploadFile"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "AccountAPI": ".account",
        "Priority": "..http.call",
        "QualityAPI": ".quality",
        "SeparationsAPI": ".separations",
        "SiteAPI": ".site",
        "UploadFile": ".files",
    },
)
