"""Names that are not there: what to write instead is said wherever one can be wrong."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import re
import traceback
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner

import stratix_kombu
from stratix_kombu import Application, ConfigurationError, Flow, Job, JobFailed, Queue, create_app, foreign, hints
from stratix_kombu.aio import AsyncJob, AsyncQueue
from stratix_kombu.cli import main
from stratix_kombu.hints import Hinted
from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.queue.manager import QueueManager
from tests.waiting import until


@pytest.fixture
def app() -> Iterator[Application]:
    """In memory: names do not depend on the store."""
    app = create_app({"driver": "memory", "store": f"memory://{uuid.uuid4()}"})
    yield app
    app.close(5)


@pytest.fixture
def owners(app: Application) -> dict[str, Any]:
    """One of each class whose attributes are hinted."""
    queue = app.queue.get_queue("work")
    job, flow = queue.add("n"), app.queue.add_flow({"name": "n", "queue": "work"})
    app.schedule.cron("30 3 * * *", print)
    return {
        "package": stratix_kombu,
        "app": app,
        "manager": app.queue,
        "queue": queue,
        "job": job,
        "flow": flow,
        "schedule": app.schedule,
        "locks": app.distributed_lock,
        "queue.aio": queue.aio,
        "job.aio": job.aio,
        "manager.aio": app.queue.aio,
        "flow.aio": flow.aio,
        "lock": app.distributed_lock.acquire("k", 1000),
        "repeatable": queue.add_repeatable_job("n", cron="30 3 * * *"),
        "info": app.schedule.list()[0],
        "error": JobFailed("1", "no"),
    }


@pytest.mark.parametrize(
    ("owner", "name", "hint"),
    [
        ("package", "createApp", "did you mean 'create_app'?"),
        ("package", "queuePlugin", "did you mean 'queue_plugin'?"),
        ("package", "Worker", "write queue.process(handler), and app.run()"),
        ("package", "FlowProducer", "write app.queue.add_flow(...)"),
        ("app", "createQueue", "write app.queue.create_queue(name)"),
        ("app", "distributedLock", "did you mean 'distributed_lock'?"),
        ("app", "stop", "did you mean 'close'?"),
        ("manager", "createQueue", "did you mean 'create_queue'?"),
        ("manager", "add", "write queue.add(...), of app.queue.get_queue(name)"),
        ("queue", "getJobCounts", "did you mean 'get_job_counts'?"),
        ("queue", "getWaiting", "write queue.get_jobs('waiting')"),
        ("queue", "getWaitingCount", "write queue.get_job_counts()['waiting']"),
        ("queue", "get_failed", "write queue.get_jobs('failed')"),
        ("queue", "count", "did you mean 'get_job_counts'?"),
        ("queue", "upsertJobScheduler", "did you mean 'upsert_job_scheduler'?"),
        ("queue", "removeRepeatableByKey", "did you mean 'remove_repeatable_job'?"),
        ("queue", "proces", "did you mean 'process'?"),
        ("job", "processedOn", "did you mean 'processed_on'?"),
        ("job", "returnvalue", "did you mean 'return_value'?"),
        ("job", "moveToFailed", "write raise UnrecoverableError(...) in the handler"),
        ("job", "moveToDelayed", f"write {foreign.LATER}"),
        ("job", "moveToWaitingChildren", f"write {foreign.THE_REST}"),
        ("package", "DelayedError", f"write {foreign.LATER}"),
        ("package", "WaitingChildrenError", f"write {foreign.THE_REST}"),
        ("job", "isCompleted", "write job.get_state() == 'completed'"),
        ("flow", "getCounts", "did you mean 'counts'?"),
        ("schedule", "add", "did you mean 'register'?"),
        ("locks", "lock", "did you mean 'acquire'?"),
        ("lock", "unlock", "did you mean 'release'?"),
        ("repeatable", "nextRun", "did you mean 'next_run'?"),
        ("repeatable", "pattern", "did you mean 'cron'?"),
        ("info", "next", "did you mean 'next_run'?"),
        ("error", "failedReason", "did you mean 'reason'?"),
        ("error", "message", "write str(error)"),
        ("queue.aio", "getJobs", "did you mean 'get_jobs'?"),
        ("queue.aio", "process", "write 'process' without 'aio': it contacts no server"),
        ("job.aio", "returnvalue", "write 'return_value' without 'aio': it contacts no server"),
        ("manager.aio", "createQueue", "write 'create_queue' without 'aio': it contacts no server"),
        ("flow.aio", "root", "write 'root' without 'aio': it contacts no server"),
    ],
)
def test_attributes(owners: dict[str, Any], owner: str, name: str, hint: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(owners[owner], name)
    assert str(caught.value).endswith(f"has no attribute {name!r}; {hint}")
    shown = "".join(traceback.format_exception(caught.value)).rstrip()
    assert shown.endswith(hint), "the interpreter adds no hint of its own"


def test_every_name_in_camel_case(owners: dict[str, Any]) -> None:
    """As the document writes it."""
    for owner in owners.values():
        names = stratix_kombu.__all__ if owner is stratix_kombu else dir(owner)
        for name in [one for one in names if "_" in one.strip("_") and one[0] != "_"]:
            written = re.sub("_([a-z])", lambda found: found[1].upper(), name)
            with pytest.raises(AttributeError, match=f"no attribute '{written}'; did you mean '{name}'"):
                getattr(owner, written)


@pytest.mark.parametrize(
    ("name", "hint"), [("createApp", "did you mean 'create_app'?"), ("QueueEvents", "write queue.on('completed', fun")]
)
def test_an_import_from_the_package(name: str, hint: str) -> None:
    with pytest.raises(ImportError) as caught:
        exec(f"from stratix_kombu import {name}", {})
    assert str(caught.value).startswith(f"cannot import name {name!r} from 'stratix_kombu'; {hint}")
    assert not hasattr(stratix_kombu, name)
    with pytest.raises(AttributeError):
        getattr(importlib.import_module("stratix_kombu"), name)


@pytest.mark.parametrize("name", ["errors", "types", "create_app"])
def test_an_import_of_what_is_there(name: str) -> None:
    held: dict[str, Any] = {}
    exec(f"from stratix_kombu import {name}", held)
    assert held[name] is getattr(stratix_kombu, name)


def _adding(app: Application, **options: Any) -> None:
    app.queue.get_queue("work").add("n", None, options)  # type: ignore[arg-type]


def _repeating(app: Application, **options: Any) -> None:
    app.queue.get_queue("work").add_repeatable_job("n", None, options)  # type: ignore[arg-type]


def _growing(app: Application, **options: Any) -> None:
    app.queue.add_flow({"name": "n", "queue": "work", **options})  # type: ignore[typeddict-item]


def _filling(app: Application, **options: Any) -> None:
    app.queue.get_queue("work").add_bulk([{"name": "n", **options}])  # type: ignore[typeddict-item]


def _creating(app: Application, **options: Any) -> None:
    app.queue.create_queue("other", **options)


def _settings(app: Application, **options: Any) -> None:
    Application({"driver": "memory", **options}).queue  # noqa: B018


OPTIONAL = "write dependencies_mode='optional' on the job that depends on it, which runs once all of them have ended"
REPEATABLE = "write queue.add_repeatable_job(name, data, cron=...) for a repeatable job"


@pytest.mark.parametrize(
    ("call", "options", "hint"),
    [
        (_adding, {"repeat": {"pattern": "* * * * *"}}, REPEATABLE),
        (_adding, {"cron": "* * * * *"}, REPEATABLE),
        (_adding, {"dependsOn": []}, "did you mean 'dependencies'?"),
        (_adding, {"atempts": 3}, "did you mean 'attempts'?"),
        (_adding, {"retries": 3}, "did you mean 'attempts'?"),
        (_adding, {"countdown": 3}, "did you mean 'delay'? It is in milliseconds, or a timedelta"),
        (_adding, {"job_timeout": 180}, "did you mean 'timeout'? It is in milliseconds, or a timedelta"),
        (_adding, {"result_ttl": 500}, "write remove_on_complete=timedelta(seconds=...)"),
        (_adding, {"kwargs": {"to": "ada"}}, "write queue.add(name, data, ...): the data is one value"),
        (
            _adding,
            {"limiter": {"max": 1, "window": 2}},
            "did you mean 'duration'? It is in milliseconds, or a timedelta",
        ),
        (_adding, {"failParentOnFailure": True}, "fails too, unless it has dependencies_mode='optional'"),
        (_adding, {"continueParentOnFailure": True}, OPTIONAL),
        (_adding, {"ignoreDependencyOnFailure": True}, OPTIONAL),
        (_adding, {"removeDependencyOnFailure": True}, OPTIONAL),
        (_adding, {"lifo": True}, "write priority=0, and a higher number on the others: 0 is first"),
        (_adding, {"keepLogs": 5}, "write nothing: a job keeps the newest 1,000 lines of its log"),
        (_adding, {"concurrency": 5}, "write app.queue.create_queue(name, concurrency=...)"),
        (_adding, {"sizeLimit": 5}, "write app.queue.create_queue(name, max_payload_bytes=...)"),
        (_adding, {"stalledInterval": 5}, "write the setting worker={'stalled_check_interval': ...}"),
        (_adding, {"deduplication": {"id": "a", "keepLastIfActive": True}}, "or no deduplication"),
        (_adding, {"removeOnFail": {"count": 1, "limit": 5}}, "write nothing: 'count' and 'age' say what is kept"),
        (_growing, {"opts": {"ignoreDependencyOnFailure": True}}, OPTIONAL),
        (_growing, {"jobId": "a"}, "write 'opts': {'job_id': ...}"),
        (_growing, {"dependencies": []}, "write 'children', or a list of nodes with 'key' and 'dependencies'"),
        (_filling, {"delay": 5}, "write 'opts': {'delay': ...}"),
        (_filling, {"queueName": "a"}, "write app.queue.get_queue(name).add_bulk(...), for each queue"),
        (_repeating, {"every": 5, "offset": 5}, "write start_date=..., from which intervals count"),
        (_repeating, {"repeat": {"every": 5}}, "write cron=... or every=... directly"),
        (_repeating, {"pattern": "* * * * *"}, "did you mean 'cron'?"),
        (_repeating, {"cron": "* * * * *", "count": 3}, "did you mean 'limit'?"),
        (_creating, {"removeOnComplete": True}, "write default_job_options={'remove_on_complete': ...}"),
        (_creating, {"retries": 3}, "write default_job_options={'attempts': ...}"),
        (_creating, {"lockDuration": 5}, "write the setting worker={'lease_duration': ...}"),
        (_creating, {"connection": {}}, "write create_app({'driver': 'redis', 'redis': {...}})"),
        (_creating, {"lockRenewTime": 5}, "write nothing: leases are renewed while handlers run"),
        (_creating, {"useWorkerThreads": True}, "{'sandboxed': True} for handlers in processes of their own"),
        (_creating, {"settings": {}}, "write backoffs={'name': function}, and backoff={'custom': 'name'} on jobs"),
        (_creating, {"workers": 3}, "did you mean 'concurrency'?"),
        (_creating, {"default_job_options": {"retries": 3}}, "did you mean 'attempts'?"),
        (_creating, {"processor": {"sandbox": True}}, "did you mean 'sandboxed'?"),
        (_settings, {"prefix": "shop"}, "did you mean 'namespace'?"),
        (_settings, {"connection": {}}, "did you mean 'redis'?"),
        (_settings, {"brokerUrl": "x"}, "did you mean 'driver'?"),
        (_settings, {"concurrency": 3}, "write app.queue.create_queue(name, concurrency=...), or the setting queues"),
        (_settings, {"attempts": 3}, "write default_job_options={'attempts': ...}"),
        (_settings, {"lockDuration": 3}, "write worker={'lease_duration': ...}"),
        (_settings, {"worker": {"concurrency": 3}}, "concurrency=...), or the setting queues"),
        (_settings, {"driver": "redis", "redis": {"tls": {}}}, "did you mean 'ssl'?"),
        (_settings, {"driver": "redis", "redis": {"keyPrefix": "x"}}, "did you mean 'connection_namespace'?"),
        (_settings, {"driver": "redis", "redis": {"ssl": {"rejectUnauthorized": False}}}, "did you mean 'verify'?"),
        (_settings, {"driver": "rabbitmq", "store": "memory://", "rabbitmq": {"user": "a"}}, "mean 'username'?"),
        (_settings, {"driver": "sqs", "store": "memory://", "sqs": {"region": "a"}}, "did you mean 'aws'?"),
        (_settings, {"worker": {"lockDuration": 1000}}, "did you mean 'lease_duration'?"),
    ],
)
def test_options(app: Application, call: Callable[..., None], options: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        call(app, **options)
    assert str(caught.value).endswith(hint)


OF_JOBS = (
    "timestamp lifo keepLogs stackTraceLimit sizeLimit repeat rateLimiterKey repeatJobKey prevMillis parent debounce "
    "failParentOnFailure continueParentOnFailure ignoreDependencyOnFailure removeDependencyOnFailure telemetry"
)
OF_WORKERS = (
    "autorun maxStartedAttempts maxStalledCount stalledInterval skipStalledCheck skipLockRenewal drainDelay "
    "lockDuration lockRenewTime runRetryDelay settings useWorkerThreads workerForkOptions workerThreadsOptions metrics "
    "connection prefix blockingConnection telemetry sharedConnection skipVersionCheck skipWaitingForReady "
    "removeOnComplete removeOnFail"
)
OF_QUEUES = "connection prefix settings streams telemetry skipMetasUpdate skipVersionCheck"
OF_RULES = "pattern count prevMillis offset utc nthDayOfWeek currentDate"


@pytest.mark.parametrize(
    ("call", "names"), [(_adding, OF_JOBS), (_creating, OF_WORKERS), (_creating, OF_QUEUES), (_repeating, OF_RULES)]
)
def test_every_option_of_bullmq_that_is_none_of_ours(app: Application, call: Callable[..., None], names: str) -> None:
    for name in names.split():
        with pytest.raises(ConfigurationError, match=rf"unknown option '{name}'; (write|did you mean) "):
            call(app, **{"every": 1000} if call is _repeating else {}, **{name: 1})


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("complete", "completed"),
        ("waiting-children", "blocked"),
        ("global:failed", "failed"),
        ("added", "waiting"),
        ("retries-exhausted", "retries_exhausted"),
    ],
)
def test_events(app: Application, given: Any, ours: str) -> None:
    with pytest.raises(ConfigurationError, match=f"unknown event '{given}'; did you mean '{ours}'"):
        app.queue.get_queue("work").on(given, print)


@pytest.mark.parametrize(
    ("given", "ours"),
    [("wait", "waiting"), ("waiting-children", "blocked"), ("success", "completed"), ("fail", "failed")],
)
def test_states(app: Application, given: Any, ours: str) -> None:
    queue = app.queue.get_queue("work")
    with pytest.raises(ConfigurationError, match=f"unknown state '{given}'; did you mean '{ours}'"):
        queue.get_jobs(given)
    if given != "wait":
        with pytest.raises(ConfigurationError, match=f"unknown state '{given}'; did you mean '{ours}'"):
            queue.clean(state=given)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["status"], "no such command 'status'; did you mean 'queues'?"),
        (["worke"], "no such command 'worke'; did you mean 'worker'?"),
        (["purge"], "no such command 'purge'; did you mean 'drain'?"),
        (["job", "delete"], "no such command 'delete'; did you mean 'remove'?"),
        (["repeat", "rm"], "no such command 'rm'; did you mean 'remove'?"),
        (["worker", "-q", "emails"], "no such option -q; did you mean --queues?"),
        (["demo", "-c", "4"], "no such option -c; did you mean --concurrency?"),
        (["repeat", "add", "q", "n", "--schedule", "x"], "no such option --schedule; did you mean --cron?"),
    ],
)
def test_commands(arguments: list[str], hint: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert hint in done.output


def test_names_of_the_users_own_are_not_translated() -> None:
    """A queue may be called as one of our options is."""
    assert hints.nearest("task", ["handler", "name"]) == "; known: handler, name"
    assert hints.nearest("task", ["handler", "name"], foreign.OPTIONS) == "; did you mean 'handler'?"
    assert hints.nearest("emial", ["email", "image"]) == "; did you mean 'email'?"
    assert hints.nearest("e-mial", ["e-mail", "image"]) == "; did you mean 'e-mail'?"
    assert hints.nearest("Europe/Berln", ["Europe/Berlin", "UTC"]) == "; did you mean 'Europe/Berlin'?"


@pytest.mark.parametrize("sandboxed", [False, True])
def test_the_reason_of_a_job_whose_handler_asks_for_such_a_name(app: Application, sandboxed: bool) -> None:
    from tests.sandbox.handlers import asks_for_a_name_of_bullmq

    queue = app.queue.create_queue("work", processor={"sandboxed": sandboxed})
    queue.process(asks_for_a_name_of_bullmq)
    app.start()
    with pytest.raises(JobFailed, match=r"no attribute 'processedOn'; did you mean 'processed_on'\?"):
        queue.add("n").wait_until_finished(60)


def test_the_log_of_a_listener_that_asks_for_such_a_name(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    queue = app.queue.get_queue("work")
    queue.process(lambda job: 1)
    queue.on("completed", lambda job, result: job.returnvalue)  # type: ignore[attr-defined]
    app.start()
    queue.add("n")
    until(lambda: "has no attribute 'returnvalue'; did you mean 'return_value'?" in caplog.text, 30)


@pytest.mark.parametrize(
    ("given", "ours"), [("beforeStop", "before_start"), ("onClose", "before_close"), ("onReady", "after_start")]
)
def test_hooks(app: Application, given: Any, ours: str) -> None:
    with pytest.raises(ConfigurationError, match=f"unknown hook '{given}'; did you mean '{ours}'"):
        app.hook(given, print)


# -- what must go on as it was -----------------------------------------------------------------------------------------


def test_names_that_begin_with_an_underscore_are_refused_without_a_look(owners: dict[str, Any]) -> None:
    with mock.patch.object(hints, "meant_by", side_effect=AssertionError("it looked")):
        for owner in owners.values():
            for name in ("__deepcopy__", "__wrapped__", "_repr_html_", "_ipython_display_", "_asdict"):
                assert not hasattr(owner, name)


def test_tools_that_ask_for_names(owners: dict[str, Any]) -> None:
    job, error, repeatable = owners["job"], owners["error"], owners["repeatable"]
    assert copy.copy(job).id == job.id
    assert pickle.loads(pickle.dumps(error)).reason == "no"
    assert copy.deepcopy(repeatable) == repeatable == pickle.loads(pickle.dumps(repeatable))
    for owner in owners.values():
        assert not hasattr(owner, "shape")
        assert getattr(owner, "shape", 7) == 7
        assert not inspect.isawaitable(owner) or isinstance(owner, NotAwaitable)
    spec = mock.create_autospec(Job, instance=True)
    assert not hasattr(spec, "processedOn")
    assert hasattr(spec, "processed_on")


def test_what_a_property_raises_is_not_replaced() -> None:
    class Broken(Hinted):
        @property
        def value(self) -> int:
            return [].value  # type: ignore[attr-defined, no-any-return]

    with pytest.raises(AttributeError, match=r"^'list' object has no attribute 'value'$"):
        Broken().value  # noqa: B018


def test_an_unfinished_object_refuses_plainly() -> None:
    """As ``copy`` and ``pickle`` make them: without ``__init__``."""
    for cls in (Job, Queue, QueueManager, Application, AsyncJob, AsyncQueue, Flow):
        with pytest.raises(AttributeError):
            cls.__new__(cls)._engine_of_nobody  # type: ignore[attr-defined]  # noqa: B018
