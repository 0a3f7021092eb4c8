"""The Celery project of these tests: one set of tasks, for applications with and without the bridge.

As a module it is the application that the environment describes, for ``celery -A tests.celery.project worker``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from celery import Celery, Task, chain, chord, group, signals as celery_signals
from celery.exceptions import Ignore, Reject

from stratix_kombu.celery import install, install_in_workers
from stratix_kombu.logs import current_job
from tests.celery import boxed, by_hand, errors, published, shapes, slowly, waits
from tests.sandbox import handlers

FOREIGN = "x-only-a-header"


def make_app(
    broker: str,
    store: str,
    prefix: str,
    bridge: bool | str = True,
    worker: dict[str, Any] | None = None,
    late: bool = False,
    metrics: dict[str, Any] | None = None,
    stratix: dict[str, Any] | None = None,
    at_import: str = "",
    left_out: list[str] | None = None,
    results: str = "own",
    signals: str = "",
    django: str = "",
    direct_queue: bool = False,
    documented: str = "",
    follows: bool = False,
    **conf: Any,
) -> Celery:
    """An application whose queues and namespace begin with ``prefix``; ``stratix`` are more options of the bridge.

    ``bridge``: whether it has it; ``"in workers"``: in these alone.

    ``documented``: with the tasks of ``tests/celery/documented``; ``signals``: a worker logs its signals, too;
    ``extensions``: it has those of that folder.

    ``signals``: where Celery's signals of workers and tasks are noted. ``at_import``: where a task notes that is
    published before anything else. ``django``: it is a project of Django's, with its database there. ``direct_queue``:
    each worker has a queue of its own. ``follows``: in children of a pool each task follows the one before it, however
    long it takes to come, and successes are stored slowly.
    """
    if follows:
        slowly.store_successes()
    if django:
        os.environ.update(DJANGO_SETTINGS_MODULE="tests.celery.django_settings", STRATIX_TEST_DATABASE=django)
    app = Celery("proj", broker=broker, backend=store, set_as_current=False)
    app.conf.update(task_acks_late=late, task_default_queue=f"{prefix}q", **conf)
    app.conf.broker_connection_retry_on_startup = True
    if broker.startswith("sqs"):
        options = {"region": "us-east-1", "is_secure": False, "wait_time_seconds": 1, "polling_interval": 0}
        app.conf.broker_transport_options = {**options, "visibility_timeout": 5}
    define_tasks(app)
    if documented:
        from tests.celery.documented import tasks

        tasks.define(app)
        tasks.listen(app, prefix, documented)
    if signals:
        note_signals(signals)
    if direct_queue:
        celery_signals.celeryd_after_setup.connect(add_direct_queue, weak=False)
    if bridge:
        watch = {"stalled_check_interval": 200, "lease_duration": 5000, "redelivery_grace": 1000, **(worker or {})}
        more: dict[str, Any] = {"results": results, "exclude": left_out or (), **(stratix or {})}
        if bridge == "in workers":
            install_in_workers(app, namespace=prefix, worker=watch, metrics=metrics, **more)
            return app
        app.stratix = install(app, namespace=prefix, worker=watch, metrics=metrics, **more)
        define_handlers(app)
    if at_import:
        app.tasks["proj.note"].delay(at_import, "at import")
    return app


def sqs_broker(url: str) -> str:
    """Kombu's URL for moto's server."""
    return f"sqs://key:secret@{urlsplit(url).netloc}//"


def note_signals(path: str) -> None:
    """Note each signal of workers and tasks, with the task's name."""
    names = [one for one in dir(celery_signals) if one.startswith(("worker_", "task_")) and "before_" not in one]
    for name in names:
        if name in ("worker_before_create_process", "task_sent", "task_internal_error"):
            continue

        def receive(sender: Any = None, name: str = name, **given: Any) -> None:
            task = getattr(given.get("request"), "task", None) or sender
            task = getattr(task, "name", task)
            named = f" {str(task).removeprefix('proj.')}" if name.startswith("task_") else ""
            state = ""
            if name == "task_success":  # the result can be read by then
                state = f" {sender.AsyncResult(sender.request.id).state}"
            if name == "worker_ready" and any(one.name.endswith("-consumer") for one in threading.enumerate()):
                state = " while tasks may begin"
            note(path, f"{name}{named}{state}")

        getattr(celery_signals, name).connect(receive, weak=False)


def add_direct_queue(sender: str, instance: Any, **_: Any) -> None:
    """As Celery's guide shows it: https://docs.celeryq.dev/en/stable/userguide/signals.html#celeryd-after-setup."""
    instance.app.amqp.queues.select_add(f"{sender.partition('@')[0]}.dq")


