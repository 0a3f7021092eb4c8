"""A prefork pool of Celery that stops while its child runs a task, whose acknowledgement has not been read. Prints how
many outcomes were read of how many tasks."""

from __future__ import annotations

from typing import Any

from celery.concurrency.asynpool import AsynPool
from kombu.asynchronous import Hub

from stratix_kombu.celery.children import read_children_to_the_end


def read_of(function: Any, argument: Any) -> int:
    hub = Hub()
    pool = AsynPool(1, threads=False)
    pool.register_with_event_loop(hub)
    loop = hub.create_loop()
    while not pool._fileno_to_inq:  # the child is not up
        next(loop)
    pool.apply_async(function, (argument,))
    (job,) = pool._cache.values()
    while not job._write_to:
        next(loop)
    (child,) = pool._pool
    assert child.outq._reader.poll(60), "it has not begun"
    assert not job._accepted
    (read,) = pool._on_ready_counters.values()
    pool.flush()  # as the worker's consumer stops
    assert not pool._cache
    pool.close()
    pool.join()
    return int(read.value)


if __name__ == "__main__":
    read_children_to_the_end()
    print(read_of(abs, -1))
    print(read_of(bytes, 1_000_000))  # it does not fit into the pipe
