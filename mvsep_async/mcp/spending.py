"""The credits that an assistant may spend, counted over the life of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field, frozen

from mvsep_async.errors import InvalidRequestError, SubmissionUnknownError
from mvsep_async.jobs.job import Job

__all__ = ["CreditLimit", "Reservation"]


@define(eq=False)
class Reservation:
    """The price of one separation. `job` is set when the job is submitted."""

    credits: int
    job: Job | None = None

    @property
    def spent(self) -> int:
        """The credits that count: none for a job that ended before the service accepted it."""
        job = self.job
        never_sent = job is not None and job.done() and job.hash is None
        if never_sent and job is not None and not isinstance(job.error, SubmissionUnknownError):
            return 0
        return self.credits


@frozen
class CreditLimit:
    """At most `limit` credits for all separations together.

    Credits are reserved before a song is uploaded. A reservation counts until it is known that the service did not
    accept its job; a refund for a job that was cancelled there is not counted back.
    """

    limit: int
    _reservations: list[Reservation] = field(factory=list, init=False)

    @property
    def spent(self) -> int:
        """The credits that are spent or reserved."""
        return sum(one.spent for one in self._reservations)

    @property
    def left(self) -> int:
        """The credits that may still be spent."""
        return self.limit - self.spent

    @contextmanager
    def reserve(self, credits: int, song: str) -> Iterator[Reservation]:
        """Reserve credits for a job that the block submits; they are released if the block raises.

        Raises `InvalidRequestError` where they exceed what is left. Check and reservation are one step: there is no
        `await` between them.
        """
        if credits > self.left:
            raise InvalidRequestError(
                f"{song} would cost {credits} credits, and {self.left} of the limit of {self.limit} are left: nothing "
                "was sent. Only the person who runs this server can raise the limit, with --max-credits"
            )
        reservation = Reservation(credits)
        self._reservations.append(reservation)
        try:
            yield reservation
        except BaseException:
            self._reservations.remove(reservation)
            raise
