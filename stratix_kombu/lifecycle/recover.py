"""Recover what a crash left: expired leases, lost messages, half-done releases, expired records."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from stratix_kombu.errors import RecordLost, Unavailable
from stratix_kombu.lifecycle.dispatch import dispatch, dispatch_pages
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Change, Held
from stratix_kombu.stores.contract import PAGE

UNKNOWN_DEPTH_FACTOR = 4
"""Where the broker's depth cannot be read, a lost message is assumed after this many grace periods."""
FRESH_MS = 1_000
"""The messages of jobs that have waited no longer may be on their way."""
PAGES_AHEAD = 8
"""So many pages of lost messages are sent at once while others wait to be sent."""


def recover(engine: Engine, max_stalled: int, expire: bool = True) -> None:
    """Leases that ran out, releases a crash interrupted, and if ``expire`` says so records past their retention."""
    transitions = engine.store.transitions
    dispatch_pages(engine, lambda: _reported(engine, transitions.recover(max_stalled)))
    if expire:
        dispatch_pages(engine, transitions.expire)


def give_up(engine: Engine, held: Sequence[Held], max_stalled: int) -> None:
    """Recover these claims now, because their holder is known to be dead: they count as expired leases."""
    engine.store.transitions.renew([], held, 0)
    recover(engine, max_stalled, expire=False)


def catch_up(engine: Engine, queues: Collection[str]) -> None:
    """Send the messages of what has waited for more than a moment, where the broker has none of them: for a host that
    runs what the broker brings, and whose broker may be another one than that which was sent them."""
    redelivery = Redelivery(engine, 0)
    for queue in engine.store.queries.late_queues(FRESH_MS):
        if queue in queues:
            redelivery.send(queue)


def _reported(engine: Engine, change: Change) -> Change:
    """Report what was dropped, once for a queue."""
    by_queue: dict[str, dict[str, str]] = {}
    for job in change.lost:
        by_queue.setdefault(job.queue, {})[job.id] = job.why
    for queue, lost in by_queue.items():
        engine.report(queue, RecordLost(queue, lost), "record_lost")
    return change


class Redelivery:
    """Sends again the messages that seem lost. Where more were lost than one page, it goes on as fast as the queue is
    worked: whenever the broker has nearly run out of messages, it is sent some more."""

    def __init__(self, engine: Engine, grace_ms: int) -> None:
        self._engine = engine
        self._grace_ms = grace_ms
        self._behind: dict[str, bool] = {}
        """Queues to go on with, and whether the broker's queue was found empty."""

    @property
    def is_behind(self) -> bool:
        """Whether there is more to send than was sent."""
        return bool(self._behind)

    def look(self) -> None:
        """In every queue in which a job has waited long; to be called now and then."""
        for queue in self._engine.store.queries.late_queues(self._grace_ms):
            if queue not in self._behind:
                self._send(queue, 1)

    def go_on(self) -> None:
        """In those in which not all has been sent; to be called often."""
        for queue in list(self._behind):
            self._send(queue, PAGES_AHEAD)

    def send(self, queue: str) -> None:
        """In this queue now: some pages."""
        self._send(queue, PAGES_AHEAD)

    def _send(self, queue: str, pages: int) -> None:
        engine = self._engine
        try:
            depth = engine.driver.depth(queue)
        except Unavailable as error:
            engine.report(queue, error, "depth_failed")
            return
        if queue in self._behind and (depth or 0) >= PAGE:
            return
        empty = self._behind.setdefault(queue, not depth)
        grace = self._grace_ms if depth is not None else self._grace_ms * UNKNOWN_DEPTH_FACTOR
        found, again = (0, depth or 0) if empty else (depth, 0)  # what is there now was sent since it was found empty
        for page in range(pages):
            change = engine.store.transitions.redeliver(
                queue, grace, None if depth is None else found, sent=again + page * PAGE
            )
            dispatch(engine, change.ready)
            if not change.more:
                del self._behind[queue]
                return
