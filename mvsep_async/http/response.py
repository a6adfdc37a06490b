"""Decode a response of the API: return its JSON, or raise the error that status, headers and body stand for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

from attrs import field, frozen

from mvsep_async.errors import (
    AuthenticationError,
    ConfigurationError,
    DailyLimitError,
    InvalidRequestError,
    JobNotFoundError,
    MVSepError,
    NoFreeSlotError,
    ProtocolError,
    ServiceUnavailableError,
)
from mvsep_async.http.call import Call, Json
from mvsep_async.http.rate_headers import retry_after
from mvsep_async.http.redaction import hide
from mvsep_async.http.refusals import Refusal, about_slots, classify_refusal_text

__all__ = [
    "CREDENTIALS_ADVICE",
    "LARGE",
    "MAX_BODY",
    "HTTPResponse",
    "about_slots",
    "decode_response",
    "excerpt",
    "is_about_token",
    "not_accepted",
    "parse_json",
]

MAX_BODY: Final = 16 * 1024 * 1024
"""Most bytes of JSON that are read. The largest answer known, `app/algorithms`, has about 1 MB; waveform `peaks` can
make a finished job's answer several times that."""

LARGE: Final = 64 * 1024
"""Bytes of JSON from which a worker thread decodes it: on the event loop that would take half a millisecond."""

CREDENTIALS_ADVICE: Final = (
    ". Check MVSEP_API_TOKEN, the token that `mvsep-async login` stored, or the one given to the client"
)

_REFUSALS = frozenset({400, 401, 403, 404, 413, 422})
"""Error statuses with which the service itself rejects a call; any other one may come from a proxy."""
_WITH_TOKEN: Final = frozenset({"app/user", "app/login", "app/register"})
"""Calls whose answers have the account's token, which is decoded into a type that hides it."""

_TOKEN_LENGTH: Final = 10
"""Characters of the shortest token that is hidden in JSON. Real ones are longer; a wrong one that is a short word
may be a key of the JSON, which would be damaged."""

