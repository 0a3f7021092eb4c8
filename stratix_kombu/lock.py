"""``app.distributed_lock``: locks of the store, with an owner and a time to live."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType

from stratix_kombu import forks
from stratix_kombu.config.options import Duration, milliseconds
from stratix_kombu.errors import ConfigurationError, WaitTimeout
from stratix_kombu.foreign import LOCKS
from stratix_kombu.hints import Hinted
from stratix_kombu.model.arguments import seconds
from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.model.names import check_lock_key
from stratix_kombu.model.suspects import suspect_ttl
from stratix_kombu.stores.contract import Store

POLL_S = 0.05
LOOK_AT = 100
"""The number of unreleased locks that are remembered before expired ones are dropped."""


class Lock(NotAwaitable, Hinted):
    """A lock that was acquired. Leaving its ``with`` block releases it."""

    _foreign = LOCKS
    _meant = "leave out 'await', or write 'await asyncio.to_thread(app.distributed_lock.acquire, key, ttl)'"

    def __init__(self, locks: DistributedLock, key: str, token: str) -> None:
        self.key = key
        self.token = token
        """The proof that it is ours."""
        self.pid: int = os.getpid()
        """The process that acquired it: a forked child has not, and cannot release it."""
        self._locks = locks

    def __repr__(self) -> str:
        return f"<Lock {self.key!r}>"

    def extend(self, ttl: Duration) -> bool:
        """Keep it for ``ttl`` from now on (milliseconds or a timedelta); False if it was lost meanwhile."""
        return self._locks.extend(self, ttl)

    def release(self) -> bool:
        """Release it; False if it was lost meanwhile."""
        return self._locks.release(self)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class DistributedLock(Hinted):
    """Named locks between all processes on one store. Only the owner of a lock can release it. A lock expires after its
    time to live; it does not guarantee exclusion beyond that.

    >>> lock = app.distributed_lock.acquire("daily-task", 30_000)  # doctest: +SKIP
    >>> if lock:
    ...     with lock:
    ...         send_reports()
    """

    _foreign = LOCKS

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mine: dict[str, tuple[Lock, float]] = {}
        """By key, the locks that were acquired and not released, and when each expires on the clock of
        ``time.monotonic``."""
        self._look_at = LOOK_AT
        self._guard = threading.Lock()
        forks.register(self)

    def after_fork(self) -> None:
        self._mine, self._guard = {}, threading.Lock()

    def acquire(self, key: str, ttl: Duration) -> Lock | None:
        """Take the lock for ``ttl`` (milliseconds or a timedelta); None if another owner has it.

        Raises ConfigurationError, StoreUnavailable.
        """
        lock = Lock(self, check_lock_key(key), uuid.uuid4().hex)
        if not self._store.locks.acquire(lock.key, lock.token, _ttl(ttl)):
            return None
        self._keep(lock, ttl)
        return lock

    def _keep(self, lock: Lock, ttl: Duration) -> None:
        now = time.monotonic()
        with self._guard:
            if len(self._mine) >= self._look_at:  # many: drop those that have expired without being released
                self._mine = {key: (token, ends) for key, (token, ends) in self._mine.items() if ends > now}
                self._look_at = max(LOOK_AT, 2 * len(self._mine))
            self._mine[lock.key] = (lock, now + _ttl(ttl) / 1000)

    @contextmanager
    def hold(self, key: str, ttl: Duration, timeout: float | None = None) -> Iterator[Lock]:
        """Wait for the lock up to ``timeout`` seconds (None = no limit) and hold it within the block.

        Raises WaitTimeout.

        >>> with app.distributed_lock.hold("daily-task", 30_000, timeout=5):  # doctest: +SKIP
        ...     send_reports()
        """
        patience = seconds(timeout, "the time to wait for a lock")
        deadline = None if patience is None else time.monotonic() + patience
        while (lock := self.acquire(key, ttl)) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(f"the lock {key!r} is still held by another owner", patience or 0.0)
            time.sleep(POLL_S)
        with lock:
            yield lock

    def release(self, lock: Lock | str) -> bool:
        """Release a lock, or the one that this process acquired under that key; return whether it was still ours."""
        owned = self._owned(lock)
        if owned is None:
            return False
        with self._guard:
            if self._mine.get(owned.key, (None, 0.0))[0] is owned:
                del self._mine[owned.key]
        return self._store.locks.release(owned.key, owned.token)

    def extend(self, lock: Lock | str, ttl: Duration) -> bool:
        """Keep a lock for ``ttl`` from now on; return whether it was still ours."""
        owned = self._owned(lock)
        if owned is None or not self._store.locks.extend(owned.key, owned.token, _ttl(ttl)):
            return False
        self._keep(owned, ttl)
        return True

    def _owned(self, lock: Lock | str) -> Lock | None:
        if isinstance(lock, Lock):
            return lock if lock.pid == os.getpid() else None
        with self._guard:
            return self._mine.get(check_lock_key(lock), (None, 0.0))[0]


def _ttl(ttl: Duration) -> int:
    ms = milliseconds(ttl, "the time to live of a lock")
    if ms < 1:
        raise ConfigurationError("the time to live of a lock must be at least 1 ms")
    if not isinstance(ttl, timedelta):
        suspect_ttl(ms, "the time to live of a lock")
    return ms
