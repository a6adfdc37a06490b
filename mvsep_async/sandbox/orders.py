"""What a create asks for, checked the way the service does. No I/O: a form comes in, an `Order` or a `Refusal` out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from ipaddress import ip_address
from urllib.parse import urlsplit

from attrs import frozen

from .accounts import Account
from .catalogue import DEFAULT_SEP_TYPE, Algorithm, algorithms
from .encode import ENCODINGS, Format
from .intake import Form, Upload
from .refusals import Refusal, invalid, missing, wrong_token
from .settings import Settings

REMOTE_TYPES = ("direct", "mega", "drive", "dropbox")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
PLAN_NEEDED = 2
"""The `orientation` of an algorithm for premium accounts only."""


@frozen
class Order:
    """A create that may be carried out."""

    account: Account
    algorithm: Algorithm
    options: dict[str, str]
    output_format: Format
    uploads: Sequence[Upload]
    url: str | None
    filename: str
    is_demo: bool
    webhook_url: str | None

    @property
    def size(self) -> int:
        return sum(upload.size for upload in self.uploads)

    def doomed(self, settings: Settings) -> bool:
        """Whether the settings want this job to fail."""
        named = any(fnmatch(self.filename.lower(), pattern) for pattern in settings.fail_names)
        return named or self.algorithm.sep_type in settings.fail_sep_types


def check(form: Form, account: Account | None, settings: Settings) -> Order:
    """Read a create's form; `Refusal` for what the service would not take."""
    fields = form.fields
    if not fields.get("api_token"):
        raise missing("api_token")
    if account is None:
        raise wrong_token(401)
    limit = settings.upload_limit(account.premium)
    if any(upload.size > limit for upload in form.files.values()):
        raise Refusal(413, f"The file is larger than your plan allows ({limit // (1024 * 1024)} MB)")
    algorithm = _algorithm(fields, account)
    uploads, url, filename = _source(form, algorithm)
    return Order(
        account=account,
        algorithm=algorithm,
        options=_options(fields, algorithm),
        output_format=_format(fields, account, settings),
        uploads=uploads,
        url=url,
        filename=filename,
        is_demo=_flag(fields, "is_demo"),
        webhook_url=_webhook(fields),
    )


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine: nothing else is ever asked by a sandbox."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def integer(fields: Mapping[str, str], name: str, default: int) -> int:
    """An integer parameter; `default` where it is not given."""
    text = fields.get(name, "").strip()
    if not text:
        return default
    if not _WHOLE.fullmatch(text):
        raise invalid(name, f"The {name.replace('_', ' ')} must be an integer.")
    return int(text)


def _flag(fields: Mapping[str, str], name: str) -> bool:
    value = fields.get(name, "0").strip().lower()
    if value not in ("0", "1", "true", "false", ""):
        raise invalid(name, f"The {name.replace('_', ' ')} field must be true or false.")
    return value in ("1", "true")


def _algorithm(fields: Mapping[str, str], account: Account) -> Algorithm:
    algorithm = algorithms().get(integer(fields, "sep_type", DEFAULT_SEP_TYPE))
    if algorithm is None or not algorithm.active:
        raise invalid("sep_type", "The selected sep type is invalid.")
    if algorithm.orientation == PLAN_NEEDED and not account.premium:
        raise invalid("sep_type", "This algorithm is available for premium users only")
    return algorithm


def _format(fields: Mapping[str, str], account: Account, settings: Settings) -> Format:
    number = integer(fields, "output_format", Format.MP3)
    if number not in set(Format):
        raise invalid("output_format", "The selected output format is invalid.")
    encoding = ENCODINGS[Format(number)]
    if encoding.premium and not account.premium:
        raise invalid("output_format", f"The output format {encoding.label} is available for premium users only")
    if encoding.container is None and settings.stems == "separate":
        raise invalid("output_format", f"This sandbox cannot make {encoding.label}: it has no encoder for it")
    return Format(number)


def _options(fields: Mapping[str, str], algorithm: Algorithm) -> dict[str, str]:
    """The options that the algorithm has; others are ignored, as a PHP form ignores what it does not know."""
    chosen: dict[str, str] = {}
    for name, entry in algorithm.fields.items():
        value = fields.get(name)
        if not value:
            if entry["required"] and entry["default_key"] is None:
                raise missing(name)
            continue
        if entry["input_type"] == "select" and value not in algorithm.choices(name):
            raise invalid(name, f"The selected {name} is invalid.")
        chosen[name] = value
    return chosen


def _source(form: Form, algorithm: Algorithm) -> tuple[Sequence[Upload], str | None, str]:
    widget = algorithm.entry["audio_widget"]
    if widget == "no_upload":
        return (), None, f"{algorithm.name}.mp3"
    if widget == "matchering_upload":
        for name in ("target_audiofile", "reference_audiofile"):
            if name not in form.files:
                raise missing(name)
        target = form.files["target_audiofile"]
        return (target, form.files["reference_audiofile"]), None, target.filename
    if "audiofile" in form.files:
        return (form.files["audiofile"],), None, form.files["audiofile"].filename
    url = form.fields.get("url", "").strip()
    if not url:
        raise missing("audiofile")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise invalid("url", "The url format is invalid.")
    if form.fields.get("remote_type", "direct") not in REMOTE_TYPES:
        raise invalid("remote_type", "The selected remote type is invalid.")
    return (), url, urlsplit(url).path.rsplit("/", 1)[-1] or "remote"


def _webhook(fields: Mapping[str, str]) -> str | None:
    url = fields.get("webhook_url", "").strip()
    if not url:
        return None
    if not is_loopback(url):
        raise invalid("webhook_url", "A sandbox calls webhooks on 127.0.0.1 only.")
    return url
