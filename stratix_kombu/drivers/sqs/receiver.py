"""Receiving: the one long poll of an idle worker, the levels of priority besides it, and deletes in batches.

The queue itself is polled in a thread of its own, so that nobody has to wait for the end of a poll: a worker that stops
leaves it, and what it still brings is given back. Meanwhile deletes are sent, and the store is asked whether jobs of
other priorities wait. Only then are their queues asked, the most urgent first. So an idle queue costs one request in
``wait_time_seconds``, however many levels it has.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from stratix_kombu import forks
from stratix_kombu.drivers.contract import Delivery, Receiver
from stratix_kombu.drivers.sqs.messages import PER_CALL
from stratix_kombu.errors import DriverUnavailable

if TYPE_CHECKING:
    from stratix_kombu.drivers.sqs.driver import SQSDriver

logger = logging.getLogger("stratix_kombu.drivers.sqs")

LOOK_S = 0.5
"""How often an idle worker asks the store whether jobs of other priorities wait."""
SHORTEST_S = 0.5
"""For less time than this nothing is asked again: SQS waits for whole seconds."""
LINGER_S = 1.0
"""How long the queue itself may take to answer before a less urgent level is asked, if the store says that it is not
empty: longer than a request takes, shorter than a poll of an empty queue."""
LEVEL_WAIT_S = 1
"""How long a poll of another level waits. A shorter one asks only some of SQS's servers and may miss messages."""
EMPTY_S = 1.0
"""How long a level that was empty is not asked again, although the store says that its jobs wait: others have their
messages, or they are lost."""
DELETE_S = 1.0
"""The longest that a delete waits for others to be sent with it."""


class Poll:
    """One question to the queue, in a thread of its own. Left by its asker, it gives back what it still brings."""

    def __init__(
        self, ask: Callable[[], list[Delivery]], give_back: Callable[[list[Delivery]], None], over: threading.Condition
    ) -> None:
        self.found: list[Delivery] = []
        self.problem: BaseException | None = None
        self.over = False
        self._ask = ask
        self._give_back = give_back
        self._changed = over
        self._left = False
        threading.Thread(target=self._run, name="stratix-sqs-poll", daemon=True).start()

    def _run(self) -> None:
        try:
            self.found = self._ask()
        except Exception as problem:
            self.problem = problem
        with self._changed:
            self.over = True
            self._changed.notify_all()
            left = self._left
        if left:
            self._return()

    def leave(self) -> None:
        """Nobody waits for it any more."""
        with self._changed:
            self._left, over = True, self.over
        if over:
            self._return()

    def _return(self) -> None:
        if self.found:
            try:
                self._give_back(self.found)
            except DriverUnavailable as problem:
                logger.warning(
                    "%d messages of a poll that was left come back only after their visibility timeout: %s",
                    len(self.found), problem, extra={"action": "give_back_failed"},
                )  # fmt: skip


