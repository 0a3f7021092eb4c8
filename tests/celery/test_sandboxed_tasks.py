"""Celery tasks in sandboxes of our own worker: whatever becomes of the child, the task ends as in Celery's pool of
processes, and the next one runs."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded, WorkerLostError

from stratix_kombu.celery.review import review
from stratix_kombu.errors import ConfigurationError
from tests.celery.boxed import MEMORY_MB
from tests.celery.conftest import lines, project_on
from tests.celery.workers import Project, WorkerProcess
from tests.processes import lives
from tests.waiting import until

WAIT_S = 60


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where signals are noted."""
    path = tmp_path_factory.mktemp("told") / "signals"
    path.touch()
    return str(path)


@pytest.fixture(scope="module")
def hosted(request: pytest.FixtureRequest, told: str) -> Iterator[tuple[Project, WorkerProcess]]:
    project = project_on("redis", request)
    with project.worker("own", 2, signals=told) as worker:
        yield project, worker
    project.close()


@pytest.fixture
def worked(hosted: tuple[Project, WorkerProcess]) -> Project:
    return hosted[0]


@pytest.fixture
def worker(hosted: tuple[Project, WorkerProcess]) -> WorkerProcess:
    return hosted[1]


def run(project: Project, name: str, *arguments: Any, **options: Any) -> Any:
    return project.task(name).apply_async(arguments, **options).get(timeout=WAIT_S)


def test_its_child_is_warm_and_its_request_is_whole(worked: Project, worker: WorkerProcess) -> None:
    results = [worked.task("boxed").delay("where") for _ in range(6)]
    found = [one.get(timeout=WAIT_S) for one in results]
    assert worker.process.pid not in {one[0] for one in found}
    assert len({one[0] for one in found}) <= 2
    for result, one in zip(results, found, strict=True):
        assert one[1:] == [result.id, 0, worker.name, "proj.boxed", worked.queue.name]
    records = worked.app.stratix.queue.engine.store.queries.get([one.id for one in results])
    assert all(record.attempts_started == record.attempts_made == 1 for record in records)


def test_retries_replacements_children_and_canvas(worked: Project, notes: str) -> None:
    boxed, add, total = worked.task("boxed"), worked.task("add"), worked.task("total")
    assert run(worked, "boxed", "flaky", 2) == 2
    assert run(worked, "boxed", "replaced") == 4
    spawned = boxed.delay("spawns", notes)
    assert spawned.get(timeout=WAIT_S) == spawned.children[0].id
    until(lambda: lines(notes) == ["spawned"], WAIT_S)
    row = chain(boxed.si("flaky", 1), add.s(5))
    assert row.delay().get(timeout=WAIT_S) == 6
    assert chord([boxed.si("flaky", 1), boxed.si("replaced")], total.s()).delay().get(timeout=WAIT_S) == 5


def test_an_error_has_its_traceback_and_calls_its_errbacks(worked: Project, notes: str) -> None:
    errback = worked.task("on_error").s(path=notes)
    result = worked.task("boxed").apply_async(("raises", "boom"), link_error=errback)
    with pytest.raises(ValueError, match="boom"):
        result.get(timeout=WAIT_S)
    assert "in raises" in result.traceback
    until(lambda: lines(notes) == [f"{result.id} ValueError"], WAIT_S)


@pytest.mark.parametrize(
    ("name", "act", "why"),
    [
        ("boxed", "leaves", "exited with code 3"),
        ("boxed", "is_killed", "was killed (SIGKILL)"),
        ("boxed", "exits", "SystemExit: 4"),
        ("boxed_late", "leaves", "exited with code 3"),
        ("boxed_small", "hoards", f"more than max_memory_usage ({MEMORY_MB} MB)"),
    ],
)
def test_a_task_that_loses_its_child_fails(worked: Project, notes: str, name: str, act: str, why: str) -> None:
    """Its errbacks are called, and what depends on it fails with it."""
    arguments = () if act == "hoards" else (notes,)
    lost = worked.task(name).si(act, *arguments).set(link_error=worked.task("on_error").s(path=notes))
    last = chain(lost, worked.task("note").si(notes, "after")).apply_async()
    with pytest.raises(WorkerLostError) as raised:
        last.parent.get(timeout=WAIT_S)
    assert why in str(raised.value)
    until(lambda: last.state == "FAILURE", WAIT_S)
    ran = ["ran"] if arguments else []
    until(lambda: lines(notes) == [*ran, f"{last.parent.id} WorkerLostError"], WAIT_S)
    assert run(worked, "boxed", "flaky", 0) == 0


def test_a_task_that_says_so_runs_again_when_its_child_is_lost(worked: Project, notes: str, tmp_path: Path) -> None:
    """At once, and not for ever: it counts as one that stalled."""
    assert run(worked, "boxed_again", "is_killed_once", notes) is True
    other = tmp_path / "other"
    other.touch()
    with pytest.raises(WorkerLostError):
        run(worked, "boxed_again", "is_killed", str(other))
    assert lines(str(other)) == ["ran"] * 2


def test_a_soft_limit_interrupts_a_call_that_blocks(worked: Project, notes: str) -> None:
    with pytest.raises(SoftTimeLimitExceeded):
        run(worked, "boxed", "blocks", notes, soft_time_limit=1)
    assert run(worked, "boxed", "blocks", notes, True, soft_time_limit=1, time_limit=60) == "returned"
    assert lines(notes) == ["began", "softly", "ended"] * 2


