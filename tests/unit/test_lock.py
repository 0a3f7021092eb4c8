"""What a process remembers of the locks it has taken."""

from __future__ import annotations

from itertools import count

from stratix_kombu import Application
from stratix_kombu.lock import LOOK_AT
from tests.waiting import until


def test_locks_that_nobody_gives_back_are_forgotten(app: Application) -> None:
    locks = app.distributed_lock
    kept = locks.acquire("kept", 60_000)
    assert kept is not None
    extended = locks.acquire("extended", 500)
    assert extended is not None
    assert extended.extend(60_000)
    for n in range(3 * LOOK_AT):
        assert locks.acquire(f"k{n}", 1)
    most, more = len(locks._mine), count()

    def forgotten() -> bool:
        locks.acquire(f"again{next(more)}", 1)
        return len(locks._mine) < most

    until(forgotten)
    assert locks.extend("kept", 60_000)
    assert locks.release("kept")
    assert locks.release("extended")
    assert not locks.release("kept")
