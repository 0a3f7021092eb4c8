"""No broker: the store is asked for jobs, and announces when there are some. There are no messages for our workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stratix_kombu.drivers.contract import Delivery, DriverCapabilities, Receiver, TransportDriver, Watcher
from stratix_kombu.errors import DriverUnavailable, StoreUnavailable
from stratix_kombu.model.record import Ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratix_kombu.stores.contract import Store, Work

PERMIT = Delivery("", None)
"""It names no job: there was no message."""
PATIENCE_S = 5.0


class StoreDriver(TransportDriver):
    """For a store that has ``work``. All methods may be called from any thread."""

    capabilities = DriverCapabilities(durable=True, ordered=True, priorities=True, counts=True, shared=True)
    delivers = True
    """What a transition makes ready can be taken without a permit."""

    def __init__(self, store: Store, name: str = "sqlite") -> None:
        assert store.work is not None
        self._store = store
        self._name = name
        self.work: Work = store.work
        self.address = store.address

    def init(self) -> None:
        with as_driver():
            self._store.ping()

    def create_queue(self, name: str, options: Mapping[str, Any]) -> Any:
        return None

    def close(self) -> None:
        """The store is closed with the application."""

    def get_name(self) -> str:
        return self._name

    def check_health(self) -> bool:
        try:
            self._store.ping()
        except StoreUnavailable:
            return False
        return True

    def publish(self, jobs: Sequence[Ready]) -> None:
        """They wait in the store, which has woken those who wait for them. Tasks of Celery need their messages."""
        tasks = [job for job in jobs if job.message]
        if tasks and self._store.mail is not None:
            with as_driver():
                self._store.mail.post(tasks)

    def depth(self, queue: str) -> int | None:
        """Where Celery's workers take messages out of the store, these."""
        with as_driver():
            mailed = self._store.mail.depth(queue) if self._store.mail is not None else None
            return self.work.count(queue) if mailed is None else mailed

    def purge(self, queue: str) -> int:
        return 0

    def receiver(self, queue: str, slots: int) -> Receiver:
        return StoreReceiver(self.work, queue)

    def watcher(self) -> Watcher:
        return StoreWatcher(self.work)


@contextmanager
def as_driver() -> Iterator[None]:
    """That the store is unreachable is that the broker is."""
    try:
        yield
    except StoreUnavailable as problem:
        raise DriverUnavailable(problem.where, problem.problem) from problem


class StoreReceiver(Receiver):
    """Waits until the queue has jobs. What it gives are no messages: nothing has to be acknowledged or given back."""

    patience = PATIENCE_S

    def __init__(self, work: Work, queue: str) -> None:
        self._work = work
        self._queue = queue
        self._stopped = False

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        if self._stopped:
            return []
        with as_driver():
            found = self._work.wait([self._queue], min(timeout, self.patience), self)
        return [PERMIT] * min(found[1], limit) if found else []

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        pass

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        pass

    def interrupt(self) -> None:
        self._stopped = True
        self._work.wake(self)

    def close(self) -> None:
        pass


class StoreWatcher(Watcher):
    """The same for many queues."""

    patience = PATIENCE_S

    def __init__(self, work: Work) -> None:
        self._work = work

    def wait(self, queues: Sequence[str], timeout: float) -> tuple[str, list[Delivery]] | None:
        with as_driver():
            found = self._work.wait(queues, timeout, self)
        return (found[0], [PERMIT]) if found else None

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        pass

    def interrupt(self) -> None:
        self._work.wake(self)

    def close(self) -> None:
        pass
