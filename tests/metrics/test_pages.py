"""What the metrics port answers: probes that cost no new interpreter."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from stratix_kombu import StoreUnavailable, create_app
from stratix_kombu.metrics import pages, serve
from tests.services import end, free_port, start_redis
from tests.waiting import WAIT_S, until

USUAL_PATIENCE_S = pages.PATIENCE_S


def ask(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, dict[str, Any]]:
    try:
        with urlopen(f"http://{host}:{port}{path}", timeout=20) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer than the usual time for a check that waits for nobody."""
    monkeypatch.setattr(pages, "PATIENCE_S", WAIT_S)


def test_by_path(settings: dict[str, Any]) -> None:
    with create_app(settings) as app, serve(app, 0, "127.0.0.1") as server:
        app.queue.get_queue("q").process(lambda job: None)
        app.start()
        until(lambda: ask(server.port, "/readyz")[0] == 200, WAIT_S)
        assert ask(server.port, "/healthz") == (200, {"ok": True, "problems": []})
        for path in ("/", "/metrics/", "/health", "/healthz/x"):
            assert ask(server.port, path) == (404, {"pages": ["/metrics", "/healthz", "/readyz"]})
        with urlopen(f"http://127.0.0.1:{server.port}/metrics?name[]=queue_size", timeout=20) as page:
            text = page.read().decode()
        assert "queue_size" in text
        assert "stratix_workers" not in text


def test_a_worker_that_can_run_nothing_is_to_be_started_again(settings: dict[str, Any]) -> None:
    gate = threading.Event()
    with create_app(settings) as app, serve(app, 0, "127.0.0.1") as server:
        queue = app.queue.create_queue("q")
        queue.process(lambda job: gate.wait(60))
        app.start()
        job = queue.add("stuck", timeout=50)
        until(lambda: job.get_state() == "failed", WAIT_S)

        def stuck() -> bool:
            health = app.check_health(within=1)
            return not health.ok

        until(stuck, WAIT_S)
        pages._health_of(app)._within = 1  # the usual 30 s would be long for a test
        status, said = ask(server.port, "/healthz")
        assert status == 503
        assert "no slot can run anything" in said["problems"][0]
        gate.set()
        pages._health_of(app)._within = 30_000
        until(lambda: ask(server.port, "/healthz")[0] == 200, WAIT_S)


def test_servers_that_are_away_are_no_reason_to_start_again(tmp_path: Path) -> None:
    port = free_port()
    process = start_redis(tmp_path, port)
    try:
        settings = {"redis": {"host": "127.0.0.1", "port": port, "connect_timeout": 500}, "shutdown_timeout": 0}
        with create_app(settings) as app, serve(app, 0, "127.0.0.1") as server:
            app.queue.get_queue("q").process(lambda job: None)
            app.start()
            until(lambda: ask(server.port, "/readyz")[0] == 200, WAIT_S)
            end(process)
            until(lambda: ask(server.port, "/readyz")[0] == 503, WAIT_S)
            status, said = ask(server.port, "/healthz")
            assert status == 200
            assert not said["ok"]
            assert "the store does not answer" in said["problems"]
    finally:
        end(process)


def test_servers_that_are_frozen_are_no_reason_to_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing refuses the connection, and nothing answers. A probe that waits for it as long as the timeouts are is not
    answered in time itself, which Kubernetes takes for a process that is to be started again."""
    port = free_port()
    process = start_redis(tmp_path, port)
    try:
        settings = {"redis": {"host": "127.0.0.1", "port": port}, "shutdown_timeout": 0}
        with create_app(settings) as app, serve(app, 0, "127.0.0.1") as server:
            app.queue.get_queue("q").process(lambda job: None)
            app.start()
            until(lambda: ask(server.port, "/readyz")[0] == 200, WAIT_S)
            process.send_signal(signal.SIGSTOP)
            monkeypatch.setattr(pages, "PATIENCE_S", USUAL_PATIENCE_S)
            for _ in range(2):
                status, said = ask(server.port, "/healthz")
                assert status == 200
                # So it was not waited for: what has waited says which of them does not answer.
                assert "broker or store has not answered for" in said["problems"][0]
            process.send_signal(signal.SIGCONT)
            until(lambda: ask(server.port, "/healthz") == (200, {"ok": True, "problems": []}), WAIT_S)
    finally:
        process.send_signal(signal.SIGCONT)
        end(process)


def test_a_check_that_the_process_holds_up_itself_is_a_reason(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    with create_app(settings) as app, serve(app, 0, "127.0.0.1") as server:
        usual = app.check_health
        monkeypatch.setattr(app, "check_health", lambda within: gate.wait(60) and usual(within))
        monkeypatch.setattr(pages, "PATIENCE_S", USUAL_PATIENCE_S)
        assert ask(server.port, "/healthz")[0] == 200
        pages._health_of(app)._within = 1  # the usual 30 s would be long for a test
        assert ask(server.port, "/healthz")[0] == 503
        pages._health_of(app)._within = 30_000
        gate.set()
        until(lambda: ask(server.port, "/healthz") == (200, {"ok": True, "problems": []}), WAIT_S)


def test_a_store_that_answers_nothing_but_a_ping_is_away(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a replica of Redis whose master is gone, or a store that stops in the middle of the check."""

    def refuse(**options: object) -> object:
        raise StoreUnavailable("redis:6379", "MASTERDOWN")

    with create_app(settings) as app, serve(app, 0, "127.0.0.1") as server:
        monkeypatch.setattr(app.queue, "get_overview", refuse)
        assert not app.check_health().store
        assert ask(server.port, "/healthz")[0] == 200
        assert ask(server.port, "/readyz")[0] == 503


def test_one_that_is_being_closed_is_not_ready(settings: dict[str, Any]) -> None:
    app = create_app({**settings, "metrics": {"port": free_port(), "host": "127.0.0.1"}})
    port = app.queue.settings.metrics.port if app.queue.settings.metrics else 0
    said: list[Any] = []
    app.hook("before_close", lambda: None)
    app.start()
    app.hook("before_close", lambda: said.extend([ask(port, "/readyz"), ask(port, "/healthz")[0]]))
    until(lambda: ask(port, "/readyz")[0] == 200, WAIT_S)
    app.close()
    assert said == [(503, {"ok": False, "problems": ["the application is being closed"]}), 200]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_kinds_of_address(settings: dict[str, Any], host: str) -> None:
    with create_app(settings) as app, serve(app, 0, host) as server:
        assert ask(server.port, "/healthz", f"[{host}]" if ":" in host else host)[0] == 200
