"""Faults of our own, or of a library: a thread that everything hangs on must not end silently."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, JobFailed, create_app
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.lifecycle.causes import QUIET_S, Causes
from tests.faults.conftest import WORKER
from tests.foreign import send_celery_task
from tests.waiting import until

LEASE_MS = 300
LONG_LEASE_MS = 2_000
"""For jobs that must not lose theirs while the machine is busy."""


@pytest.fixture(params=[LEASE_MS])
def app(request: pytest.FixtureRequest) -> Iterator[Application]:
    watch = {"lease_duration": request.param, "stalled_check_interval": 50, "max_stalled_count": 5}
    with create_app({"driver": "memory", "namespace": f"own{uuid.uuid4().hex[:8]}", "worker": watch}) as app:
        app.start()
        yield app


def fail_once(app: Application, name: str) -> list[str]:
    """Have a step of the store raise what nobody expects, once; where that was."""
    transitions, raised = app.queue.engine.store.transitions, list[str]()
    original = getattr(transitions, name)

    def step(*args: Any, **kwargs: Any) -> Any:
        if not raised:
            raised.append(threading.current_thread().name)
            raise RuntimeError("nobody expects this")
        return original(*args, **kwargs)

    setattr(transitions, name, step)
    return raised


@pytest.mark.parametrize("step", ["take", "complete", "fail", "promote", "recover"])
def test_jobs_end_although_a_step_failed_once(app: Application, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratix_kombu.worker.consumer.LONGEST_S", 0.05)
    raised = fail_once(app, step)
    queue, errors = app.queue.create_queue("q", concurrency=2), list[BaseException]()
    queue.on("error", errors.append)
    bad = {"bad": True}

    @queue.process()
    def handler(job: Any) -> str:
        if job.data == bad:
            raise ValueError("bad")
        return "done"

    jobs = queue.add_bulk([{"name": "n"}, {"name": "n", "opts": {"delay": 30}}, {"name": "n", "data": bad}])
    for job in jobs[:2]:
        assert job.wait_until_finished(timeout=10) == "done"
    with pytest.raises(JobFailed, match="bad"):
        jobs[2].wait_until_finished(timeout=10)
    until(lambda: raised)
    until(lambda: any("nobody expects this" in str(error) for error in errors))
    assert queue.add("n").wait_until_finished(timeout=10) == "done"


@pytest.mark.parametrize("app", [LONG_LEASE_MS], indirect=True)
def test_one_outcome_that_cannot_be_stored_does_not_cost_the_others(app: Application) -> None:
    transitions = app.queue.engine.store.transitions
    original, poison, together = transitions.complete, set[str](), list[int]()
    gate = threading.Event()

    def complete(results: Any) -> Any:
        gate.wait(10)
        together.append(len(results))
        if any(one.job_id in poison for one in results):
            raise RuntimeError("this one cannot be stored")
        return original(results)

    transitions.complete = complete  # type: ignore[method-assign]
    queue = app.queue.create_queue("q", concurrency=10)
    queue.process(lambda job: "done")
    poison.add(queue.add("n", job_id="poison").id)
    jobs = queue.add_bulk([{"name": "n"} for _ in range(9)])
    until(lambda: len(queue.get_jobs(["active"])) == 10)
    gate.set()
    assert [job.wait_until_finished(timeout=10) for job in jobs] == ["done"] * 9
    assert all(job.refresh().attempts_started == 1 for job in jobs)
    assert max(together) > 1
    poison.clear()
    job = queue.get_job("poison")
    assert job is not None
    assert job.wait_until_finished(timeout=10) == "done"


@pytest.mark.parametrize("app", [LONG_LEASE_MS], indirect=True)
def test_leases_are_renewed_although_a_renewal_failed_once(app: Application) -> None:
    raised, ends = fail_once(app, "renew"), time.monotonic() + 1.2 * LONG_LEASE_MS / 1000
    queue = app.queue.create_queue("q")
    queue.process(lambda job: until(lambda: time.monotonic() > ends))
    job = queue.add("n")
    job.wait_until_finished(timeout=60)
    assert raised
    assert job.refresh().attempts_started == 1


@pytest.mark.parametrize("flavour", ["reason", "result"])
def test_what_is_no_text_fails_the_job_and_no_more(redis_url: str, flavour: str) -> None:
    """Names of files may hold lone surrogates, and get into the messages of errors."""
    settings = {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"own{uuid.uuid4().hex[:8]}"}
    with create_app({**settings, "worker": WORKER}) as app:
        app.start()
        queue = app.queue.create_queue("q")

        @queue.process("bad")
        def bad(job: Any) -> Any:
            if flavour == "reason":
                raise ValueError("no such file: caf\udce9")
            return "caf\udce9"

        queue.process("good", lambda job: "fine")
        with pytest.raises(JobFailed, match=r"udce9|surrogate"):
            queue.add("bad").wait_until_finished(timeout=10)
        assert queue.add("good").wait_until_finished(timeout=10) == "fine"


def test_a_fault_that_each_job_meets_is_one_error(app: Application) -> None:
    """Outcomes that cannot be stored, say: not an error for each of them."""
    transitions, errors = app.queue.engine.store.transitions, list[str]()
    original, refused = transitions.complete, list[str]()

    def complete(results: Any) -> Any:
        if len(refused) < 300:
            refused.extend(one.job_id for one in results)
            raise RuntimeError(f"job {results[0].job_id} cannot be stored")
        return original(results)

    transitions.complete = complete  # type: ignore[method-assign]
    queue = app.queue.create_queue("q", concurrency=20)
    queue.process(lambda job: "done")
    queue.on("error", lambda error: errors.append(str(error)))
    jobs = queue.add_bulk([{"name": "n"} for _ in range(100)])
    assert [job.wait_until_finished(timeout=30) for job in jobs] == ["done"] * 100
    queue.add("n").wait_until_finished(timeout=10)
    assert len([one for one in errors if "cannot be stored" in one]) == 1
    assert app.queue.engine.faults["settle_failed"] == 1


@pytest.mark.parametrize("step", ["promote", "recover", "renew"])
def test_a_step_that_always_fails_is_one_error(app: Application, step: str) -> None:
    """The clock tries again what it could not do."""
    failed: list[int] = []

    def fail(*arguments: Any, **options: Any) -> Any:
        failed.append(1)
        raise RuntimeError("nobody expects this")

    setattr(app.queue.engine.store.transitions, step, fail)
    queue, errors = app.queue.create_queue("q"), list[str]()
    queue.on("error", lambda error: errors.append(str(error)))
    queue.process(lambda job: "done")
    queue.add("n", delay=1)
    until(lambda: len(failed) >= 3)
    assert sum(app.queue.engine.faults[action] for action in ("clock_failed", "renew_failed")) == 1
    assert errors in ([], ["nobody expects this"]), "the clock may have met it before there was a listener"


def test_another_cause_is_another_error() -> None:
    causes = Causes()

    def of(kind: type[Exception], where: int) -> Exception:
        try:
            if where:
                raise kind("here")
            raise kind("there")
        except Exception as error:
            return error

    seen = [causes.is_new(of(kind, where)) for kind in (ValueError, TypeError) for where in (0, 1, 0, 1)]
    assert seen == [True, True, False, False] * 2
    assert [causes.is_new(ValueError("never raised")) for _ in range(2)] == [True, False]


def test_a_cause_that_goes_on_is_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("stratix_kombu.lifecycle.causes.time.monotonic", lambda: now)
    causes = Causes()
    assert [causes.is_new(ValueError()), causes.is_new(ValueError())] == [True, False]
    now += QUIET_S
    assert causes.is_new(ValueError())


def test_a_burst_of_messages_of_another_program_is_one_error(redis_url: str) -> None:
    settings = {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"own{uuid.uuid4().hex[:8]}"}
    with create_app(settings) as app:
        app.start()
        queue, errors = app.queue.create_queue("q", concurrency=2), list[str]()
        driver = app.queue.engine.driver
        assert isinstance(driver, KombuDriver)
        for _ in range(15):
            send_celery_task(driver, "q")
        queue.on("error", lambda error: errors.append(str(error)))
        queue.process(lambda job: "done")
        until(lambda: errors)
        assert queue.add("n").wait_until_finished(timeout=10) == "done"
        send_celery_task(driver, "q")
        until(lambda: len(errors) == 2)
        assert errors[0].startswith("15 messages that are not permits were dropped, the first because: ")
        assert errors[1].startswith("a message that is not a permit was dropped: ")
