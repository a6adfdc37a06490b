"""Refusals: an exception with a status and a reason, and its body in one of the shapes that have been seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .settings import Quirks

NO_SLOT = "You already have unprocessed file in queue. Please wait before adding new file!"
DAILY_LIMIT = (
    "You have reached the limit of separations for today. "
    "Please try again tomorrow or consider signing up for a premium account."
)
NEEDS_PREMIUM = "Seperation type is unavailable until you purchase premium membership"
NO_SEP_TYPE = "Seperation type is not set"
NO_SUCH_JOB = "File or File Hash not found"
# These five are the service's own words, spelling included; the other texts are made up.

Fields = Mapping[str, Sequence[str]]


class Refusal(Exception):
    """A refused request: `status`, and the reason in `message` (or `fields`: field → messages)."""

    def __init__(self, status: int, message: str, fields: Fields | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = fields

    def body(self, quirks: Quirks) -> dict[str, Any]:
        """Return the JSON of this refusal, with the reason where `quirks.error_style` puts it."""
        fields = {name: list(texts) for name, texts in (self.fields or {"request": [self.message]}).items()}
        match quirks.error_style:
            case "errors":
                return {"success": False, "errors": [text for texts in fields.values() for text in texts]}
            case "fields":
                return {"success": False, "errors": fields}
            case "top":
                return {"success": False, "message": self.message}
            case "top_fields":
                return {"success": False, "message": fields}
            case "status":
                return {"success": False}
            case "message":
                return {"success": False, "data": {"message": self.message}}


class FormRefusal(Refusal):
    """An invalid form of `app/*`: `message` is always field → list of messages."""

    def body(self, quirks: Quirks) -> dict[str, Any]:
        if not self.fields:
            return {"success": False, "message": self.message}
        return {"success": False, "message": {name: list(texts) for name, texts in self.fields.items()}}


class SilentRefusal(Refusal):
    """A refusal without a reason."""

    def body(self, quirks: Quirks) -> dict[str, Any]:
        return {"success": False}


def wrong_token(status: int = 400) -> Refusal:
    """Return the refusal of an unknown token: 400 at `app/*`, 401 at create and quality add."""
    return Refusal(status, "Wrong api token", {"api_token": ["Wrong api token"]})


def missing(name: str) -> Refusal:
    """Return the refusal of a request without a required parameter."""
    text = f"The {name.replace('_', ' ')} field is required."
    return Refusal(400, text, {name: [text]})


def invalid(name: str, why: str) -> Refusal:
    """Return the refusal of an invalid parameter."""
    return Refusal(400, why, {name: [why]})


def no_such_job() -> Refusal:
    """Return the refusal of a hash that belongs to no job of the account."""
    return invalid("hash", NO_SUCH_JOB)
