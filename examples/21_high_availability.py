"""High availability: Redis by Sentinel or as a cluster, what happens while it is away, attempts with a back-off of
one's own, a job whose worker died, and a clean end. The servers in the first part need not exist: settings are checked
when they are given, and a connection is made with the first use.
"""

import logging
import threading
import time

from stratix_kombu import ConfigurationError, StoreUnavailable, create_app, queue_plugin
from stratix_kombu.lifecycle.claim import claim

logging.getLogger("stratix_kombu.worker").setLevel(logging.CRITICAL)  # what fails here is meant to: not on stderr

SENTINEL = {
    "sentinels": [{"host": f"sentinel-{number}", "port": 26379} for number in (1, 2, 3)],
    "name": "mymaster",
    "sentinelPassword": "sentinel-password",
    "password": "redis-password",
}
CLUSTER = {
    "cluster": [{"host": f"redis-node{number}", "port": 6379} for number in (1, 2, 3)],
    "options": {"redisOptions": {"password": "cluster-password"}},
}


def show(title, **settings):
    """What the settings mean, without a server."""
    app = create_app()
    try:
        app.register(queue_plugin, settings)
    except ConfigurationError as refused:
        print(f"{title}: {refused}")
        return
    print(f"{title}: {app.queue.describe()}")
    app.close()


def add_while_redis_is_away():
    """A command is sent again as the strategy says; then the caller gets an error. Nothing hangs."""
    waits = []

    def strategy(times):
        waits.append(min(times * 20, 50))
        return waits[-1]  # milliseconds; None would give up at once

    away = {"host": "127.0.0.1", "port": 1, "maxRetriesPerRequest": 3, "connectRetryStrategy": strategy}
    app = create_app()
    app.register(queue_plugin, driver="bullmq", redis=away, store=away)
    try:
        app.queue.get_queue("q").add("n")
    except StoreUnavailable as unavailable:
        print("away:", type(unavailable).__name__, "after waiting", waits, "ms")
    app.close()


def gently(attempts_made):
    delays = [20, 50, 150]  # milliseconds
    return delays[attempts_made - 1] if attempts_made <= len(delays) else 150


if __name__ == "__main__":
    show("sentinel", driver="bullmq", redis=SENTINEL, store=SENTINEL)
    show("cluster", driver="memory", store=CLUSTER)
    show("cluster as broker", driver="bullmq", redis=CLUSTER, store=CLUSTER)
    add_while_redis_is_away()

    app = create_app()
    app.register(queue_plugin, bullmq={"stalledCheckInterval": 100, "maxStalledCount": 2})
    calls = app.queue.create_queue("calls", backoffs={"gently": gently})
    payments = app.queue.create_queue("payments")
    failed_over = threading.Event()
    attempts = []

    @calls.process("api-call")
    def call(job):
        attempts.append(time.monotonic())
        if len(attempts) < 3:
            raise OSError("try again")
        return f"answered after {len(attempts)} attempts"

    @payments.on("stalled")
    def log_failover(job):
        print("stalled, and tried again:", job.id)
        failed_over.set()

    app.hook("beforeClose", lambda: print("closing: active jobs are waited for, the rest is handed back"))

    with app:
        app.start()
        print(calls.add("api-call", attempts=5, backoff={"custom": "gently"}).wait_until_finished(timeout=30))
        job = payments.add("charge", job_id="payment-1")
        # What a worker leaves that is killed: a job that it took, and a lease of half a second that nobody renews.
        claim(app.queue.engine, "payments", [job.id], "a-worker-that-was-killed", lease_ms=500)
        payments.process(lambda job: "charged by another worker")
        print(job.wait_until_finished(timeout=30) if failed_over.wait(30) else "nobody noticed")
    print("closed")
