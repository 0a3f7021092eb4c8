"""What a forked child does with what its parent had opened: the one place that registers with ``os.register_at_fork``.

The rule: no connection, thread, lock, executor or subscription is used by another process than the one that made it.
Every owner of one registers itself, and says in ``after_fork`` what becomes of it in the child: it begins anew with its
next use. Nothing is done before the fork and nothing in the parent, which does not notice.

In the child only the thread that forked goes on. Another one may have held any lock, for ever: so an owner replaces its
locks and does not take them. What libraries hold inherited locks for is not called either; sockets are closed by
``close_copy``, which says nothing on them, since the parent still talks over the same connection.
"""

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
    """Has something that a forked child must not use."""

    def after_fork(self) -> None:
        """Called in the child, before anything else runs there: forget what is the parent's, with new locks. Touches
        nothing that another owner has."""


_owners: WeakSet[Owner] = WeakSet()
_kept: list[object] = []


def register(owner: Owner) -> None:
    """Have ``owner.after_fork()`` called in each child that this process forks, for as long as the owner lives."""
    _owners.add(owner)


def close_copy(sock: socket.socket) -> None:
    """Close this process's copy of a socket without a word to the other side: no ``shutdown``, and no TLS
    ``close_notify``, since that is sent by ``unwrap`` only."""
    with suppress(OSError):
        sock.close()


def keep(inherited: object) -> None:
    """Keep what cannot be closed without a word, so that nothing is said when it is collected."""
    _kept.append(inherited)


class OfOneProcess:
    """Cannot be given to another process that does not share this one's memory: it says so, and what to do instead."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "an application, its queues and its jobs belong to one process and cannot be pickled: give the other "
            "process settings, names and ids, and let it make an application of its own"
        )


def abandon_pool(pool: Any) -> None:
    """Close the copies of all connections of a pool of redis-py, those in use too.

    The pool itself is not to be used again. Its own handling of forks waits for its lock, which may be held for ever,
    and so would its end.
    """
    pool._lock, pool._fork_lock = threading.RLock(), threading.RLock()
    for connection in (*pool._available_connections, *pool._in_use_connections):
        connection.disconnect()  # of another process's connection it closes the copy only
    sentinels = getattr(getattr(pool, "sentinel_manager", None), "sentinels", ())
    for client in sentinels:
        abandon_pool(client.connection_pool)


def end_if_forked(pid: int, code: int) -> None:
    """End this process if it is not the one with that number, but was forked from it by a handler and has come back
    from there: what follows is the parent's."""
    if os.getpid() != pid:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _after_fork_in_child() -> None:
    for owner in list(_owners):
        try:
            owner.after_fork()
        except Exception:
            logger.exception("%r cannot begin anew after a fork", owner, extra={"action": "fork_failed"})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
