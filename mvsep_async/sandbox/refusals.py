"""How the service says no: one exception with a status, and a body in one of the shapes that have been seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .settings import Quirks

Fields = Mapping[str, Sequence[str]]


class Refusal(Exception):
    """An answer rather than an error: `status`, and the reason in `message` (or `fields`: field → messages)."""

    def __init__(self, status: int, message: str, fields: Fields | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = fields

    def body(self, quirks: Quirks) -> dict[str, Any]:
        """The JSON of this refusal, its reason where `quirks.error_style` wants it."""
        fields = {name: list(texts) for name, texts in (self.fields or {"request": [self.message]}).items()}
        match quirks.error_style:
            case "errors":
                return {"success": False, "errors": [text for texts in fields.values() for text in texts]}
            case "fields":
                return {"success": False, "errors": fields}
            case "top":
                return {"success": False, "message": self.message}
            case "status":
                return {"success": False}
            case "message":
                return {"success": False, "data": {"message": self.message}}


class FormRefusal(Refusal):
    """A form of `app/*` that is not filled in rightly: `message` is always field → list of messages."""

    def body(self, quirks: Quirks) -> dict[str, Any]:
        if not self.fields:
            return {"success": False, "message": self.message}
        return {"success": False, "message": {name: list(texts) for name, texts in self.fields.items()}}


class SilentRefusal(Refusal):
    """A refusal that keeps its reason to itself."""

    def body(self, quirks: Quirks) -> dict[str, Any]:
        return {"success": False}


def wrong_token(status: int = 400) -> Refusal:
    """The token is not known: 400 at `app/*`, 401 at create and quality add."""
    return Refusal(status, "Wrong api token", {"api_token": ["Wrong api token"]})


def missing(name: str) -> Refusal:
    """A parameter that must be there is not."""
    text = f"The {name.replace('_', ' ')} field is required."
    return Refusal(400, text, {name: [text]})


def invalid(name: str, why: str) -> Refusal:
    """A parameter has a value that cannot be."""
    return Refusal(400, why, {name: [why]})
