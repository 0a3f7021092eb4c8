"""What a store must do. Documented here in full, and not again in the implementations.

A store keeps the records of one *namespace*. Every method of ``Transitions`` is one atomic step: the record, the
sets it is counted in, the counters and the events change together or not at all, whatever else runs at the same
time. Time is the store's own, in integer milliseconds since the epoch. No step is unbounded: what may touch many
jobs works in pages of at most ``limit`` and returns ``more=True`` until it is done; a crash between two pages loses
nothing, because the record says what is left and the clock continues with it.

A store that was used before a fork keeps working in parent and child, each with its own connections, threads and locks:
``stratix_kombu.forks`` calls the owners registered there.

Methods raise ``StoreUnavailable`` when the store cannot be reached; it is unknown then whether the step was made.

How to implement one: ``stratix_kombu.testing`` exports the suite that checks conformance; the memory store
is the executable specification. No connection or transaction type crosses the contract, so it can be built on Lua
scripts, SQL transactions or conditional writes.

Order. The waiting jobs of a queue stand in one order: by priority, then by place, then by id. A job is given its place
when it becomes waiting, and keeps it while it waits, whatever keeps it from starting; handed back it has it again.
Without groups each place is the next one. Groups take turns: the place of a job of a group is the one after the last
place of its group, and no earlier than after the place from which the queue last took a job of that priority; jobs
without a group are one group. Places are counted for each priority.

Limits remember starts and nothing else: no job has a slot of its own, and none is ``delayed`` by a limit. What changes,
lifts or removes a limit, a bound or a hold acts on all that wait. That a job is removed or cancelled leaves nothing
behind.

Permits. For each job that becomes waiting one message is to be sent (``Change.ready``), so that the broker's queue is
as long as the backlog; a message that is not that of a native job is a permit to take one job, whichever is next.
Permits that callers of ``take`` drop without getting a job for each, while jobs wait, are *owed*; callers that take
more than they drop lower that. What lets jobs start again sends ``min(owed, what may start now)``, a page at most in a
step: ``resume``, ``set_limit``, ``set_global_concurrency``, a hold that is lifted, the end of an active job where a
bound has refused one, and ``promote`` when a limit or a hold opens. What may start is reckoned by what was set for the
queue, else by the bounds of whoever was refused last. Native jobs whose claim was refused are sent then, too, the first
in the order in which they were refused; one that its own limit refused, when that opens.
"""

from stratix_kombu.stores.contract.by_hand import PAGE
from stratix_kombu.stores.contract.clocks import MARGIN_MS, Clocks, Lead
from stratix_kombu.stores.contract.contents import Contents, KeptEdge, KeptJob, KeptOutcome, KeptQueue
from stratix_kombu.stores.contract.mail import Mail
from stratix_kombu.stores.contract.migrations import Migrations
from stratix_kombu.stores.contract.outbox import Outbox
from stratix_kombu.stores.contract.parts import EventLog, Locks, LogReader, Schedules
from stratix_kombu.stores.contract.queries import FOUND_AT_ONCE, Queries
from stratix_kombu.stores.contract.store import Store, Survey
from stratix_kombu.stores.contract.transitions import TAKEN_AT_ONCE, UNUSED_MS, Transitions, check_ids
from stratix_kombu.stores.contract.work import Work

__all__ = [
    "FOUND_AT_ONCE",
    "MARGIN_MS",
    "PAGE",
    "TAKEN_AT_ONCE",
    "UNUSED_MS",
    "Clocks",
    "Contents",
    "EventLog",
    "KeptEdge",
    "KeptJob",
    "KeptOutcome",
    "KeptQueue",
    "Lead",
    "Locks",
    "LogReader",
    "Mail",
    "Migrations",
    "Outbox",
    "Queries",
    "Schedules",
    "Store",
    "Survey",
    "Transitions",
    "Work",
    "check_ids",
]