def note(path: str, line: Any) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


def wait(gate: str) -> None:
    """Until there is such a file."""
    while not Path(gate).exists():
        time.sleep(0.02)


def define_tasks(app: Celery) -> None:
    """What the tests run; names begin with ``proj.``."""
    define_plain(app)
    define_faulty(app)
    define_changing(app)
    shapes.define(app)
    waits.define(app)
    boxed.define(app)
    by_hand.define(app)
    published.define(app)
    errors.define(app)


def define_plain(app: Celery) -> None:
    @app.task(shared=False, name="proj.add")
    def add(x: Any, y: Any = 0) -> Any:
        return x + y

    @app.task(shared=False, name="proj.total")
    def total(numbers: list[Any]) -> Any:
        return sum(numbers)

    @app.task(shared=False, name="proj.same")
    def same(value: Any = None, **kwargs: Any) -> Any:
        return value

    @app.task(shared=False, name="proj.note")
    def note_(path: str, line: Any = "ran", seconds: float = 0.0) -> str:
        note(path, line)
        time.sleep(seconds)
        return str(line)

    @app.task(shared=False, name="proj.hang_once", acks_late=True)
    def hang_once(path: str, line: Any = "ran") -> str:
        first = not Path(path).read_text()
        note(path, line)
        time.sleep(60 if first else 0)
        return str(line)

    @app.task(shared=False, name="proj.about", bind=True)
    def about(self: Task, *args: Any) -> dict[str, Any]:
        request = self.request
        return {
            "id": request.id,
            "retries": request.retries,
            "eta": request.eta,
            "parent": request.parent_id,
            "root": request.root_id,
            "header": request.get("only_a_header"),
            "group": request.group,
            "priority": (request.delivery_info or {}).get("priority"),
            "reply_to": bool(request.reply_to),
        }

    @app.task(shared=False, name="proj.current")
    def current() -> Any:
        return current_job()

    @app.task(shared=False, name="proj.pid")
    def pid() -> int:
        time.sleep(0.005)
        return os.getpid()

    @app.task(shared=False, name="proj.connects")
    def connects() -> bool:
        """Whether this thread had a connection to Django's database already."""
        from django.db import connection

        had = connection.connection is not None
        connection.ensure_connection()
        return had

    @app.task(shared=False, name="proj.sleeps", bind=True, autoretry_for=(KeyError,), default_retry_delay=0.02)
    async def sleeps(self: Task, path: str, seconds: float = 0.0, fails: int = 0, gate: str = "/") -> list[Any]:
        await asyncio.sleep(0)
        if self.request.retries < fails:
            raise KeyError(path)
        note(path, "began")
        try:
            await asyncio.sleep(seconds)
            while not Path(gate).exists():
                await asyncio.sleep(0.02)
        finally:
            note(path, "ended")
        return [self.request.id, self.request.retries]

    @app.task(shared=False, name="proj.wait_for")
    def wait_for(gate: str, path: str) -> str:
        note(path, os.getpid())
        wait(gate)
        return "done"

    @app.task(shared=False, name="proj.progress", bind=True)
    def progress(self: Task, gate: str) -> str:
        self.update_state(state="PROGRESS", meta={"done": 1})
        wait(gate)
        return "done"


