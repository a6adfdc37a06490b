"""One job inside the client: what the engine reads, and the registry alone changes."""

from __future__ import annotations

from typing import Literal, TypeAlias
from weakref import WeakSet

from attrs import define

from mvsep_async.errors import ClientClosedError
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.lifecycle import OVER, JobState
from mvsep_async.jobs.progress import QUEUED, Progress
from mvsep_async.jobs.request import JobRequest
from mvsep_async.jobs.subscription import Subscription
from mvsep_async.models.stage import Stage
from mvsep_async.sources import is_url

__all__ = ["JobEntry", "LookupKey"]

LookupKey: TypeAlias = Literal["id", "hash", "key", "fingerprint", "content"]
"""What a job is found by: its id, its hash at the service, the caller's key, the fingerprint of its file or audio."""


@define(eq=False, repr=False)
class JobEntry:
    """A job in the registry. A queued job is this object alone: no task, no event, no future.

    The attributes are for reading: only `JobRegistry` assigns them.
    """

    request: JobRequest
    """The song, the settings and the target, as submitted."""
    state: JobState = JobState.QUEUED
    facts: Facts = NOTHING
    progress: Progress = QUEUED
    """The last progress, without the place in the local queue, which is computed on demand."""
    subscriptions: WeakSet[Subscription] | None = None
    """Held weakly: a dropped iterator needs no explicit close."""

    @property
    def id(self) -> str:
        """The local id; it survives restarts where there is a journal."""
        return self.request.id

    @property
    def hash(self) -> str | None:
        """The hash at the service: `None` until the job is accepted; of a URL job the short one, then the long one."""
        return self.facts.hash or self.facts.remote

    @property
    def stage(self) -> Stage:
        """The stage that the owner of the job sees."""
        return self.progress.stage

    @property
    def create_stage(self) -> Stage:
        """The stage shown during the create: a file is uploaded, a URL is fetched by the service."""
        if self.request.source is None:
            return Stage.WAITING
        return Stage.FETCHING if is_url(self.request.source) else Stage.UPLOADING

    def done(self) -> bool:
        """Tell whether the job is over: separated (and downloaded, where a target was given), failed or cancelled."""
        if self.state is JobState.DONE:
            return self.request.target is None
        return self.state in OVER

    @property
    def separated(self) -> bool:
        """Whether the job has its result and no target to download it to."""
        return self.request.target is None and self.facts.separation is not None

    def subscribe(self) -> Subscription:
        """Return a subscription to every later progress, for as long as the caller keeps it."""
        if self.subscriptions is None:
            self.subscriptions = WeakSet()
        subscription = Subscription()
        self.subscriptions.add(subscription)
        return subscription

    @property
    def has_subscribers(self) -> bool:
        """Whether the job's progress has subscribers."""
        return bool(self.subscriptions)

    def publish(self, progress: Progress) -> None:
        """Hand a progress to all subscribers without keeping it."""
        for subscription in self.subscriptions or ():
            subscription.put(progress)

    def close_subscribers(self) -> None:
        """End every subscription, since this client does not change the job after this."""
        for subscription in self.subscriptions or ():
            subscription.close()

    def closed_error(self) -> ClientClosedError:
        """Return the error for tasks that wait for the job when the client closes."""
        how = f"client.attach({self.hash!r}) finds it again" if self.hash else "it was not sent to the service yet"
        return ClientClosedError(
            f"the client was closed before job {self.id} was over; {how}", job=self.id, hash=self.hash
        )

    def __repr__(self) -> str:
        named = f" {self.hash}" if self.hash else ""
        return f"<JobEntry {self.id} {self.stage.value}{named}>"