_HTML = re.compile(
    rb"\s*+(?><!--.*?-->\s*+)*+<(?:!doctype|html|head|body|h1|center|title)\b", re.IGNORECASE | re.DOTALL
)
_TOKEN_WORDS = re.compile(r"api[_ ]?token|(?<!\[)\btoken\b|unauthenticated|unauthori[sz]ed", re.IGNORECASE)
_LONE = re.compile(r"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
"""In JSON text: an escaped backslash or a pair of surrogates, which stay, or a lone surrogate. A lone one cannot be
encoded, so a text with it could be neither shown nor stored."""
_VALUE_OF_TOKEN = re.compile(
    r"(token(?:[\"'\\\s]*(?:[=:]|%3D)[\"'\\\s]*|\W{1,6}(?=\w*\d)))[\w%+/=.~-]{8,}", re.IGNORECASE
)
"""The value of an unknown token, as in the answer to a login: what follows the word, if it is not an ordinary word."""
_EXCERPT = 200

_interruptible: Final = json.JSONDecoder(
    object_hook=lambda item: item, parse_float=lambda text: float(text), parse_int=lambda text: int(text)
)
"""Calls Python code for every number and object, so that a thread lets the event loop run in between. The plain decoder
keeps the interpreter lock from the first byte to the last."""


@frozen
class HTTPResponse:
    """One HTTP response: status, lower-case headers, body. `overlong`: the body was cut at the limit."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Not in the `repr`: a `Location` may hold the token."""
    body: bytes = field(repr=False)
    overlong: bool = False


def decode_response(call: Call, answer: HTTPResponse) -> Json:
    """Return the decoded answer to `call`, or raise the error that it stands for."""
    if answer.status == 407:
        raise ConfigurationError(
            "the proxy asks for a user name and password (407): put them into the proxy's URL (HTTPS_PROXY)"
        )
    if answer.status >= 500:
        raise ServiceUnavailableError(
            f"the service answered {answer.status} to {call.path}: it is down or overloaded, try again later",
            status=answer.status,
            retry_after=retry_after(answer.headers),
        )
    if answer.status == 413:
        raise InvalidRequestError(
            "the service rejected the upload as too large for the account's plan: shorten or compress the file",
            status=413,
            reason=_reason(answer),
        )
    if _HTML.match(answer.body):
        raise _html(call, answer)
    data = parse_json(answer, call.path)
    if answer.status >= 400 and not _is_refusal(call, answer.status, data):
        raise ServiceUnavailableError(
            f"{answer.status} is not an answer of the service to {call.path}: it is down, or something in front of it "
            "answers; check the base URL, or try again later",
            status=answer.status,
            retry_after=retry_after(answer.headers),
        )
    if call.tolerant and isinstance(data, dict) and answer.status in (200, 400, 404) and not _about_token(data):
        return data
    if answer.status >= 400 or (isinstance(data, dict) and _failed(data)):
        raise refusal(call, answer.status, data)
    if answer.status >= 300:
        raise ProtocolError(
            f"the service redirected {call.path} ({answer.status}) instead of answering: check the base URL",
            status=answer.status,
        )
    return data


def parse_json(answer: HTTPResponse, path: str) -> Json:
    """Decode a body; raises `ProtocolError` for one that is cut, empty, too long, too deep or not JSON."""
    if answer.overlong:
        raise ProtocolError(f"the answer to {path} is longer than {MAX_BODY} bytes", status=answer.status)
    if not answer.body.strip():
        if answer.status == 401:
            return {"success": False, "message": ""}
        raise ProtocolError(f"the answer to {path} is empty (HTTP {answer.status})", status=answer.status)
    try:
        text = answer.body.decode("utf-8-sig")
        if path not in _WITH_TOKEN:
            text = hide(text, shortest=_TOKEN_LENGTH)  # one that is repeated, in a link or an error, is never needed
        if "\\ud" in text or "\\uD" in text:
            text = _LONE.sub(lambda match: match[1] or "\\ufffd", text)
        return cast("Json", _interruptible.decode(text) if len(text) >= LARGE else json.loads(text))
    except (ValueError, RecursionError) as error:
        reason = "is nested too deeply" if isinstance(error, RecursionError) else "is not JSON, or cut short"
    raise ProtocolError(
        f"the answer to {path} {reason} (HTTP {answer.status}): {excerpt(answer.body)}", status=answer.status
    )


def refusal(call: Call, status: int, data: Json) -> MVSepError:
    """Return the error for a decoded refusal, with the service's own words and the parameters that it names."""
    fields, texts = reasons(data)
    reason = "; ".join(texts)
    words = reason or f"no reason given (HTTP {status})"
    if status in (401, 403) or _about_token(data):
        return not_accepted("the API token", reason, fields, status, CREDENTIALS_ADVICE)
    known = classify_refusal_text(reason)
    if known is Refusal.NOT_FOUND or (status == 404 and call.path != "separation/create"):
        return JobNotFoundError(f"the service found nothing for {call.path}: {words}", status=status)
    if call.path == "separation/create":
        return _create_refusal(known, words, reason, status, fields)
    return InvalidRequestError(
        f"the service rejected {call.path}: {words}", fields=fields, status=status, reason=reason
    )


def not_accepted(
    what: str, reason: str, fields: Mapping[str, tuple[str, ...]], status: int | None, advice: str = ""
) -> AuthenticationError:
    """Return the error for credentials that the service rejects. `reason`: its own words, empty if it gives none."""
    words = reason or f"no reason given (HTTP {status})"
    return AuthenticationError(
        f"the service does not accept {what}: {words}{advice}", fields=fields, status=status, reason=reason
    )


def _create_refusal(
    known: Refusal | None, words: str, reason: str, status: int, fields: Mapping[str, tuple[str, ...]]
) -> MVSepError:
    match known:
        case Refusal.DAILY_LIMIT:
            return DailyLimitError(
                f"the free account's separations of today are used up: {words} The day is over in 24 hours at the "
                "latest; client.site.queue() shows free_separations.left",
                status=status,
            )
        case Refusal.NO_SLOT:
            return NoFreeSlotError(f"the account has no free slot: {words}", status=status, stated=True)
        case Refusal.NEEDS_PREMIUM:
            advice = "choose another algorithm, or give the account credits and call client.account.enable_premium()"
            return InvalidRequestError(
                f"the algorithm is for premium accounts: {words}; {advice}",
                fields={"sep_type": (reason,)},
                status=status,
                reason=reason,
            )
        case Refusal.UNKNOWN_ALGORITHM:
            return InvalidRequestError(
                f"the service does not know this sep_type: {words}; client.catalogue() lists the algorithms",
                fields={"sep_type": (reason,)},
                status=status,
                reason=reason,
            )
    if not fields and about_slots(reason):
        return NoFreeSlotError(f"the account has no free slot: {words}", status=status)
    return InvalidRequestError(
        f"the service rejected separation/create: {words}", fields=fields, status=status, reason=reason
    )


def reasons(data: Json) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Collect a refusal's reasons: by field, and as texts.

    They may be in `data.message`, `message` or `errors`, as a text, a list or a mapping of fields to lists.
    """
    if not isinstance(data, dict):
        return {}, ()
    inner = data.get("data")
    places: list[Json] = [data.get("message"), data.get("errors"), data.get("error")]
    if isinstance(inner, dict):
        places[:0] = [inner.get("message"), inner.get("errors"), inner.get("error")]
    elif isinstance(inner, str):
        places.append(inner)
    fields: dict[str, tuple[str, ...]] = {}
    texts: list[str] = []
    for place in places:
        if isinstance(place, dict):
            for name, value in place.items():
                said = tuple(_texts(value))
                name = excerpt(name.encode("utf-8", "replace"))[:60]
                fields[name] = said
                texts += [f"{name}: {text}" for text in said]
        else:
            texts += _texts(place)
    return fields, tuple(dict.fromkeys(texts))


def excerpt(body: bytes) -> str:
    """Return the beginning of a body for a message: one printable line of at most 200 characters, without our token."""
    # Hidden before it is cut: else the beginning of a token could remain.
    text = hide(body[: 16 * _EXCERPT].decode("utf-8", "replace"))[: 4 * _EXCERPT]
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    text = _VALUE_OF_TOKEN.sub(r"\1[hidden]", text)
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"


def _reason(answer: HTTPResponse) -> str:
    """Return the reason in the body of an error, empty if it is not the service's JSON."""
    try:
        return "; ".join(reasons(parse_json(answer, ""))[1])
    except ProtocolError:
        return ""


def _html(call: Call, answer: HTTPResponse) -> MVSepError:
    title = re.search(rb"<title[^>]*>(.{0,120}?)</title>", answer.body, re.IGNORECASE | re.DOTALL)
    named = f" ({excerpt(title.group(1))})" if title else ""
    return ServiceUnavailableError(
        f"an HTML page came instead of an answer to {call.path}{named}, HTTP {answer.status}: the service is down or "
        "in maintenance, or the base URL is wrong; try again later",
        status=answer.status,
        retry_after=retry_after(answer.headers),
    )


def _is_refusal(call: Call, status: int, data: Json) -> bool:
    """Tell whether an answer with an error status is the service's own decision about the call.

    A proxy, a firewall or a deployment answers 403 and 404 with JSON too, but without the service's envelope. To a
    create the service gives these statuses only in words that are known.
    """
    if status not in _REFUSALS or not isinstance(data, dict):
        return False
    own = "success" in data or isinstance(data.get("status"), str)
    fields, texts = reasons(data)
    if status in (403, 404):
        known = classify_refusal_text("; ".join(texts)) is not None or _about_token(data)
        return known or (own and call.path != "separation/create")
    return own or bool(fields or texts) or status == 401


def _failed(data: Mapping[str, Json]) -> bool:
    success = data.get("success", True)
    return success is False or success == 0 or (isinstance(success, str) and success.lower() in ("false", "0"))


def _about_token(data: Json) -> bool:
    fields, texts = reasons(data) if isinstance(data, dict) and _failed(data) else ({}, ())
    return "api_token" in fields or any(map(is_about_token, texts))


def is_about_token(text: str) -> bool:
    """Tell whether a refusal speaks of the token."""
    return _TOKEN_WORDS.search(text) is not None


def _texts(value: Json) -> Iterable[str]:
    if isinstance(value, str):
        if value.strip():
            yield excerpt(value.encode())
    elif isinstance(value, list):
        for item in value[:20]:
            yield from _texts(item)
    elif isinstance(value, dict):
        for item in list(value.values())[:20]:
            yield from _texts(item)
