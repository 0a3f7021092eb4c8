"""``app.check_health()``: what is wrong is named, and a worker is healthy again when it takes messages again."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from stratix_kombu import ConfigurationError, create_app
from tests.services import end, free_port, redis_server, start_redis, wait_for_port
from tests.waiting import WAIT_S, until


def test_a_worker_that_takes_messages(settings: dict[str, Any]) -> None:
    with create_app(settings) as app, create_app(settings) as producer:
        app.start()
        producer.start()
        queue = app.queue.create_queue("work", concurrency=2)
        queue.process(lambda job: None)
        until(lambda: app.check_health().ok, WAIT_S)
        health = app.check_health(within=timedelta(seconds=30))
        assert (health.driver, health.store, health.consuming, health.clock) == (True, True, True, True)
        assert (health.problems, health.clock_lag_ms) == ((), 0)
        (worker,) = health.workers
        assert (worker.queue, worker.concurrency, worker.host) == ("work", 2, socket.gethostname())
        assert worker.idle_ms is not None
        assert producer.check_health().workers == ()
        queue.add("n").wait_until_finished(timeout=10)
        for scope in ("host", "all"):
            until(lambda scope=scope: producer.check_health(workers=scope).workers, WAIT_S)  # type: ignore[misc]
            seen = producer.check_health(workers=scope)
            assert seen.ok
            assert [one.id for one in seen.workers] == [worker.id]
            assert seen.workers[0].idle_ms is not None


def test_nobody_is_there(settings: dict[str, Any]) -> None:
    with create_app(settings) as app:
        app.start()
        app.queue.get_queue("work").add("n")
        assert app.check_health().ok
        health = app.check_health(workers="all")
        assert not health
        assert (health.consuming, health.driver, health.store, health.clock) == (False, True, True, True)
        assert health.problems == ("no worker is present anywhere",)


def test_no_clock_promotes_what_is_due(settings: dict[str, Any]) -> None:
    with create_app({**settings, "worker": {"clock": False}}) as app:
        app.start()
        app.queue.get_queue("work").add("n", delay=1)
        until(lambda: not app.check_health(within=20).clock, WAIT_S)
        health = app.check_health(within=20)
        assert health.clock_lag_ms > 20
        assert "no clock promotes it" in health.problems[0]
        with create_app(settings) as other:
            other.start()
            until(lambda: app.check_health().clock_lag_ms == 0, WAIT_S)
            assert other.check_health().ok


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_stores_clock_was_set_back(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time stands still then, for other processes have seen a later one."""
    file = f"sqlite:///{tmp_path / 'jobs.db'}"
    url = file if kind == "sqlite" else request.getfixturevalue("postgres_database") + "?migrate=auto"
    with create_app({"store": url}) as app:
        app.start()
        app.queue.get_queue("work").add("n", delay=3_600_000)
        queries: Any = app.queue.engine.store.queries
        space, shows, now = queries._space, queries._space._wall, queries.now()
        assert app.check_health().ok
        monkeypatch.setattr(space, "_wall", lambda: shows() - 5_000)
        assert app.check_health().ok, "by a little clocks are always set"
        monkeypatch.setattr(space, "_wall", lambda: shows() - 3_600_000)
        assert queries.now() > now - 60_000, "it does not go back"
        health = app.check_health()
        assert (health.store, health.clock) == (True, False)
        (problem,) = health.problems
        assert problem.startswith("the store's clock was set back, and its time stands still for another 3")


@contextmanager
def broker() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A Redis of our own, to be frozen."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="stratix-redis-") as folder:
        process = start_redis(folder, port)
        try:
            wait_for_port(port, process)
            yield port, process
        finally:
            process.send_signal(signal.SIGCONT)
            end(process)


def test_a_frozen_broker_is_noticed_and_the_worker_comes_back(settings: dict[str, Any], redis_url: str) -> None:
    """The process, its threads and its heartbeat all go on: only its taking of messages shows that it is stuck."""
    with broker() as (port, process):
        redis = {"url": f"redis://127.0.0.1:{port}/0", "connect_timeout": 500}
        with (
            create_app({**settings, "redis": redis, "store": redis_url}) as app,
            create_app({**settings, "driver": "memory", "redis": {}, "store": redis_url}) as observer,
        ):
            app.start()
            observer.start()
            queue = app.queue.create_queue("work")
            queue.process(lambda job: "done")
            assert queue.add("n").wait_until_finished(timeout=10) == "done"
            until(lambda: observer.check_health(workers="all").ok, WAIT_S)
            process.send_signal(signal.SIGSTOP)
            until(lambda: not observer.check_health(within=2_000, workers="all").consuming, WAIT_S)
            seen = observer.check_health(within=2_000, workers="all")
            assert (seen.driver, seen.store) == (True, True)
            assert "has not taken messages for" in seen.problems[0]
            own = app.check_health(within=2_000)
            assert (own.driver, own.store, own.consuming) == (False, True, False)
            process.send_signal(signal.SIGCONT)
            until(lambda: app.check_health(within=2_000).ok, WAIT_S)
            until(lambda: observer.check_health(within=2_000, workers="all").ok, WAIT_S)
            assert queue.add("n").wait_until_finished(timeout=20) == "done"


