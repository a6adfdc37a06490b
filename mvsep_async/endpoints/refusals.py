"""What the service itself said in a refusal, for an endpoint that knows better what it means."""

from __future__ import annotations

from mvsep_async.errors import AuthenticationError, InvalidRequestError

__all__ = ["words_of"]


def words_of(refusal: AuthenticationError | InvalidRequestError) -> str:
    """Return the service's own words: the fields' texts, else what stands between the core's preface and its advice."""
    texts = [f"{name}: {text}" for name, said in refusal.fields.items() for text in said]
    return "; ".join(texts) or refusal.message.partition(": ")[2].partition(". Check MVSEP_API_TOKEN")[0]
