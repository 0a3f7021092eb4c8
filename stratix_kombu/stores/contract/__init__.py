"""What a store must do. Documented here in full, and not again in the implementations.

A store keeps the records of one *namespace*. Every method of ``Transitions`` is one atomic step: the record, the
sets it is counted in, the counters and the events change together or not at all, whatever else runs at the same
time. Time is the store's own, in integer milliseconds since the epoch. No step is unbounded: what may touch many
jobs works in pages of at most ``limit`` and answers ``more=True`` until it is done; a crash between two pages
loses nothing, for the record says what is left and the clock goes on with it.

A store that was used before a fork goes on in parent and child, each with connections, threads and locks of its own:
``stratix_kombu.forks`` calls who registers there.

Methods raise ``StoreUnavailable`` when the store cannot be reached; nothing else is known about the step then.

How to implement one: ``stratix_kombu.testing`` exports the suite that tells whether it conforms; the memory store
is the executable specification. No connection or transaction type crosses the contract, so it can be built on Lua
scripts, SQL transactions or conditional writes.
"""

from stratix_kombu.stores.contract.clocks import MARGIN_MS, Clocks, Lead
from stratix_kombu.stores.contract.parts import EventLog, Locks, Schedules
from stratix_kombu.stores.contract.queries import FOUND_AT_ONCE, Queries
from stratix_kombu.stores.contract.store import Store, Survey
from stratix_kombu.stores.contract.transitions import PAGE, TAKEN_AT_ONCE, UNUSED_MS, Transitions, check_ids

__all__ = [
    "FOUND_AT_ONCE",
    "MARGIN_MS",
    "PAGE",
    "TAKEN_AT_ONCE",
    "UNUSED_MS",
    "Clocks",
    "EventLog",
    "Lead",
    "Locks",
    "Queries",
    "Schedules",
    "Store",
    "Survey",
    "Transitions",
    "check_ids",
]
