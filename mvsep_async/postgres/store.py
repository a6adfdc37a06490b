"""The tables of the shared journal, as one process uses them."""

from __future__ import annotations

from attrs import field, frozen

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
    jobs: JobTable = field(init=False)
    slots: SlotTable = field(init=False)
    processes: ProcessTable = field(init=False)
    requests: RequestTable = field(init=False)

    @jobs.default
    def _jobs(self) -> JobTable:
        return JobTable(self.me)

    @slots.default
    def _slots(self) -> SlotTable:
        return SlotTable(self.me)

    @processes.default
    def _processes(self) -> ProcessTable:
        return ProcessTable(self.me, self.slots)

    @requests.default
    def _requests(self) -> RequestTable:
        return RequestTable(self.me)
