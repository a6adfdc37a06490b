"""Validation of `separation/create`. No I/O: a form comes in, a `CreateRequest` or a `Refusal` comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from urllib.parse import unquote, urlsplit

from attrs import frozen

from mvsep_async.models.output_format import OutputFormat

from .accounts import Account
from .audio.encode import ENCODINGS
from .catalogue import DEFAULT_SEP_TYPE, Algorithm, algorithms
from .form import Form, Upload
from .parameters import flag, integer, is_loopback
from .refusals import NEEDS_PREMIUM, NO_SEP_TYPE, Refusal, invalid, missing, wrong_token
from .settings import MIB, SandboxSettings

REMOTE_TYPES = ("direct", "mega", "drive", "dropbox")


@frozen
class CreateRequest:
    """A valid create."""

    account: Account
    algorithm: Algorithm
    options: dict[str, str]
    output_format: OutputFormat
    uploads: Sequence[Upload]
    url: str | None
    filename: str
    is_demo: bool
    webhook_url: str | None

    @property
    def size(self) -> int:
        return sum(upload.size for upload in self.uploads)

    def must_fail(self, settings: SandboxSettings) -> bool:
        """Whether the settings make this job fail."""
        named = any(fnmatch(self.filename.lower(), pattern) for pattern in settings.fail_names)
        return named or self.algorithm.sep_type in settings.fail_sep_types


def check(form: Form, account: Account | None, settings: SandboxSettings) -> CreateRequest:
    """Validate a create's form; raise `Refusal` for what the service would refuse."""
    fields = form.fields
    if not fields.get("api_token"):
        raise missing("api_token")
    if account is None:
        raise wrong_token(401)
    limit = settings.upload_limit(account.premium)
    if any(upload.size > limit for upload in form.files.values()):
        raise Refusal(413, f"The file is larger than your plan allows ({limit // MIB} MB)")
    algorithm = _algorithm(fields, account)
    uploads, url, filename = _source(form, algorithm)
    return CreateRequest(
        account=account,
        algorithm=algorithm,
        options=_options(fields, algorithm),
        output_format=_format(fields, account),
        uploads=uploads,
        url=url,
        filename=filename,
        is_demo=flag(fields, "is_demo"),
        webhook_url=_webhook(fields),
    )


def _algorithm(fields: Mapping[str, str], account: Account) -> Algorithm:
    algorithm = algorithms().get(integer(fields, "sep_type", DEFAULT_SEP_TYPE))
    if algorithm is None or not algorithm.active:
        raise invalid("sep_type", NO_SEP_TYPE)
    if algorithm.needs_premium and not account.premium:
        raise invalid("sep_type", NEEDS_PREMIUM)
    return algorithm


def _format(fields: Mapping[str, str], account: Account) -> OutputFormat:
    number = integer(fields, "output_format", OutputFormat.MP3)
    if number not in set(OutputFormat):
        raise invalid("output_format", "The selected output format is invalid.")
    output_format = OutputFormat(number)
    if output_format.premium and not account.premium:
        raise invalid(
            "output_format", f"The output format {ENCODINGS[output_format].label} is available for premium users only"
        )
    return output_format


def _options(fields: Mapping[str, str], algorithm: Algorithm) -> dict[str, str]:
    """Return the options that the algorithm has; others are ignored, as a PHP form ignores unknown fields."""
    chosen: dict[str, str] = {}
    for name, entry in algorithm.fields.items():
        value = fields.get(name)
        is_select = entry["input_type"] == "select"
        if not value:
            if entry["required"] and entry["default_key"] is None and not is_select:
                raise missing(name)
            continue
        if is_select and value not in algorithm.choices(name):
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
    return (), url, unquote(urlsplit(url).path.rsplit("/", 1)[-1]) or "remote"


def _webhook(fields: Mapping[str, str]) -> str | None:
    url = fields.get("webhook_url", "").strip()
    if not url:
        return None
    if not is_loopback(url):
        raise invalid("webhook_url", "A sandbox calls webhooks on 127.0.0.1 only.")
    return url
