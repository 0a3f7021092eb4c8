"""What a forked child does with what its parent had opened. This is the one place that uses ``os.register_at_fork``.

The rule: no connection, thread, lock, executor or subscription is used by another process than the one that made it.
Every owner of one registers itself, and its ``after_fork`` resets it in the child, so that it starts afresh when it is
next used. Nothing is done before the fork, and nothing in the parent, which is not affected; except for a ``Holder``,
whose library has state of the whole process that a child must not inherit in the middle of an operation.

Only the thread that forked exists in the child. Another thread may have held any lock, which is then never released: so
an owner replaces its locks, and does not take them. Library functions that take inherited locks are not called either.
Sockets are closed by ``close_copy``, which sends nothing, since the parent still uses the same connection."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from contextlib import suppress
from typing import Any, NoReturn, Protocol
from weakref import WeakSet

logger = logging.getLogger("stratix_kombu")


class Owner(Protocol):
    """Owns something that a forked child must not use."""

    def after_fork(self) -> None:
        """Called in the child, before anything else runs there: drop what belongs to the parent, and create new locks.
        Touches nothing of other owners."""


class Holder(Owner, Protocol):
    """Has to be at rest while the process forks."""

    def before_fork(self) -> None:
        """Wait for what is under way, and hold up what comes. Bounded in time."""

    def after_fork_in_parent(self) -> None:
        """Let it go on."""


_owners: WeakSet[Owner] = WeakSet()
_holders: WeakSet[Holder] = WeakSet()
_held: list[Holder] = []
_kept: list[object] = []


def register(owner: Owner) -> None:
    """Have ``owner.after_fork()`` called in each child that this process forks, for as long as the owner lives."""
    _owners.add(owner)


def hold_while_forking(holder: Holder) -> None:
    """Have a registered owner be at rest while this process forks."""
    _holders.add(holder)


def close_copy(sock: socket.socket) -> None:
    """Close this process's copy of a socket without sending anything: no ``shutdown``, and no TLS ``close_notify``,
    which only ``unwrap`` sends."""
    with suppress(OSError):
        sock.close()


def keep(inherited: object) -> None:
    """Keep an object that cannot be closed silently, so that it sends nothing when it is garbage-collected."""
    _kept.append(inherited)


class OfOneProcess:
    """Cannot be pickled; the error says so, and what to do instead."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "an application, its queues and its jobs belong to one process and cannot be pickled: pass "
            "settings, names and ids to the other process, and let it create an application of its own"
        )


def abandon_pool(pool: Any) -> None:
    """Close the copies of all connections of a pool of redis-py, those in use too.

    The pool itself must not be used again. Its own handling of forks, and its destructor, would wait for its lock,
    which may never be released."""
    pool._lock, pool._fork_lock = threading.RLock(), threading.RLock()
    for connection in (*pool._available_connections, *pool._in_use_connections):
        connection.disconnect()  # for a connection of another process it closes the copy only
    sentinels = getattr(getattr(pool, "sentinel_manager", None), "sentinels", ())
    for client in sentinels:
        abandon_pool(client.connection_pool)


def end_if_forked(pid: int, code: int) -> None:
    """End this process if it is not the one with that number, but was forked from it by a handler and has returned from
    the handler: what follows is the parent's task."""
    if os.getpid() != pid:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _after_fork_in_child() -> None:
    _held.clear()
    for owner in list(_owners):
        try:
            owner.after_fork()
        except Exception:
            logger.exception("%r cannot be reset after a fork", owner, extra={"action": "fork_failed"})


def _before_fork() -> None:
    for holder in list(_holders):
        holder.before_fork()
        _held.append(holder)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().after_fork_in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
