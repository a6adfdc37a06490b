"""Reserve the credits of songs before they are sent, so that a run stays within its limit."""

from __future__ import annotations

from attrs import define, field, frozen

from mvsep_async.client import MVSepClient
from mvsep_async.library.decisions import CreditBudget
from mvsep_async.library.planner import PlannedSong
from mvsep_async.library.progress import RunProgress
from mvsep_async.recipes.keys import content_key, keys_of

__all__ = ["OverLimit", "Spending"]


@frozen
class OverLimit:
    """Why a song is not sent. `final`: no other song is sent either."""

    reason: str
    final: bool


@define(eq=False)
class Spending:
    """The credits that are reserved for the songs under way."""

    client: MVSepClient
    budget: CreditBudget
    progress: RunProgress
    _reserved: dict[tuple[str, str], int] = field(factory=dict)

    def has_reserved(self, item: PlannedSong) -> bool:
        """Tell whether the song's credits are reserved."""
        return item.key in self._reserved

    async def reserve(self, item: PlannedSong) -> OverLimit | None:
        """Reserve the song's credits; steps that are at the service already were paid before.

        Returns why they cannot be reserved, `None` if they are.
        """
        assert item.content is not None
        keys = keys_of(item.method.recipe, content_key(item.content))
        unpaid = [step.name for step in item.method.recipe.steps if not await self._is_paid(keys[step.name])]
        seconds = item.seconds
        cost = None if seconds is None else sum(item.method.price(step, seconds) for step in unpaid)
        if not unpaid or self.budget.reserve(cost):
            self._reserved[item.key] = cost or 0
            self.progress.spend(item, cost)
            return None
        if cost is None:
            return OverLimit(
                "has an unknown length, and so an unknown price: skipped because of the limit on credits", final=False
            )
        return OverLimit(
            f"the limit of {self.budget.limit} credits: {self.budget.spent} are spent or reserved, the next song "
            f"({item.title}) needs {cost}",
            final=True,
        )

    def take_back(self, item: PlannedSong, *, spent: bool) -> None:
        """Subtract the credits of a song that failed; `spent`: the service charged them, so the budget keeps them."""
        cost = self._reserved.pop(item.key, None)
        if cost is not None:
            self.progress.spend(item, cost, times=-1)
            if not spent:
                self.budget.release(cost)

    def forget(self, item: PlannedSong) -> None:
        """End the reservation of a song that is over; its credits stay counted."""
        self._reserved.pop(item.key, None)

    async def _is_paid(self, key: str) -> bool:
        job = await self.client.find(key=key)
        return job is not None and job.hash is not None and job.error is None
