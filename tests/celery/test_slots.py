"""The slots of a Celery worker: whose claim is whose, and what becomes of one whose process dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stratix_kombu.celery.bridge import bridge_of
from stratix_kombu.celery.jobs import ASKED, run_job
from stratix_kombu.errors import StoreUnavailable
from tests.celery.conftest import lines
from tests.celery.workers import Project
from tests.waiting import until

WAIT_S = 60
NEVER_MS = 600_000


@pytest.mark.parametrize("max_stalled", [1, 0])
def test_a_job_whose_child_was_killed_is_recovered_when_the_child_is_missed(
    on_redis: Project, notes: str, tmp_path: Path, max_stalled: int
) -> None:
    """Long before its lease ends; it counts as one that stalled."""
    watch = {"lease_duration": NEVER_MS, "max_stalled_count": max_stalled, "redelivery_grace": NEVER_MS}
    gate, bridge = tmp_path / "gate", bridge_of(on_redis.app)
    assert bridge is not None
    with on_redis.worker("prefork", 2, worker=watch, worker_lost_wait=0.2):
        job = on_redis.queue.add("patient", {"notes": notes, "gate": str(gate)})
        until(lambda: lines(notes), WAIT_S)
        os.kill(int(lines(notes)[0].split()[1]), signal.SIGKILL)
        if max_stalled:
            until(lambda: len(lines(notes)) == 2, WAIT_S)
            gate.touch()
            assert job.wait_until_finished(timeout=WAIT_S) == "late"
        else:
            until(lambda: job.refresh().state == "failed", WAIT_S)
        (record,) = bridge.engine.store.queries.get([job.id])
        assert record is not None
        assert record.stalled_count == 1


def test_a_slot_whose_answer_was_lost_gets_its_own_job_again(on_redis: Project, monkeypatch: Any) -> None:
    """Though another slot of the worker has taken one meanwhile."""
    bridge = bridge_of(on_redis.app)
    assert bridge is not None
    queue, transitions = on_redis.queue, bridge.engine.store.transitions
    jobs = [queue.add("echo", number) for number in range(3)]
    take, lost = transitions.take, list[str]()

    def losing(name: str, *args: Any, request: str = "", **more: Any) -> Any:
        answer = take(name, *args, request=request, **more)
        if request == "first" and not lost:
            lost.append(request)
            run_job(bridge, permit("second"))
            raise StoreUnavailable("redis", "the answer was lost")
        return answer

    def permit(request: str) -> Any:
        info = {"routing_key": queue.name}
        return SimpleNamespace(id=request, delivery_info=info, get={ASKED: request}.get)

    monkeypatch.setattr(transitions, "take", losing)
    run_job(bridge, permit("first"))
    assert lost
    assert [job.refresh().state for job in jobs] == ["completed", "completed", "waiting"]
    records = bridge.engine.store.queries.get([job.id for job in jobs])
    assert [one and one.attempts_started for one in records] == [1, 1, 0]


def test_a_worker_on_another_broker_is_sent_what_waits(on_redis: Project, amqp_url: str, notes: str) -> None:
    """At once, and not when messages count as lost."""
    watch = {"redelivery_grace": NEVER_MS}
    job = on_redis.queue.add("greet", {"name": "Ada"})
    task = on_redis.task("note").delay(notes)
    until(lambda: bridge_of(on_redis.app).engine.store.queries.late_queues(1000), WAIT_S)  # type: ignore[union-attr]
    with on_redis.worker(broker=amqp_url, stratix={"store": on_redis.store}, worker=watch):
        assert task.get(timeout=WAIT_S) == "ran"
        assert job.wait_until_finished(timeout=WAIT_S)["hello"] == "Ada"