def define_faulty(app: Celery) -> None:
    @app.task(shared=False, name="proj.boom")
    def boom(*args: Any) -> None:
        raise ValueError("boom")

    @app.task(shared=False, name="proj.boom_once", bind=True)
    def boom_once(self: Task, path: str) -> str:
        if not Path(path).exists():
            note(path, "failed")
            raise ValueError("once")
        return "fine"

    @app.task(shared=False, name="proj.flaky", bind=True, max_retries=3)
    def flaky(self: Task, value: Any, times: int = 1, countdown: float = 0.05) -> Any:
        if self.request.retries < times:
            raise self.retry(countdown=countdown)
        return [value, self.request.retries]

    @app.task(shared=False, name="proj.fine_later")
    def fine_later(path: str, gate: str = "/") -> None:
        note(path, "stale")
        wait(gate)

    @app.task(shared=False, name="proj.boom_later")
    def boom_later(path: str, gate: str = "/") -> None:
        note(path, "stale")
        wait(gate)
        raise ValueError("late")

    @app.task(shared=False, name="proj.flaky_later", bind=True)
    def flaky_later(self: Task, path: str, gate: str = "/") -> None:
        note(path, "stale")
        wait(gate)
        raise self.retry(countdown=0)

    @app.task(shared=False, name="proj.always", autoretry_for=(ValueError,), default_retry_delay=0.02, max_retries=2)
    def always(path: str) -> None:
        note(path, "tried")
        raise ValueError("always")

    @app.task(shared=False, name="proj.reject", bind=True)
    def reject(self: Task, path: str, requeue: bool) -> str:
        note(path, "ran")
        if len(Path(path).read_text().splitlines()) < 2:
            raise Reject("not me", requeue=requeue)
        return "second"

    @app.task(shared=False, name="proj.ignore", bind=True)
    def ignore(self: Task, state: str = "") -> None:
        if state:
            error = {"exc_type": "ValueError", "exc_message": ["own"], "exc_module": "builtins"}
            self.update_state(state=state, meta=error)
        raise Ignore

    @app.task(shared=False, name="proj.no_json")
    def no_json() -> object:
        return object()

    @app.task(shared=False, name="proj.exit")
    def exit_(path: str) -> None:
        note(path, "ran")
        os._exit(3)

    @app.task(shared=False, name="proj.killed")
    def killed(path: str, line: str) -> None:
        note(path, line)
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task(shared=False, name="proj.slow", time_limit=1)
    def slow(path: str, seconds: float = 30) -> None:
        note(path, "began")
        time.sleep(seconds)

    @app.task(shared=False, name="proj.on_error")
    def on_error(request: Any, error: Any, traceback: Any, path: str) -> None:
        note(path, f"{request.id} {type(error).__name__}")

    @app.task(shared=False, name="proj.on_error_id", bind=True)
    def on_error_id(self: Task, failed_id: str, path: str) -> None:
        note(path, f"task {failed_id}")


def define_changing(app: Celery) -> None:
    tasks = app.tasks

    @app.task(shared=False, name="proj.replace", bind=True)
    def replace(self: Task, shape: str, *args: Any) -> None:
        add, total = tasks["proj.add"], tasks["proj.total"]
        signatures = {
            "task": add.s(1, 10),
            "chain": chain(add.s(1, 1), add.s(2), add.s(3)),
            "chord": chord([add.s(1, 1), add.s(2, 2)], total.s()),
            "group": group(add.s(1, 1), add.s(2, 2)),
            "failing": chain(add.s(1, 1), tasks["proj.boom"].s(), add.s(3)),
        }
        raise self.replace(signatures[shape])

    @app.task(shared=False, name="proj.enlarge", bind=True)
    def enlarge(self: Task, value: int) -> int:
        self.add_to_chord(tasks["proj.add"].s(value, 1))
        return value

    @app.task(shared=False, name="proj.spawn", bind=True)
    def spawn(self: Task, path: str) -> str:
        result = tasks["proj.note"].delay(path, "spawned")
        return str(result.id)


def define_handlers(app: Celery) -> None:
    queue = app.stratix.queue.get_queue(app.conf.task_default_queue)

    @queue.process("greet")
    def greet(job: Any) -> Any:
        job.update_progress(50)
        job.log("greeting")
        return {"hello": job.data["name"], "results": sorted(job.get_dependency_results().values(), key=str)}

    @queue.process("greet async")
    async def greet_async(job: Any) -> str:
        return f"hello {job.data['name']}"

    @queue.process("echo")
    def echo(job: Any) -> Any:
        if isinstance(job.data, dict) and job.data.get("progress"):
            job.update_progress(job.data)
        return job.data

    queue.process("greet later", lambda job: greet_async(job))

    @queue.process("fork")
    def fork(job: Any) -> Any:
        pid = os.fork()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if pid else "the child"

    @queue.process("patient")
    def patient(job: Any) -> str:
        note(job.data["notes"], f"began {os.getpid()}")
        while not Path(job.data["gate"]).exists() and not (job.data.get("hears") and job.cancelled):
            time.sleep(0.02)
        note(job.data["notes"], "ended")
        return "late"

    @queue.process("patient async")
    async def patient_async(job: Any) -> None:
        note(job.data["notes"], "began")
        try:
            await asyncio.sleep(60)
        finally:
            note(job.data["notes"], "ended")

    sandboxed = app.stratix.queue.create_queue(f"{app.conf.task_default_queue}.boxed", processor={"sandboxed": True})
    for name in ("fine", "leave", "loop", "deaf", "use_the_job"):
        sandboxed.process(name, getattr(handlers, name))

    @queue.process("twice")
    def twice(job: Any) -> int:
        if job.attempts_made == 0:
            raise ValueError("first")
        return int(job.attempts_made)


if "STRATIX_TEST_PROJECT" in os.environ:
    import json

    app = make_app(**json.loads(os.environ["STRATIX_TEST_PROJECT"]))
