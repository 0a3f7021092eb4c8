"""A process that only sends tasks: nothing has finalized its application, so its tasks are not registered yet."""

from __future__ import annotations

import uuid
from typing import Any

from celery import Celery

from stratix_kombu import Application
from stratix_kombu.celery import install
from stratix_kombu.lifecycle.claim import claim
from stratix_kombu.lifecycle.recover import give_up
from stratix_kombu.model.record import Held

ALLOWED = 1
"""How often a job runs again after its worker was lost."""


def made(**options: Any) -> tuple[Application, Any]:
    """The application and a task of a module that was imported."""
    app = Celery("sends", broker="memory://", set_as_current=False)
    stratix = install(app, namespace=uuid.uuid4().hex)

    @app.task(name="sends.it", shared=False, **options)
    def it() -> None: ...

    assert not app.finalized
    return stratix, it


def state_after_its_worker_was_lost(stratix: Application, job_id: str) -> str:
    engine = stratix.queue.engine
    (taken,) = claim(engine, "celery", [job_id], "w", 30_000).claims
    give_up(engine, [Held(job_id, taken.token)], ALLOWED)
    job = stratix.queue.get_queue("celery").get_job(job_id)
    assert job is not None
    return job.state


def test_a_task_that_acks_late_runs_again_after_its_worker_was_lost() -> None:
    stratix, late = made(acks_late=True)
    assert state_after_its_worker_was_lost(stratix, late.delay().id) == "waiting"


def test_a_task_that_acks_early_does_not() -> None:
    stratix, early = made()
    assert state_after_its_worker_was_lost(stratix, early.delay().id) == "failed"


def test_by_its_name_alone() -> None:
    stratix, late = made(acks_late=True)
    result = late.app.send_task("sends.it")
    assert state_after_its_worker_was_lost(stratix, result.id) == "waiting"


def test_a_task_that_is_left_out_is_no_job() -> None:
    stratix, plain = made(stratix=False)
    plain.delay()
    assert stratix.queue.get_queue("celery").get_jobs(["waiting"]) == []


def test_a_limiter_holds() -> None:
    stratix, limited = made(stratix_limiter={"max": 1, "duration": 60_000})
    ids = [limited.delay().id for _ in range(2)]
    claimed = claim(stratix.queue.engine, "celery", ids, "w", 30_000)
    assert (len(claimed.claims), len(claimed.refused)) == (1, 1)


def test_an_application_that_its_program_finalizes_is_left_to_it() -> None:
    app = Celery("sends", broker="memory://", set_as_current=False, autofinalize=False)
    install(app)
    app.send_task("sends.it")
    assert not app.finalized
