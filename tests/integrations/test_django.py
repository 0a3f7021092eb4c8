"""Django: a real project, its tests, its commands, and its tasks over Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, JobFailed
from tests.integrations.conftest import PROJECT
from tests.waiting import WAIT_S, until


@pytest.fixture(scope="module")
def app(shop: Path) -> Iterator[Application]:
    from stratix_kombu.integrations.django import app

    app.start()
    yield app
    app.close()


def manage(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, **more)


def finished(result: Any) -> Any:
    def is_finished() -> bool:
        result.refresh()
        return bool(result.is_finished)

    until(is_finished, WAIT_S)
    return result


def tasks(*names: str) -> list[Any]:
    """Of the project; a checker of types would take those of another example, whose package has the same name."""
    module = import_module("shop.tasks")
    return [getattr(module, name) for name in names]


def test_the_tests_of_the_project_pass(shop: Path) -> None:
    done = manage("test")
    assert done.returncode == 0, done.stderr
    assert "Ran 5 tests" in done.stderr


def test_checks(shop: Path) -> None:
    from django.core.management import call_command
    from django.core.management.base import SystemCheckError
    from django.test import override_settings

    call_command("check", "--tag", "stratix", "--deploy")
    from stratix_kombu.integrations import django as ours
    from stratix_kombu.integrations.django.checks import check_servers, check_settings

    before = ours._app
    try:
        ours._app = None
        with override_settings(STRATIX={"drivr": "redis"}), pytest.raises(SystemCheckError, match=r"stratix\.E001"):
            call_command("check", "--tag", "stratix")
        ours._app = None
        with override_settings(STRATIX={"redis": {"port": 1}, "store": "memory://"}):
            assert [one.id for one in check_servers(None)] == ["stratix.E002", "stratix.W001"]
            assert check_settings(None) == []
        with override_settings(TASKS={"default": {"BACKEND": ours.__name__ + ".tasks.StratixBackend"}}):
            from stratix_kombu.integrations.django.tasks import StratixBackend

            backend = StratixBackend("default", {"QUEUES": [], "OPTIONS": {"atempts": 3}})
            assert [one.id for one in backend.check()] == ["stratix.W002", "stratix.E004"]
    finally:
        ours._app = before


def test_a_worker_of_the_project_runs_its_jobs(shop: Path) -> None:
    from shop.models import Order

    from stratix_kombu import create_app

    namespace = f"shop{uuid.uuid4().hex[:8]}"
    environment = {**os.environ, "SHOP_NAMESPACE": namespace}
    row = Order.objects.create(item="a lamp")
    with create_app({"redis": {"url": os.environ["SHOP_REDIS"]}, "namespace": namespace}) as outside:
        job = outside.queue.get_queue("orders").add("confirm", {"order": row.pk})
        command = [sys.executable, "manage.py", "stratix", "worker", "--processes", "2"]
        with subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True) as worker:
            try:
                assert job.wait_until_finished(timeout=90) == "a lamp"
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.communicate(timeout=90)
        assert worker.returncode == 0
    row.refresh_from_db()
    assert row.confirmed


def test_jobs_wait_for_the_commit(app: Application) -> None:
    from django.db import transaction
    from shop.models import Order
    from shop.services import place_order

    from stratix_kombu import ConfigurationError
    from stratix_kombu.integrations.django import add_on_commit

    orders = app.queue.get_queue("orders")
    with transaction.atomic():
        place_order("never")
        transaction.set_rollback(True)
    with pytest.raises(ConfigurationError, match="did you mean 'attempts'"):
        add_on_commit("orders", "confirm", atempts=3)
    order = place_order("a lamp")
    until(lambda: Order.objects.get(pk=order.pk).confirmed, WAIT_S)
    assert [job.data for job in orders.get_jobs()] == [{"order": order.pk}]
    job = orders.add("ship", {"order": order.pk})
    assert job.wait_until_finished(10) == 1


def test_connections_are_closed_around_jobs(app: Application) -> None:
    from django.db import connection
    from shop.models import Order

    seen: list[Any] = []
    queue = app.queue.create_queue("connections", concurrency=1)

    @queue.process("use")
    def use(job: Any) -> bool:
        seen.append(connection.connection)
        Order.objects.count()
        seen.append(connection.connection)
        return connection.connection is not None

    assert queue.add("use").wait_until_finished(10) is True
    assert queue.add("use").wait_until_finished(10) is True
    assert seen[0] is None
    assert seen[2] is None


def test_tasks_are_enqueued_and_found(app: Application) -> None:
    from shop.models import Order

    fragile, remind = tasks("fragile", "remind")

    from stratix_kombu.integrations.django.versions import TaskResultDoesNotExist, TaskResultStatus

    order = Order.objects.create(item="a table")
    result = remind.enqueue(order.pk)
    assert (result.status, result.args, result.kwargs) == (TaskResultStatus.READY, [order.pk], {})
    assert result.enqueued_at.tzinfo is not None
    finished(result)
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.return_value == "your a table is waiting"
    assert result.attempts == len(result.worker_ids) == 1
    assert result.enqueued_at <= result.started_at <= result.finished_at
    found = remind.get_result(result.id)
    assert (found.task, found.return_value) == (remind, result.return_value)
    assert found.task.priority == 10
    with pytest.raises(Exception, match="Task does not match"):
        fragile.get_result(result.id)
    for unknown in ("unknown", app.queue.get_queue("orders").add("confirm", {"order": order.pk}).id):
        with pytest.raises(TaskResultDoesNotExist):
            remind.get_result(unknown)


def test_attempts_errors_and_the_context(app: Application) -> None:
    (fragile,) = tasks("fragile")

    from stratix_kombu.integrations.django.versions import TaskResultStatus

    again = finished(fragile.enqueue(1))
    assert (again.status, again.return_value, again.attempts) == (TaskResultStatus.SUCCESSFUL, 2, 2)
    assert [one.exception_class_path for one in again.errors] == ["builtins.ConnectionError"]
    failed = finished(fragile.enqueue(9))
    assert failed.status == TaskResultStatus.FAILED
    assert [one.exception_class for one in failed.errors] == [ConnectionError, ConnectionError]
    assert "attempt 2 failed" in failed.errors[1].traceback
    assert failed.started_at < failed.last_attempted_at
    assert len(failed.worker_ids) == 2
    with pytest.raises(ValueError, match="Task failed"):
        _ = failed.return_value


def test_asyncio(app: Application) -> None:
    (fragile,) = tasks("fragile")

    async def main() -> Any:
        result = await fragile.aenqueue(0)
        job = await app.queue.aio.get_job(result.id)
        assert job is not None
        await job.aio.wait_until_finished(timeout=10)
        await result.arefresh()
        return (await fragile.aget_result(result.id)).return_value, result.return_value

    assert asyncio.run(main()) == (1, 1)


def test_later_and_first(app: Application) -> None:
    (remind,) = tasks("remind")

    from stratix_kombu.integrations.django.tasks import level_of

    later = datetime.now(timezone.utc) + timedelta(hours=1)
    result = remind.using(run_after=later, priority=-100).enqueue(1)
    job = app.queue.get_job(result.id)
    assert job is not None
    assert (job.get_state(), job.opts["priority"]) == ("delayed", 9)
    found = remind.get_result(result.id)
    assert (found.task.run_after, found.task.priority) == (later, -100)
    job.remove()
    levels = [level_of(one) for one in range(100, -101, -1)]
    assert levels == sorted(levels)
    assert set(levels) == set(range(10))
    assert level_of(1) < level_of(0) < level_of(-1)


def test_what_django_refuses_is_refused(app: Application) -> None:
    fragile, remind = tasks("fragile", "remind")

    for using in ({"priority": 101}, {"queue_name": "unknown"}, {"run_after": datetime(2030, 1, 1)}):
        with pytest.raises(Exception, match=r"priority must be|not valid for backend|must be an aware"):
            remind.using(**using)
    with pytest.raises(TypeError):
        fragile.enqueue(object())


def test_signals(app: Application) -> None:
    (fragile,) = tasks("fragile")

    from stratix_kombu.integrations.django.versions import signals

    seen: list[tuple[str, str]] = []
    receivers = []
    for name in ("task_enqueued", "task_started", "task_finished"):

        def note(sender: Any, task_result: Any, name: str = name, **_: Any) -> None:
            seen.append((name, str(task_result.status)))

        getattr(signals, name).connect(note)
        receivers.append(note)
    finished(fragile.enqueue(1))
    assert sorted(seen) == sorted(
        [
            ("task_enqueued", "READY"),
            ("task_started", "RUNNING"),
            ("task_started", "RUNNING"),
            ("task_finished", "SUCCESSFUL"),
        ]
    )


def test_a_job_that_is_no_task_fails_with_that_reason(app: Application) -> None:
    job = app.queue.get_queue("mail").add("letter")
    with pytest.raises(JobFailed, match="is not a Django task"):
        job.wait_until_finished(10)


def test_a_sandbox_readies_django(app: Application) -> None:
    assert app.queue.get_queue("invoices").add("invoice", 0).wait_until_finished(30) == "0 orders"


def test_classes_stay_small(shop: Path) -> None:
    from stratix_kombu.integrations.django import checks, connections, sandbox, tasks, versions
    from tests.architecture.test_shape import MAX_METHODS, _public_methods

    classes = {
        one
        for module in (checks, connections, sandbox, tasks, versions)
        for one in vars(module).values()
        if isinstance(one, type)
    }
    assert {one.__name__ for one in classes if len(_public_methods(one)) > MAX_METHODS} <= {"Job", "Queue"}
