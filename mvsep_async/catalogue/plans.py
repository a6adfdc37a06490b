"""Check what an account's plan allows, before anything is uploaded."""

from __future__ import annotations

from typing import Final

from mvsep_async.catalogue.algorithm import AccountPlan, Algorithm
from mvsep_async.errors import InvalidRequestError
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User

__all__ = ["FREE_BYTES", "FREE_SECONDS", "PREMIUM_BYTES", "check_plan", "check_song"]

FREE_SECONDS: Final = 600.0
FREE_BYTES: Final = 200 * 1024 * 1024
PREMIUM_BYTES: Final = 2 * 1024 * 1024 * 1024
"""The largest limits that independent clients have seen. The service changes them from time to time: what is below them
may still be refused, and what is above them may be allowed one day, so `anyway` skips these checks."""

_PREMIUM: Final = "premium accounts: buy credits, and call client.account.enable_premium()"
_ANYWAY: Final = "or pass anyway=True (--anyway) to send it all the same"


def check_plan(algorithm: Algorithm, output_format: OutputFormat, user: User | None) -> None:
    """Raise `InvalidRequestError` if the account may not use the algorithm or the format.

    `user`: `None` if it is only known that there is an account.
    """
    if user is not None and user.is_premium:
        return
    if algorithm.plan is AccountPlan.PREMIUM:
        raise InvalidRequestError(f"{algorithm} is for {_PREMIUM}", fields={"sep_type": ["needs a plan"]})
    if output_format.premium:
        raise InvalidRequestError(
            f"the output format {output_format.label} is for {_PREMIUM}; or choose mp3, wav16, flac16 or m4a",
            fields={"output_format": ["needs a plan"]},
        )


def check_song(user: User, name: str, *, size: int, seconds: float | None = None) -> None:
    """Raise `InvalidRequestError` if a song is beyond every known limit of the account's plan.

    `size` in bytes; `seconds`: `None` where the duration is not known.
    """
    premium = user.is_premium
    plan, most = ("a premium", PREMIUM_BYTES) if premium else ("a free", FREE_BYTES)
    if size > most:
        raise InvalidRequestError(
            f"{name} has {size / 1024**2:.0f} MiB, and {plan} account takes at most {most // 1024**2} MiB: compress or "
            f"split it, {_ANYWAY}",
            fields={"audiofile": ["too large"]},
        )
    if not premium and seconds is not None and seconds > FREE_SECONDS:
        raise InvalidRequestError(
            f"{name} lasts {_clock(seconds)}, and a free account takes at most {_clock(FREE_SECONDS)}: split it, give "
            f"the account credits, {_ANYWAY}",
            fields={"audiofile": ["too long"]},
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min"
