"""Whether an account may have what it asks for, before anything is uploaded."""

from __future__ import annotations

from typing import Final

from mvsep_async.catalogue.algorithm import AccountPlan, Algorithm
from mvsep_async.catalogue.options import Options, resolve
from mvsep_async.errors import InvalidRequestError
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User

__all__ = ["check_plan"]

_WHO: Final = {
    AccountPlan.EVERYONE: "everyone",
    AccountPlan.REGISTERED: "registered users: give an API token",
    AccountPlan.PREMIUM: "premium accounts: the account needs credits, and spending them switched on (enable_premium)",
}


def check_plan(
    algorithm: Algorithm,
    output_format: OutputFormat = OutputFormat.MP3,
    user: User | None = None,
    options: Options | None = None,
    *,
    registered: bool = True,
) -> None:
    """Raise `InvalidRequestError` where the algorithm, the format or a choice is not for this account.

    `user`: `None` where no more is known than whether there is an account, which is `registered`.
    """
    has = AccountPlan.REGISTERED if registered else AccountPlan.EVERYONE
    if user is not None:
        has = AccountPlan.PREMIUM if user.is_premium else AccountPlan.REGISTERED
    if has < algorithm.plan:
        raise InvalidRequestError(f"{algorithm} is for {_WHO[algorithm.plan]}")
    if output_format.premium and has < AccountPlan.PREMIUM:
        raise InvalidRequestError(f"the output format {output_format.label} is for {_WHO[AccountPlan.PREMIUM]}")
    if has < AccountPlan.REGISTERED:
        chosen = resolve(algorithm, options)
        for field in algorithm.fields:
            if chosen.get(field.name) in field.registered_only_keys:
                raise InvalidRequestError(
                    f"{algorithm}: {chosen[field.name]!r} of {field} is for {_WHO[AccountPlan.REGISTERED]}"
                )