class SQSReceiver(Receiver):
    """Takes messages of one queue and of its levels."""

    def __init__(self, driver: SQSDriver, queue: str) -> None:
        self.patience = driver.wait_s
        self._driver = driver
        self._queue = queue
        self._undecided: dict[int, Delivery] = {}
        self._over = threading.Condition()
        self._stopped = False
        self._poll: Poll | None = None
        self._empty_until: dict[int, float] = {}
        self._deletes: defaultdict[int, list[str]] = defaultdict(list)
        """By level: messages that are dealt with and not deleted yet."""
        self._delete_at = 0.0
        self._keeps_order = queue.endswith(".fifo")
        forks.register(self)

    def after_fork(self) -> None:
        self._over, self._poll, self._undecided = threading.Condition(), None, {}
        self._deletes.clear()

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        left_over = self._poll is not None  # by an earlier call: it may take longer than this one wants to wait
        while not self._stopped:
            waiting = self._levels()
            found = self._of_the_queue(limit, deadline, waiting)
            left_over = left_over and self._poll is not None
            for level in sorted(waiting - {0}):
                if not found and not self._stopped:
                    found = self._of_level(level, limit)
            if found:
                self._undecided.update((id(one), one) for one in found)
                return found
            if deadline - time.monotonic() < SHORTEST_S and (self._poll is None or left_over):
                return []
        return []

    def interrupt(self) -> None:
        with self._over:
            self._stopped = True
            self._over.notify_all()

    def _levels(self) -> set[int]:
        """The levels with jobs that wait, but for those that were empty a moment ago; 0 is the queue itself."""
        if not self._driver.capabilities.priorities:
            return {0}
        if self.waiting is None:
            levels = {0, *self._driver.levels_used[self._queue]}
        else:
            levels = {self._driver.queues.level(self._queue, priority) for priority in self.waiting()}
        now = time.monotonic()
        return {level for level in levels if self._empty_until.get(level, 0) <= now}

    def _of_the_queue(self, limit: int, deadline: float, waiting: set[int]) -> list[Delivery]:
        """What the poll of the queue itself has brought, with as much patience as the other levels leave."""
        patience = LOOK_S
        if waiting - {0}:
            patience = LINGER_S if self._poll is None and 0 in waiting else 0.0
        if self._poll is None:
            wait = min(max(round(deadline - time.monotonic()), 0), 20)
            self._poll = Poll(lambda: self._driver.ask(self._queue, 0, limit, wait), self._show_again, self._over)
        poll = self._poll
        self._send_deletes(full_only=time.monotonic() < self._delete_at)
        with self._over:
            self._over.wait_for(lambda: poll.over or self._stopped, patience)
            if not poll.over:
                return []
        self._poll = None
        if poll.problem is not None:
            raise poll.problem
        if len(poll.found) > limit:
            self._show_again(poll.found[limit:])
        return poll.found[:limit]

    def _of_level(self, level: int, limit: int) -> list[Delivery]:
        found = self._driver.ask(self._queue, level, limit, LEVEL_WAIT_S)
        if not found:
            self._empty_until[level] = time.monotonic() + EMPTY_S
        return found

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        if not self._deletes:
            self._delete_at = time.monotonic() + DELETE_S
        for delivery in self._decided(deliveries):
            level, handle = delivery.handle
            self._deletes[level].append(handle)
        if self._keeps_order:  # SQS holds back the others of a group until the delete
            self._send_deletes(full_only=False)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        self._show_again(self._decided(deliveries))

    def refuse(self, deliveries: Sequence[Delivery]) -> None:
        """Left to SQS where the queue has a redrive policy: it moves them when they have come often enough."""
        for delivery in deliveries:
            if self._driver.at(self._queue, delivery.handle[0], self._driver.queues.has_redrive_policy):
                self._decided([delivery])
            else:
                self.acknowledge([delivery])

    def tend(self) -> None:
        """No slot is free: what the poll has brought meanwhile is for others."""
        poll = self._poll
        if poll is not None and poll.over and poll.problem is None:
            self._poll = None
            poll.leave()
        self._send_deletes(full_only=time.monotonic() < self._delete_at)

    def close(self) -> None:
        self.interrupt()
        poll, self._poll = self._poll, None
        if poll is not None:
            poll.leave()
        with suppress(DriverUnavailable):
            self._send_deletes(full_only=False)
        with suppress(DriverUnavailable):
            self.give_back(list(self._undecided.values()))

    def _send_deletes(self, full_only: bool) -> None:
        """Delete what is due, ten a call. No poll waits for it: the next one is under way."""
        for level, handles in list(self._deletes.items()):
            count = len(handles) - len(handles) % PER_CALL if full_only else len(handles)
            self._deletes[level] = handles[count:]
            if not self._deletes[level]:
                del self._deletes[level]
            if count:
                self._driver.delete(self._queue, level, handles[:count])

    def _show_again(self, deliveries: Sequence[Delivery]) -> None:
        by_level: defaultdict[int, list[str]] = defaultdict(list)
        for delivery in deliveries:
            level, handle = delivery.handle
            by_level[level].append(handle)
        for level, handles in by_level.items():
            self._driver.show_again(self._queue, level, handles)

    def _decided(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return [one for one in deliveries if self._undecided.pop(id(one), None) is not None]