def test_a_store_that_is_away(settings: dict[str, Any]) -> None:
    app = create_app({"driver": "memory", "store": f"redis://127.0.0.1:{free_port()}/0"})
    for scope in ("process", "all"):
        health = app.check_health(workers=scope)
        assert (health.driver, health.store, health.clock) == (True, False, False)
        assert health.problems[0] == "the store does not answer"
    app.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"workers": "hots"}, "unknown 'workers' 'hots'; did you mean 'host'"),
        ({"within": -1}, "check_health: 'within' must be between 0"),
        ({"within": "30s"}, "check_health: 'within' must be milliseconds"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, Any], problem: str) -> None:
    app = create_app({"driver": "memory"})
    with pytest.raises(ConfigurationError, match=problem):
        app.check_health(**options)
    app.close()


def test_no_slot_can_run_anything(settings: dict[str, Any]) -> None:
    """Handlers that go on after their time hold all slots: nothing is taken, though the connection is sound."""
    go_on = threading.Event()
    with create_app(settings) as app, create_app(settings) as observer:
        app.start()
        observer.start()
        queue = app.queue.create_queue("work", concurrency=3)
        queue.process("deaf", lambda job: go_on.wait(60))
        queue.process("n", lambda job: "done")
        late = [queue.add("deaf", timeout=10) for _ in range(2)]
        until(lambda: all(job.refresh().state == "failed" for job in late), WAIT_S)
        cancelled = queue.add("deaf")
        until(lambda: cancelled.refresh().state == "active", WAIT_S)
        until(lambda: [one.stuck for one in queue.get_workers()] == [2], WAIT_S)
        cancelled.cancel()
        problem = (
            "no slot can run anything, 3 of 3 are held by handlers that timed out, were cancelled or lost their "
            "lease, and are still running"
        )
        for where, scope in ((app, "process"), (observer, "all")):
            until(lambda a=where, s=scope: any(problem in one for one in a.check_health(1_500, s).problems), WAIT_S)  # type: ignore[misc]
        assert app.check_health().ok, "it may be for a moment only"
        go_on.set()
        until(lambda: app.check_health(within=5_000).ok, WAIT_S)
        assert queue.add("n").wait_until_finished(timeout=10) == "done"
        until(lambda: [one.stuck for one in queue.get_workers()] == [0], WAIT_S)


def test_long_jobs_in_all_slots_are_healthy(settings: dict[str, Any]) -> None:
    go_on = threading.Event()
    with create_app(settings) as app:
        app.start()
        queue = app.queue.create_queue("work", concurrency=2)
        queue.process(lambda job: go_on.wait(60))
        jobs = [queue.add("n", timeout=60_000), queue.add("n")]
        until(lambda: all(job.refresh().state == "active" for job in jobs), WAIT_S)
        (first,) = app.check_health().workers
        assert first.idle_ms is not None
        # The connection is tended each second.
        until(lambda: (app.check_health().workers[0].idle_ms or 0) > (first.idle_ms or 0), WAIT_S)
        until(lambda: (app.check_health().workers[0].idle_ms or 0) < 500, WAIT_S)
        assert app.check_health(within=60_000).ok
        assert app.check_health().workers[0].stuck == 0
        go_on.set()


def test_many_queues_cost_few_calls() -> None:
    """A probe comes every few seconds, and a thousand queues are no reason for a thousand calls."""
    with redis_server() as url, create_app({"driver": "redis", "redis": {"url": url}}) as app:
        for number in range(450):
            app.queue.get_queue(f"q{number}").add("n")
        app.check_health(workers="all")  # the connection and the scripts are there
        with Redis.from_url(url) as server:
            scripts = _scripts(server)
            health = app.check_health(workers="all")
            assert health.problems == ("no worker is present anywhere",)
            assert _scripts(server) - scripts <= 4


def _scripts(server: Any) -> int:
    """How many were called."""
    return int(server.info("commandstats")["cmdstat_evalsha"]["calls"])
