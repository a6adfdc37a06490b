"""The tables of the shared journal, as one process uses them."""

from __future__ import annotations

from attrs import Factory, field, frozen

from mvsep_async.postgres.jobs import JobTable
from mvsep_async.postgres.processes import ProcessTable
from mvsep_async.postgres.requests import RequestTable
from mvsep_async.postgres.slots import SlotTable
from mvsep_async.postgres.statements import Identity

__all__ = ["Store"]


@frozen
class Store:
    """The transactions of one process."""

    me: Identity
    jobs: JobTable = field(default=Factory(lambda self: JobTable(self.me), takes_self=True))
    slots: SlotTable = field(default=Factory(lambda self: SlotTable(self.me), takes_self=True))
    processes: ProcessTable = field(default=Factory(lambda self: ProcessTable(self.me, self.slots), takes_self=True))
    requests: RequestTable = field(default=Factory(lambda self: RequestTable(self.me), takes_self=True))
