"""The configured result backend cannot be reached. It is asked for what the store does not know: that must not keep
anybody waiting, and takes nothing away of what the store knows."""

from __future__ import annotations

import logging
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery
from celery.exceptions import WorkerLostError
from celery.worker.request import Request
from redis import Redis

from stratix_kombu.celery import install, older
from tests.services import end, free_port, start_redis, wait_for_port
from tests.waiting import WAIT_S, until

URLS = {
    "redis": "redis://ada:s%2Fcret@127.0.0.1:{port}/0",
    "database": "db+postgresql+psycopg://ada:s%2Fcret@127.0.0.1:{port}/results",
}


@contextmanager
def project(store: str, backend: str) -> Iterator[Celery]:
    """With Celery's own retries, which go on for ever."""
    name = f"older{uuid.uuid4().hex[:10]}"
    app = Celery("older", broker=store, backend=backend, set_as_current=False)
    app.conf.update(
        task_default_queue=name, result_backend_always_retry=True, result_backend_max_sleep_between_retries_ms=10
    )
    stratix = install(app, store=store, namespace=name)
    try:
        yield app
    finally:
        stratix.close()
        app.close()


def in_time(call: Callable[[], Any]) -> Any:
    """What a call returns, which must return."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()
    until(lambda: not thread.is_alive(), WAIT_S)
    return answers[0]


def failures(app: Celery) -> int:
    """How often it was asked, and did not answer."""
    found: int = app.backend.bridge.engine.faults[older.ACTION]
    return found


@pytest.mark.parametrize("kind", URLS)
def test_an_unknown_id_is_pending_and_the_cause_is_told_once(
    redis_url: str, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(older, "PAUSE_S", 3600.0)
    with project(redis_url, URLS[kind].format(port=free_port())) as app:
        sent = app.send_task("any.task")
        app.backend.store_result("told", {"p": 1}, "PROGRESS")
        assert [in_time(lambda: app.AsyncResult("unknown").state) for _ in range(3)] == ["PENDING"] * 3
        assert in_time(lambda: app.GroupResult.restore("unknown")) is None
        assert (sent.state, app.AsyncResult("told").state) == ("PENDING", "PROGRESS")
        in_time(app.AsyncResult("told").forget)
        assert (in_time(lambda: app.AsyncResult("told").state), failures(app)) == ("PENDING", 1)
    told = [one.getMessage() for one in caplog.records if getattr(one, "action", "") == older.ACTION]
    assert len(told) == 1
    assert "127.0.0.1" in told[0]
    assert "efused" in told[0]
    assert not any("s%2Fcret" in one.getMessage() or "s/cret" in one.getMessage() for one in caplog.records)


def test_a_server_that_does_not_answer_is_not_waited_for(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection, and says nothing: Celery's own limit is two minutes."""
    monkeypatch.setattr(older, "ANSWER_S", 0.2)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as silent,
        project(redis_url, f"redis://127.0.0.1:{silent.getsockname()[1]}/0") as app,
    ):
        assert in_time(lambda: app.AsyncResult("unknown").state) == "PENDING"
        assert app.backend.client.connection_pool.connection_kwargs["socket_timeout"] == 120


def test_it_is_asked_again_later(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(older, "PAUSE_S", 0.0)
    port = free_port()
    with project(redis_url, f"redis://127.0.0.1:{port}/0") as app:
        before = Celery("before", backend=f"redis://127.0.0.1:{port}/0", set_as_current=False)
        assert [in_time(lambda: app.AsyncResult("one").state) for _ in range(2)] == ["PENDING"] * 2
        server = start_redis(str(tmp_path), port)
        try:
            wait_for_port(port, server)
            before.backend.store_result("one", 1, "SUCCESS")
            until(lambda: app.AsyncResult("one").state == "SUCCESS")
            assert app.AsyncResult("one").get(timeout=WAIT_S) == 1
            Redis(port=port).set("celery-task-meta-broken", "no JSON")
            with pytest.raises(Exception, match="Expecting value"):  # what cannot be read is no outage
                app.AsyncResult("broken").state  # noqa: B018
        finally:
            end(server)
    told = [one.action for one in caplog.records if hasattr(one, "action") and one.levelno >= logging.WARNING]
    assert told == [older.ACTION, "server_back"]


def test_a_worker_that_has_lost_a_process_goes_on(redis_url: str) -> None:
    """As Celery's own test says: it looks for a result that was stored, and puts the task back."""
    with project(redis_url, f"redis://127.0.0.1:{free_port()}/0") as app:

        @app.task(shared=False, name="lost", acks_late=True, reject_on_worker_lost=True)
        def lost() -> None:
            """It does not come to run."""

        message = Mock(
            headers={"id": "never-sent", "task": "lost"},
            body=b"[]",
            payload=([], {}, {}),
            content_type="application/json",
            content_encoding="utf-8",
            delivery_info={},
            properties={},
        )
        rejected = Mock()
        request = Request(message=message, app=app, task=lost, on_ack=Mock(), on_reject=rejected)
        try:
            raise WorkerLostError("gone")
        except WorkerLostError:
            failure = ExceptionInfo(internal=True)
        in_time(lambda: request.on_failure(failure, send_failed_event=False))
        assert rejected.call_args.args[2] is True
