"""Noticing that the account may have more jobs at one time than it could."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import anyio

from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.errors import MVSepError
from mvsep_async.models.user import User

__all__ = ["refresh_account"]

logger = logging.getLogger("mvsep_async")

EVERY: Final = 300.0
"""Seconds between two questions, our choice: a dozen requests an hour, and only while jobs wait."""


async def refresh_account(
    account: AccountAPI, waiting: Callable[[], bool], tell: Callable[[User], None], time_scale: float
) -> None:
    """Ask the account now and then, while jobs are `waiting`.

    That it lost its plan is shown by a refused create; that it has one again, by nothing that is asked otherwise.
    """
    while True:
        await anyio.sleep(EVERY * time_scale)
        if waiting():
            try:
                tell(await account.user())
            except MVSepError as error:
                logger.info("the account could not be asked for its plan: %s", error)
