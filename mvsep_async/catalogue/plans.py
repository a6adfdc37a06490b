"""Check what an account's plan allows, before anything is uploaded."""

from __future__ import annotations

from typing import Final

from mvsep_async.catalogue.algorithm import AccountPlan, Algorithm
from mvsep_async.catalogue.options import Options, resolve
from mvsep_async.errors import InvalidRequestError
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User

__all__ = ["FREE_BYTES", "FREE_SECONDS", "PREMIUM_BYTES", "check_plan", "check_song"]

FREE_SECONDS: Final = 600.0
FREE_BYTES: Final = 200 * 1024 * 1024
PREMIUM_BYTES: Final = 2 * 1024 * 1024 * 1024
"""The largest limits that independent clients have seen. The service changes them from time to time: what is below them
may still be refused, and what is above them may be allowed one day, so `anyway` skips these checks."""

_WHO: Final = {
    AccountPlan.EVERYONE: "everyone",
    AccountPlan.REGISTERED: "registered users: give an API token",
    AccountPlan.PREMIUM: "premium accounts: buy credits, and call client.account.enable_premium()",
}
_ANYWAY: Final = "or pass anyway=True (--anyway) to send it all the same"


def check_plan(
    algorithm: Algorithm,
    output_format: OutputFormat = OutputFormat.MP3,
    user: User | None = None,
    options: Options | None = None,
    *,
    registered: bool = True,
) -> None:
    """Raise `InvalidRequestError` if the account may not use the algorithm, the format or a choice.

    `user`: `None` if it is only known whether there is an account, which is `registered`.
    """
    has = AccountPlan.REGISTERED if registered else AccountPlan.EVERYONE
    if user is not None:
        has = AccountPlan.PREMIUM if user.is_premium else AccountPlan.REGISTERED
    if has < algorithm.plan:
        raise InvalidRequestError(f"{algorithm} is for {_WHO[algorithm.plan]}", fields={"sep_type": ["needs a plan"]})
    if output_format.premium and has < AccountPlan.PREMIUM:
        raise InvalidRequestError(
            f"the output format {output_format.label} is for {_WHO[AccountPlan.PREMIUM]}; or choose mp3, wav16, flac16 "
            "or m4a",
            fields={"output_format": ["needs a plan"]},
        )
    if has < AccountPlan.REGISTERED:
        chosen = resolve(algorithm, options)
        for field in algorithm.fields:
            if chosen.get(field.name) in field.registered_only_keys:
                raise InvalidRequestError(
                    f"{algorithm}: {chosen[field.name]!r} of {field} is for {_WHO[AccountPlan.REGISTERED]}",
                    fields={field.name: ["needs a plan"]},
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