def test_a_soft_limit_comes_in_no_message_to_the_worker(worked: Project) -> None:
    tasks = [worked.task("boxed").apply_async(("writes_while_limited", 60), soft_time_limit=0.5) for _ in range(6)]
    assert [one.get(timeout=WAIT_S) for one in tasks] == ["softly"] * 6


def test_a_hard_limit_kills_the_child(worked: Project, told: str, notes: str) -> None:
    """Whatever it does; it has no time to tidy up."""
    slow = worked.task("boxed").s("blocks", notes).set(time_limit=1, link_error=worked.task("on_error_id").s(notes))
    late = (slow | worked.task("note").si(notes, "after")).apply_async()
    with pytest.raises(TimeLimitExceeded):
        late.parent.get(timeout=WAIT_S)
    until(lambda: lines(notes) == ["began", f"task {late.parent.id}"], WAIT_S)
    assert late.state == "FAILURE"
    until(lambda: "task_failure boxed" in lines(told), WAIT_S)


@pytest.mark.parametrize(("name", "seen"), [("boxed", ["began"]), ("boxed_gently", ["began", "ended"])])
def test_a_revoke_kills_the_child(worked: Project, told: str, notes: str, name: str, seen: list[str]) -> None:
    result = worked.task(name).delay("blocks", notes)
    until(lambda: lines(notes) == ["began"], WAIT_S)
    pid = int(Path(f"{notes}.pid").read_text())
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=WAIT_S)
    until(lambda: not lives(pid), WAIT_S)
    assert lines(notes) == seen
    until(lambda: f"task_revoked {name}" in lines(told), WAIT_S)


def test_states_lines_and_records_are_the_workers(worked: Project, worker: WorkerProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    result = worked.task("boxed").delay("speaks", str(gate))
    until(lambda: result.state == "PROGRESS", WAIT_S)
    assert result.info == {"done": 1}
    gate.touch()
    assert result.get(timeout=WAIT_S) == "done"
    assert f"job {result.id}: printed" in worker.text()
    assert "logged" in worker.text()


def test_coroutines_stay_on_one_loop_and_have_their_limits(worked: Project, notes: str) -> None:
    results = [worked.task("boxed_async").delay(notes, 0) for _ in range(6)]
    found = [one.get(timeout=WAIT_S) for one in results]
    assert [one[1:3] for one in found] == [[result.id, "proj.boxed_async"] for result in results]
    loops = {(pid, loop) for pid, _, _, loop in found}
    assert len(loops) == len({pid for pid, _ in loops})
    Path(notes).write_text("")
    with pytest.raises(SoftTimeLimitExceeded):
        run(worked, "boxed_async", notes, soft_time_limit=1)
    run(worked, "boxed_async", notes, 60, True, soft_time_limit=1)
    assert lines(notes) == ["began", "softly", "ended"] * 2


def test_which_signals_are_sent_where(on_redis: Project, tmp_path: Path) -> None:
    """A child is a process of the worker, in which the task is traced."""
    heard = tmp_path / "signals"
    heard.touch()
    with on_redis.worker("own", 1, signals=str(heard)):
        assert run(on_redis, "boxed", "flaky", 0) == 0
        until(lambda: "task_postrun boxed" in lines(str(heard)), WAIT_S)
    found = lines(str(heard))
    start = ["worker_init", "worker_process_init"]
    task = ["task_prerun boxed", "task_success boxed SUCCESS", "task_postrun boxed"]
    assert found[:9] == [*start, "worker_ready", "task_received boxed", *start, *task]
    assert sorted(found[9:]) == ["worker_process_shutdown"] * 2 + ["worker_shutdown", "worker_shutting_down"]


def test_on_another_transport(request: pytest.FixtureRequest, notes: str) -> None:
    project = project_on("rabbitmq", request)
    with project.worker("own", 2) as worker:
        pid, *rest = run(project, "boxed", "where")
        assert pid != worker.process.pid
        assert rest[3:] == ["proj.boxed", project.queue.name]
        assert chain(project.task("boxed").si("flaky", 1), project.task("add").s(5)).delay().get(timeout=WAIT_S) == 6
        with pytest.raises(WorkerLostError):
            run(project, "boxed", "leaves", notes)
    project.close()


def test_messages_of_a_producer_without_the_bridge(worked: Project) -> None:
    stock = worked.make(bridge=False)
    assert stock.tasks["proj.boxed"].delay("flaky", 1).get(timeout=WAIT_S) == 1
    failed = stock.tasks["proj.boxed"].delay("raises", "boom")
    with pytest.raises(ValueError, match="boom"):
        failed.get(timeout=WAIT_S)
    stock.close()


def test_the_review_says_where_it_has_no_effect(on_redis: Project) -> None:
    (found,) = [one for one in review(on_redis.app) if one.subject == "stratix_sandbox"]
    assert "proj.boxed" in found.found
    assert "no effect" in found.bridged


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("yes", "must be True or a mapping"),
        ({"max_memory": 5}, "stratix_sandbox of task 'proj.add'"),
        ({"max_sandboxes": 5}, "'max_sandboxes' is an option of the queue's 'processor'"),
    ],
)
def test_limits_that_cannot_be(on_redis: Project, monkeypatch: pytest.MonkeyPatch, given: Any, why: str) -> None:
    from stratix_kombu.celery.sandbox_options import options_of
    from stratix_kombu.config.options import ProcessorOptions

    task = on_redis.task("add")
    monkeypatch.setattr(task, "stratix_sandbox", given, raising=False)
    with pytest.raises(ConfigurationError) as refused:
        options_of(task, ProcessorOptions())
    assert why in "".join(traceback.format_exception_only(refused.value))
