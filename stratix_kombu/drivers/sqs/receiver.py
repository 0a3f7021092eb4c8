"""Receiving: one long poll, and deletes in batches.

The queue is polled in a thread of its own, so that nothing has to wait for the end of a poll: a worker that stops
abandons it, and the messages that it still brings are given back. Meanwhile deletes are sent, and a worker that needs
no permit to take jobs takes them. So a queue costs one request in ``wait_time_seconds``, idle or not, and one for each
ten permits that come."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from stratix_kombu import forks
from stratix_kombu.drivers.contract import Delivery, Receiver
from stratix_kombu.drivers.sqs.messages import PER_CALL
from stratix_kombu.errors import DriverUnavailable

if TYPE_CHECKING:
    from stratix_kombu.drivers.sqs.driver import SQSDriver

logger = logging.getLogger("stratix_kombu.drivers.sqs")

LOOK_S = 0.5
"""How often a receiver that waits looks whether deletes are due."""
SHORTEST_S = 0.5
"""For less time than this nothing is asked again: SQS waits for whole seconds."""
LINGER_S = 0.2
"""How long a worker that needs no permit waits for a poll that has just begun: longer than a request takes. If none has
come by then, the queue is empty, and the poll goes on while the worker does without."""
LEFT_WAIT_S = 1
"""How long a queue of an earlier version is polled. A shorter poll asks some of SQS's servers only."""
DELETE_S = 1.0
"""The longest that a delete waits for others to be sent with it."""


class Poll:
    """One poll of the queue, in a thread of its own. Once abandoned, it gives back the messages that it still
    brings."""

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
        """It is abandoned."""
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
                    len(self.found),
                    problem,
                    extra={"action": "give_back_failed"},
                )


class SQSReceiver(Receiver):
    """Takes messages of one queue, and first what an earlier version has left in others."""

    def __init__(self, driver: SQSDriver, queue: str) -> None:
        self.patience = driver.wait_s
        self._driver = driver
        self._queue = queue
        self._undecided: dict[int, Delivery] = {}
        self._over = threading.Condition()
        self._stopped = False
        self._poll: Poll | None = None
        self._left: list[int] | None = None
        """Levels of an earlier version that may have messages; None = not known yet."""
        self._deletes: defaultdict[int, list[str]] = defaultdict(list)
        """By level: messages that are dealt with and not deleted yet."""
        self._delete_at = 0.0
        self._keeps_order = queue.endswith(".fifo")
        forks.register(self)

    def after_fork(self) -> None:
        self._over, self._poll, self._undecided = threading.Condition(), None, {}
        self._deletes.clear()

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        found = self._of_left_levels(limit) or self._of_the_queue(limit, timeout)
        self._undecided.update((id(one), one) for one in found)
        return found

    def interrupt(self) -> None:
        with self._over:
            self._stopped = True
            self._over.notify_all()

    def _of_left_levels(self, limit: int) -> list[Delivery]:
        if self._left is None:
            self._left = self._driver.left_levels(self._queue)
        while self._left and not self._stopped:
            found = self._driver.ask(self._queue, self._left[0], limit, LEFT_WAIT_S)
            if found:
                return found
            del self._left[0]
        return []

    def _of_the_queue(self, limit: int, timeout: float) -> list[Delivery]:
        """The messages of a poll: one that starts now and ends in time, or one that an earlier call started."""
        deadline = time.monotonic() + timeout
        while not self._stopped:
            until = deadline
            if self._poll is None:
                left = deadline - time.monotonic() if timeout else self.patience
                ask = partial(self._driver.ask, self._queue, 0, limit, min(max(round(left), 0), 20))
                self._poll = Poll(ask, self._show_again, self._over)
                until = math.inf if timeout else deadline + LINGER_S
            poll = self._poll
            if not self._is_over(poll, until):
                return []
            self._poll = None
            if poll.problem is not None:
                raise poll.problem
            if len(poll.found) > limit:
                self._show_again(poll.found[limit:])
            if poll.found or deadline - time.monotonic() < SHORTEST_S:
                return poll.found[:limit]
        return []

    def _is_over(self, poll: Poll, until: float) -> bool:
        """Wait for the end of a poll; deletes are sent meanwhile."""
        while True:
            self._send_deletes(full_only=time.monotonic() < self._delete_at)
            left = until - time.monotonic()
            with self._over:
                if self._over.wait_for(lambda: poll.over or self._stopped, max(min(left, LOOK_S), 0)):
                    return poll.over
            if left <= LOOK_S:
                return False

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
        """What the poll has brought meanwhile is for others."""
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
        return [delivery for delivery in deliveries if self._undecided.pop(id(delivery), None) is not None]
