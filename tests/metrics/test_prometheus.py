"""The page for Prometheus: from a WSGI application, within workers, with several processes, without a store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from stratix_kombu import ConfigurationError, create_app
from stratix_kombu.config.settings import load_settings
from stratix_kombu.metrics import StratixCollector, metrics_app, serve
from stratix_kombu.model.metrics import NAMES_KEPT, OTHER
from tests.faults.worker_processes import worker_process
from tests.metrics.conftest import page, parse
from tests.services import free_port, redis_server
from tests.waiting import WAIT_S, until

ROOT = Path(__file__).resolve().parents[2]
At = Callable[..., float | None]


def test_everything_that_is_exported(settings: dict[str, Any], at: At) -> None:
    with create_app(settings) as app, serve(app, 0, "127.0.0.1") as server:
        app.start()
        queue = app.queue.create_queue("mail", concurrency=3)
        queue.process(lambda job: None)
        slow = app.queue.create_queue("slow")
        for _ in range(5):
            queue.add("welcome").wait_until_finished(timeout=10)
        slow.add("later", delay=60_000)
        slow.add("now")
        slow.pause()
        until(lambda: at(page(server.port), "stratix_worker_idle_seconds", queue="mail") is not None, WAIT_S)
        found = page(server.port)
    mail = {"queue": "mail"}
    assert at(found, "queue_size", status="completed", **mail) == 5
    assert at(found, "queue_size", status="delayed", queue="slow") == 1
    assert at(found, "queue_size", status="paused", queue="slow") == 1
    assert at(found, "queue_size", status="waiting", queue="slow") == 0
    assert at(found, "job_processing_time_count", job_name="welcome", **mail) == 5
    assert at(found, "job_processing_time_bucket", job_name="welcome", le="+Inf", **mail) == 5
    bounds = [le for name, labels in found if name == "job_processing_time_bucket" for k, le in labels if k == "le"]
    assert bounds == ["10", "50", "100", "500", "1000", "5000", "10000", "+Inf"]
    assert at(found, "stratix_job_wait_time_count", **mail) == 5
    counters = {name: at(found, f"stratix_jobs_{name}_total", **mail) for name in ("completed", "failed", "retried")}
    assert counters == {"completed": 5, "failed": 0, "retried": 0}
    assert at(found, "stratix_jobs_stalled_total", **mail) == at(found, "stratix_jobs_limited_total", **mail) == 0
    assert at(found, "stratix_oldest_waiting_seconds", **mail) == 0
    assert (at(found, "stratix_oldest_waiting_seconds", queue="slow") or 0) > 0
    assert (at(found, "stratix_queue_paused", queue="slow"), at(found, "stratix_queue_paused", **mail)) == (1, 0)
    assert (at(found, "stratix_workers", **mail), at(found, "stratix_worker_slots", **mail)) == (1, 3)
    assert 0 <= (at(found, "stratix_worker_idle_seconds", **mail) or 0) < 30
    assert at(found, "stratix_clock_lag_seconds") == 0
    assert at(found, "stratix_store_up") == 1


def _wsgi(application: Any, **environment: str) -> tuple[str, str, bytes]:
    asked: dict[str, Any] = dict(environment)
    setup_testing_defaults(asked)
    begun: list[Any] = []
    body = b"".join(application(asked, lambda status, headers, *more: begun.append((status, dict(headers)))))
    return begun[0][0], begun[0][1]["Content-Type"], body


def test_as_a_wsgi_application() -> None:
    with create_app({"driver": "memory", "namespace": "wsgi"}) as app:
        app.start()
        queue = app.queue.get_queue("mail")
        queue.process(lambda job: None)
        queue.add('a "name"\\ of its own').wait_until_finished(timeout=10)
        application = metrics_app(app)
        status, kind, body = _wsgi(application, PATH_INFO="/metrics")
        assert (status, kind.partition(";")[0]) == ("200 OK", "text/plain")
        names = {dict(labels)["job_name"] for name, labels in parse(body.decode()) if name == "job_processing_time_sum"}
        assert names == {'a "name"\\ of its own'}
        _, kind, body = _wsgi(application, HTTP_ACCEPT="application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        assert "stratix_jobs_completed" in {family.name for family in openmetrics(body.decode())}  # type: ignore[no-untyped-call]


def test_many_names_of_jobs_are_bounded(settings: dict[str, Any]) -> None:
    with create_app(settings) as app:
        app.start()
        queue = app.queue.create_queue("mail", concurrency=20)
        queue.process(lambda job: None)
        jobs = queue.add_bulk([{"name": f"user {number}"} for number in range(NAMES_KEPT + 20)])
        for job in jobs:
            job.wait_until_finished(timeout=20)
        registry = CollectorRegistry()
        registry.register(StratixCollector(app))
        mine = Counter("mine", "Of the user's own", registry=registry)
        mine.inc()
        found = parse(generate_latest(registry).decode())
    counts = {dict(labels)["job_name"]: n for (name, labels), n in found.items() if name == "job_processing_time_count"}
    assert len(counts) == NAMES_KEPT + 1
    assert counts[OTHER] == 20
    assert found["mine_total", ()] == 1


def test_every_process_exports_the_same_and_a_restart_forgets_nothing(
    settings: dict[str, Any], at: At, tmp_path: Path
) -> None:
    ports = [free_port(), free_port()]
    served = [{**settings, "metrics": {"port": port, "host": "127.0.0.1"}} for port in ports]
    count = {"name": "job_processing_time_count", "queue": "work", "job_name": "n"}

    def heard(port: int) -> float | None:
        try:
            return at(page(port), **count)
        except OSError:
            return None

    app = create_app(settings)
    queue = app.queue.get_queue("work")
    with (
        worker_process(served[0], "work", tmp_path / "runs", seconds=0),
        worker_process(served[1], "work", tmp_path / "runs", seconds=0) as second,
    ):
        until(lambda: len(queue.get_workers()) == 2, WAIT_S)
        queue.add_bulk([{"name": "n"} for _ in range(200)])
        until(lambda: heard(ports[0]) == heard(ports[1]) == 200, WAIT_S)
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0
    with worker_process(served[1], "work", tmp_path / "runs", seconds=0):
        queue.add("n")
        until(lambda: heard(ports[1]) == 201, WAIT_S)
    app.close()


def test_a_port_that_is_taken_stops_no_worker(settings: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    app = create_app({**settings, "metrics": {"port": 0, "host": "127.0.0.1"}})
    app.start()
    server = app.serve_metrics()
    assert server is not None
    with create_app({**settings, "metrics": {"port": server.port, "host": "127.0.0.1"}}) as other:
        other.start()
        assert other.serve_metrics() is None
        assert f"cannot listen on 127.0.0.1:{server.port}" in caplog.text
        with pytest.raises(ConfigurationError, match="cannot listen"):
            serve(other, server.port, "127.0.0.1")
    app.close()
    with pytest.raises(OSError, match="refused"):
        page(server.port)


def test_a_store_that_is_away_is_reported(at: At) -> None:
    with redis_server("--appendonly", "no") as url:
        app = create_app({"driver": "memory", "store": url, "namespace": f"away{uuid.uuid4().hex[:8]}"})
        server = serve(app, 0, "127.0.0.1")
        app.queue.get_queue("q").add("n")
        assert at(page(server.port), "queue_size", queue="q", status="waiting") == 1
        if "STRATIX_TEST_REDIS_URL" in os.environ:  # that server is not ours to end
            app.close()
            app = create_app({"driver": "memory", "store": f"redis://127.0.0.1:{free_port()}/0"})
            server.stop()
            server = serve(app, 0, "127.0.0.1")
    assert page(server.port) == {("stratix_store_up", ()): 0.0}
    server.stop()
    app.close()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"prot": 1}, "'metrics': unknown option 'prot'; did you mean 'port'"),
        ({"port": "9100"}, "'metrics': 'port' must be a whole number"),
        ({"port": 70_000}, "'metrics': 'port' must be a whole number"),
        ({"host": "127.0.0.1"}, "'metrics': 'port' must be a whole number"),
        ({"port": 9100, "host": ""}, "'metrics': 'host' must be an address"),
        (9100, "'metrics' must be a mapping"),
    ],
)
def test_a_setting_that_cannot_be(given: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_settings({"driver": "memory", "metrics": given})


def test_without_the_extra_the_error_names_it() -> None:
    program = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from stratix_kombu import MissingExtra, create_app\n"
        f"app = create_app({json.dumps({'driver': 'memory', 'metrics': {'port': 0}})})\n"
        "try:\n    app.start()\nexcept MissingExtra as missing:\n    print(missing)\napp.close()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "pip install 'stratix-kombu[prometheus]'" in done.stdout, done.stderr


def test_a_registry_with_metrics_of_the_same_names_refuses_it() -> None:
    """Else the page would have two of a name, which Prometheus cannot read."""
    with create_app({"driver": "memory", "namespace": "registry"}) as app:
        registry = CollectorRegistry()
        Gauge("queue_size", "My own.", registry=registry)
        with pytest.raises(ValueError, match="queue_size"):
            registry.register(StratixCollector(app))
        other = CollectorRegistry()
        Gauge("my_queue_size", "My own.", registry=other)
        other.register(StratixCollector(app))
        for name in ("queue_size", "job_processing_time", "stratix_jobs_completed_total", "stratix_store_up"):
            with pytest.raises(ValueError, match=name):
                Gauge(name, "Too late.", registry=other)


def test_being_registered_asks_no_store() -> None:
    app = create_app({"driver": "memory", "store": "redis://127.0.0.1:1/0", "namespace": "away"})
    registry = CollectorRegistry()
    registry.register(StratixCollector(app))
    assert [one.name for one in registry.collect()] == ["stratix_store_up"]
    app.close()


def test_an_application_that_is_started_again_serves_its_page_again() -> None:
    port = free_port()
    app = create_app({"driver": "memory", "namespace": "again", "metrics": {"port": port, "host": "127.0.0.1"}})
    for _ in range(2):
        with app:
            with pytest.raises(OSError, match="refused"):
                page(port)  # a web process that takes no jobs serves none
            app.start()
            assert page(port)["stratix_store_up", ()] == 1
        with pytest.raises(OSError, match="refused"):
            page(port)
