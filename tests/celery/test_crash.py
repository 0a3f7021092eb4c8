"""Workers killed, children killed, publishers killed: nothing is lost, and nothing runs that must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord
from celery.app.task import Context
from celery.exceptions import WorkerLostError
from kombu.exceptions import EncodeError, OperationalError

from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.lifecycle.outcomes import complete, fail
from stratix_kombu.lifecycle.recover import recover
from stratix_kombu.model.record import Change, Completion, Failure
from stratix_kombu.stores.redis.scripts import digest
from stratix_kombu.testing.stores import audit
from tests.celery.conftest import lines
from tests.celery.test_canvas import value
from tests.celery.workers import Project
from tests.faults.proxy import Proxy
from tests.waiting import WAIT_S, until


def test_a_task_that_acks_late_runs_again_after_its_worker_was_killed(project: Project, notes: str) -> None:
    worker = project.start_worker()
    result = project.task("hang_once").delay(notes, "late")
    until(lambda: lines(notes) == ["late"], WAIT_S)
    worker.kill()
    with project.worker():
        assert result.get(timeout=30) == "late"
    assert lines(notes) == ["late"] * 2
    job = project.queue.get_job(result.id)
    assert (job.attempts_made, job.attempts_started) == (1, 2)


def test_a_task_that_acks_early_fails_when_its_worker_was_killed(project: Project, notes: str) -> None:
    """At most once, as Celery promises for such tasks; but its failure is stored, and what waits for it fails too."""
    worker = project.start_worker()
    result = chain(project.task("note").si(notes, "early", 60), project.task("add").si(1, 1)).apply_async()
    until(lambda: lines(notes) == ["early"], WAIT_S)
    worker.kill()
    with project.worker():
        until(lambda: result.state == "FAILURE", WAIT_S)
    assert lines(notes) == ["early"]
    assert isinstance(result.parent.result, WorkerLostError)


@pytest.mark.parametrize("pool", ["threads", "own"])
def test_a_task_that_is_sent_by_its_name_alone_acknowledges_as_its_worker_says(
    on_redis: Project, notes: str, tmp_path: Path, pool: str
) -> None:
    """The sender has not its code, as in another service."""
    names = {"late": "proj.hang_once", "early": "proj.note"}
    for name in names.values():
        del on_redis.app.tasks[name]
    send, early_notes = on_redis.app.send_task, str(tmp_path / "early")
    Path(early_notes).touch()
    worker = on_redis.start_worker(pool)
    late, early = send(names["late"], (notes, "late")), send(names["early"], (early_notes, "early", 60))
    until(lambda: lines(notes) == ["late"] and lines(early_notes) == ["early"], WAIT_S)
    worker.kill()
    with on_redis.worker(pool):
        assert late.get(timeout=30) == "late"
        until(lambda: early.state == "FAILURE", WAIT_S)
    assert isinstance(early.result, WorkerLostError)
    assert (lines(notes), lines(early_notes)) == (["late"] * 2, ["early"])


def test_a_message_that_was_taken_and_lost_is_sent_again(project: Project, notes: str) -> None:
    """A worker killed between taking a message and claiming its job: the job is still waiting."""
    results = [project.task("note").delay(notes, number) for number in range(10)]
    project.app.stratix.queue.engine.driver.purge(project.queue.name)
    with project.worker():
        assert [value(one) for one in results] == [str(number) for number in range(10)]
    assert sorted(lines(notes)) == sorted(str(number) for number in range(10))


def test_a_worker_killed_in_the_middle_of_many_chords(project: Project) -> None:
    """Between the last result of a header and its body, and everywhere else: each body runs."""
    add, total = project.task("add"), project.task("total")
    add.acks_late = total.acks_late = True
    results = [chord([add.s(n, 1), add.s(n, 2), chain(add.s(n, 3), add.s(0))], total.s())() for n in range(15)]
    worker = project.start_worker(late=True)
    until(lambda: project.queue.get_job_counts()["completed"] > 20, WAIT_S)
    worker.kill()
    with project.worker(late=True):
        assert [one.get(timeout=60) for one in results] == [3 * n + 6 for n in range(15)]
    until(lambda: not project.queue.get_jobs(["waiting", "active", "delayed", "blocked"]), WAIT_S)
    assert project.queue.get_job_counts()["failed"] == 0
    assert audit(project.app.stratix.queue.engine.store) == []


@pytest.mark.parametrize("step", ["complete", "fail", "hand_over"])
def test_a_worker_that_lost_its_lease_starts_no_continuation(
    on_redis: Project, notes: str, tmp_path: Path, step: str
) -> None:
    """Its result, its chain, its errbacks and its retry are refused together, for they are one step."""
    note, gate = on_redis.task("note"), tmp_path / "gate"
    name = {"complete": "fine_later", "fail": "boom_later", "hand_over": "flaky_later"}[step]
    first = on_redis.task(name).si(notes, str(gate))
    with on_redis.worker() as worker:
        result = chain(first, note.si(notes, "next")).apply_async()
        until(lambda: lines(notes) == ["stale"], WAIT_S)
        engine = on_redis.app.stratix.queue.engine
        complete(engine, [Completion(result.parent.id, "*", '"by another"')])
        until(lambda: on_redis.queue.get_job(result.id).state == "failed", WAIT_S)  # the other one sent nothing on
        assert result.state == "PENDING"
        gate.touch()
        until(lambda: "lease lost" in worker.text() or "stale claim" in worker.text(), WAIT_S)
        assert value(note.delay(notes, "end")) == "end"
    assert value(result.parent) == "by another"
    assert lines(notes) == ["stale", "end"]


class Deadly:
    """Kills its publisher when it is written into a message."""

    def __json__(self) -> Any:
        raise SystemExit


def test_a_publisher_that_dies_in_the_middle_of_a_header_has_sent_nothing(project: Project) -> None:
    add, total = project.task("add"), project.task("total")
    for argument, problem in ((Deadly(), SystemExit), (object(), EncodeError)):
        with pytest.raises(problem):
            chord([add.s(1, 1), add.s(2, 2), add.s(argument, 1)], total.s()).apply_async()
        assert not project.queue.get_jobs()
    assert not project.app.stratix.queue.engine.driver.depth(project.queue.name)


def test_a_generator_that_dies_in_the_middle_of_a_header_leaves_the_tasks_it_has_made(project: Project) -> None:
    """They begin while it goes on, as in Celery; nothing waits for the others."""
    add, total = project.task("add"), project.task("total")

    def header() -> Any:
        yield add.s(1, 1)
        yield add.s(2, 2)
        raise SystemExit

    with pytest.raises(SystemExit):
        chord(header(), total.s()).apply_async()
    left = project.queue.get_jobs()
    assert {(job.name, job.state) for job in left} <= {(add.name, "waiting")}
    assert len(left) <= 2


def test_a_child_that_dies(on_redis: Project, notes: str) -> None:
    with on_redis.worker("prefork", 2):
        result = on_redis.task("exit").apply_async((notes,), link_error=on_redis.task("on_error").s(path=notes))
        until(lambda: result.state == "FAILURE", WAIT_S)
        until(lambda: len(lines(notes)) == 2, WAIT_S)
        assert lines(notes) == ["ran", f"{result.id} WorkerLostError"]
        assert value(on_redis.task("add").delay(1, 1)) == 2


@pytest.mark.parametrize("ended_by", ["recovery", "itself"])
def test_errbacks_are_sent_once_whoever_ends_the_task_of_a_lost_process(on_redis: Project, ended_by: str) -> None:
    """Its lease may run out before Celery misses the process; a task that has failed by itself has sent them."""
    engine, queue, task = on_redis.app.stratix.queue.engine, on_redis.queue, on_redis.task("add")
    errback = on_redis.task("on_error_id").s(path="")
    result = task.apply_async((1, 1), link_error=errback)
    (claim,) = engine.store.transitions.claim(queue.name, [result.id], "lost", 0).claims
    if ended_by == "recovery":
        recover(engine, 5)
    else:
        fail(engine, [Failure(result.id, claim.token, "no")])
    assert queue.get_job(result.id).state == "failed"
    request = Context(id=result.id, task=task.name, errbacks=[dict(errback)], delivery_info={})
    for _ in range(2):
        on_redis.app.backend.mark_as_failure(result.id, WorkerLostError("it is gone"), request=request)
    sent = [job.name for job in queue.get_jobs(["waiting"])]
    assert sent == (["proj.on_error_id"] if ended_by == "recovery" else [])
    assert isinstance(result.result, Exception)


def test_time_limits(on_redis: Project, notes: str) -> None:
    with on_redis.worker("prefork", 2):
        late = (on_redis.task("slow").s(notes) | on_redis.task("note").si(notes, "after")).apply_async()
        until(lambda: late.state == "FAILURE", WAIT_S)
        assert type(late.parent.result).__name__ == "TimeLimitExceeded"
        soft = on_redis.task("slow").apply_async((notes,), soft_time_limit=1, time_limit=60)
        until(lambda: soft.state == "FAILURE", WAIT_S)
        assert type(soft.result).__name__ == "SoftTimeLimitExceeded"
        assert lines(notes) == ["began"] * 2


def test_a_running_task_is_terminated(on_redis: Project, notes: str) -> None:
    with on_redis.worker("prefork", 1):
        running = on_redis.task("hang_once").delay(notes, "running")
        until(lambda: lines(notes) == ["running"], WAIT_S)
        running.revoke(terminate=True)
        until(lambda: running.state == "REVOKED", WAIT_S)
        assert value(on_redis.task("add").delay(1, 1)) == 2
    assert lines(notes) == ["running"]


def test_a_warm_shutdown_finishes_what_runs(project: Project, notes: str) -> None:
    worker = project.start_worker()
    running = project.task("note").delay(notes, "running", 1)
    until(lambda: lines(notes) == ["running"], WAIT_S)
    worker.end()
    assert worker.process.returncode == 0
    assert value(running) == "running"
    assert project.queue.get_workers() == []
    assert Path(notes).exists()


@pytest.mark.parametrize("step", ["claim", "complete", "fail", "hand_over"])
def test_a_step_whose_answers_were_lost_is_made_once(redis_url: str, notes: str, step: str) -> None:
    """The store has made it, and what was sent again was lost too; the worker hears so only when it asks again. The
    task, which was acknowledged early, ends as it does."""
    proxy = Proxy(redis_url)
    project = Project(redis_url, proxy.url)
    project.conf = {"stratix": {"store": proxy.url}}
    name = {"claim": "fine_later", "complete": "fine_later", "fail": "boom_later", "hand_over": "flaky_later"}[step]
    task, arguments = project.task(name), (notes,)
    with project.worker() as worker:
        known = task.delay(*arguments)  # by now the server knows the script
        until(lambda: known.ready(), WAIT_S)
        proxy.cut_replies_to(digest(step).encode(), keep=2, times=2)
        result = task.delay(*arguments)
        until(lambda: proxy.cuts == 2, WAIT_S)
        ended = {"fail": "raised unexpected", "hand_over": ""}.get(step, "succeeded in")
        until(lambda: f"[{result.id}] {ended}" in worker.text(), WAIT_S)
        assert "stale claim" not in worker.text()
        until(lambda: result.ready(), WAIT_S)
        attempts = 4 if step == "hand_over" else 1  # with three retries
        assert project.queue.get_job(result.id).attempts_started == attempts
    project.close()
    proxy.close()


def test_an_outcome_that_comes_when_the_lease_was_lost_ends_nothing(on_redis: Project) -> None:
    """Its first try had no answer, and the second one finds the job with another worker."""
    bridge, job = on_redis.app.stratix_bridge, on_redis.queue.add("greet", {"name": "Ada"})
    bridge.engine.store.transitions.claim(on_redis.queue.name, [job.id], "another", 60_000)
    answers: list[Any] = [StoreUnavailable("redis://nowhere", "gone"), Change(stale=(job.id,))]

    def step() -> Change:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Change)
        return answer

    assert not bridge.settle(job.id, on_redis.queue.name, step)
    on_redis.app.backend.mark_as_done(job.id, None, Context(task="stratix.job"))
    assert job.refresh().get_state() == "active"


def test_the_store_is_away_for_a_while(on_redis: Project) -> None:
    """Publishing raises what Celery's users expect."""

    def away(jobs: Any) -> Any:
        raise StoreUnavailable("redis://nowhere", "gone")

    transitions = on_redis.app.stratix.queue.engine.store.transitions
    real, transitions.add = transitions.add, away
    with pytest.raises(OperationalError, match="gone"):
        on_redis.task("add").delay(1, 1)
    transitions.add = real
