"""A finished separation: its input, its stems."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire
from mvsep_async.models.values import cleaned, parse_size, read_size, url_text

__all__ = ["Created", "InputFile", "OutputFile", "Separation", "hash_in_link", "is_job_hash"]

_JOB_HASH = re.compile(r"\d{14}-[0-9a-f]{10}-")


@frozen(kw_only=True)
class OutputFile:
    """One stem of a finished job.

    `name`: the file name that the service proposes; never join it to a path unchecked. `stem`: "Vocals", "speech"…
    `bytes`: the exact size, `None` where the service does not send it. `size`: the service's text ("5.70 MB").
    """

    url: str = field(metadata=wire("url", "link", via=url_text))
    name: str = field(metadata=wire("download"))
    stem: str = field(metadata=wire("type", "stem", "name"))
    bytes: int | None = field(default=None, metadata=wire("bytes", via=read_size))
    size: str | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @name.default  # pyright: ignore[reportAttributeAccessIssue]
    def _(self) -> str:
        return _name_in(self.url)

    @stem.default  # pyright: ignore[reportAttributeAccessIssue]
    def _(self) -> str:
        return PurePosixPath(self.name).stem or self.name

    @property
    def size_bytes(self) -> int | None:
        """The exact size where it is known, else the approximate one from the text, else `None`."""
        return parse_size(self.size) if self.bytes is None else self.bytes

    @staticmethod
    def __from_wire__(raw: dict[str, Json]) -> dict[str, Json]:
        filled = {key: value for key, value in raw.items() if value != ""}
        name = filled.get("name")
        if filled.get("download") is None and isinstance(name, str) and PurePosixPath(name).suffix:
            filled["download"] = filled.pop("name")
        return filled


@frozen(kw_only=True)
class InputFile:
    """The song as the service stores it."""

    url: str | None = field(default=None, metadata=wire("url", "link", via=url_text))
    name: str | None = field(default=None, metadata=wire("download", "name"))
    size: str | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @property
    def size_bytes(self) -> int | None:
        """The approximate size in bytes, from the rounded text; `None` where the text has no size."""
        return parse_size(self.size)


@frozen(kw_only=True)
class Separation:
    """The result of a finished job.

    `files` can be empty. `output_format` and `date` are the service's own text. `image`: the address of a picture,
    `transcription`: the text of the song, both only where the algorithm makes them.
    """

    hash: str
    algorithm: str | None = None
    algorithm_description: str | None = None
    output_format: str | None = None
    size: str | None = None
    tags: Json = field(default=None, repr=False, metadata=wire("tags", via=cleaned))
    input_file: InputFile | None = None
    files: tuple[OutputFile, ...] = ()
    date: str | None = None
    image: str | None = field(default=None, metadata=wire("image", via=url_text))
    transcription: str | None = field(default=None, repr=False)
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class Created:
    """An accepted job. `link`: the address of its status, on the host that has the job."""

    hash: str
    link: str | None = field(default=None, metadata=wire("link", via=url_text))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @property
    def is_remote(self) -> bool:
        """Whether the service still fetches the song of this URL job, so that `get-remote` is to be asked for it.

        The form of the hash decides, and else the path of `link`.
        """
        if is_job_hash(self.hash):
            return False
        try:
            path = "" if self.link is None else urlsplit(self.link.replace("\\/", "/")).path
        except ValueError:
            path = ""
        return not path.rstrip("/").endswith("separation/get")

    @staticmethod
    def __from_wire__(raw: dict[str, Json]) -> dict[str, Json]:
        return with_hash(raw)


def is_job_hash(hash: str) -> bool:
    """Tell whether this is the long hash of a job that has its file: date, ten hex digits, file name."""
    return _JOB_HASH.match(hash) is not None


def with_hash(raw: dict[str, Json]) -> dict[str, Json]:
    """Fill in a missing `hash` from the query of `link`: some answers have it only there."""
    link = raw.get("link")
    hash = raw.get("hash")
    if isinstance(hash, str):
        raw["hash"] = hash = hash.strip() or None
    if hash is None and isinstance(link, str):
        raw["hash"] = hash_in_link(link)
    return raw


def hash_in_link(link: str) -> str | None:
    """Return the job's hash out of a link such as `https://mvsep.com/api/separation/get?hash=…`."""
    try:
        query = urlsplit(link.replace("\\/", "/").replace("&amp;", "&")).query
        return next(iter(parse_qs(query).get("hash", ())), None)
    except ValueError:
        return None


def _name_in(url: str) -> str:
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    return PurePosixPath(unquote(path)).name or "file"
