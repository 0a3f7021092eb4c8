"""What is written wrong in the first hour: the answer says what, where and what to write, and shows no credentials."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, WaitTimeout, create_app, queue_plugin
from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.registry import create_driver, register_queue_driver
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model import suspects
from stratix_kombu.model.event import BUILT_IN, LISTENERS_GET
from stratix_kombu.model.functions import check_takes
from tests.services import end, free_port, start_redis, wait_for_port

SECRET = "geheim"
URL = f"redis://:{SECRET}@localhost:6379/0"


@pytest.fixture
def memory() -> Any:
    """An application that was not started."""
    with create_app({"driver": "memory"}) as app:
        yield app
        app.queue.get_queue("q").obliterate(force=True)


def two(one: object, other: object) -> None:
    """What a handler is not: Node's come with ``done``."""


FUNCTIONS: dict[str, Callable[[Application], object]] = {
    r"handler of all jobs is called with the job, which <lambda>\(\)": lambda app: app.queue.get_queue("q").process(
        lambda: 1  # type: ignore[arg-type, misc, return-value, type-var]
    ),
    r"handler of jobs called 'n' is called with the job, which two\(one: ": lambda app: app.queue.get_queue(
        "q"
    ).process("n", two),  # type: ignore[arg-type]
    r"listener of 'completed' is called with the job and its result, which <lambda>\(job\)": lambda app: (
        app.queue.get_queue("q").on("completed", lambda job: None)  # type: ignore[call-overload]
    ),
    r"listener of 'drained' is called without arguments, which <lambda>\(job\)": lambda app: app.queue.get_queue(
        "q"
    ).on("drained", lambda job: None),  # type: ignore[call-overload]
    r"hook 'beforeClose' is called without arguments, which <lambda>\(app\)": lambda app: app.hook(
        "beforeClose",  # type: ignore[call-overload]
        lambda app: None,
    ),
    r"schedule: 'handler' is called without arguments, which <lambda>\(job\)": lambda app: app.schedule.interval(
        "1 hour",
        lambda job: None,  # type: ignore[call-overload, misc]
    ),
}


@pytest.mark.parametrize("said", FUNCTIONS)
def test_a_function_that_cannot_be_called_is_refused_when_it_is_given(memory: Application, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        FUNCTIONS[said](memory)


def test_functions_that_may_be_called_are_taken() -> None:
    def wrapped(job: object, database: object) -> None:
        """It takes more than its wrapper."""

    @functools.wraps(wrapped)
    def wrapper(job: object) -> None:
        wrapped(job, None)

    class Called:
        def __call__(self, job: object) -> None:
            """As a function does."""

    signed = functools.partial(two)
    signed.__signature__ = "other"  # type: ignore[attr-defined]
    functions: list[Any] = [
        wrapper,
        Called(),
        functools.partial(two, 1),
        lambda *all: None,
        lambda job, n=5: None,
        print,
        [].append,
        str,
        signed,
    ]
    for one in functions:
        check_takes(one, ["the job"], "a handler")
    assert set(LISTENERS_GET) == BUILT_IN


NOT_GIVEN: dict[str, tuple[Callable[[], object], str]] = {
    "settings as a plugin": (lambda: create_app().register({"redis": URL}), "write app.register(queue_plugin"),  # type: ignore[arg-type]
    "a URL as a plugin": (lambda: create_app().register(URL), "a str is not a plugin"),  # type: ignore[arg-type]
    "a URL as options": (lambda: create_app().register(queue_plugin, URL), "mapping or keywords"),  # type: ignore[arg-type]
    "a list as options": (lambda: create_app().register(queue_plugin, [URL]), "not a list"),  # type: ignore[arg-type]
    "a URL as a file": (lambda: create_app(URL).queue, "a URL is not a settings file: write create_app"),
    "a list as settings": (lambda: create_app([URL]).queue, "a mapping or the path of a file, not a list"),  # type: ignore[arg-type]
    "a URL as a section": (lambda: create_app({"redis": URL}).queue, "like {'url': 'redis://host:6379/0'}, not a str"),
    "a URL without its colon": (lambda: create_app({"redis": {"url": URL.replace(":", "")}}).queue, "has no '://'"),
    "an unknown transport": (
        lambda: create_app({"driver": URL.replace("redis", "reddis"), "store": "memory://"}).queue,
        "Kombu has no transport 'reddis'; did you mean 'redis'?",
    ),
    "that of RabbitMQ": (
        lambda: (
            create_app({"driver": "rabbitmq", "rabbitmq": {"url": f"amp://{SECRET}@x"}, "store": "memory://"}).queue
        ),
        "Kombu has no transport 'amp'; did you mean 'amqp'?",
    ),
}


@pytest.mark.parametrize("what", NOT_GIVEN)
def test_what_is_in_the_wrong_place_is_not_shown(what: str) -> None:
    call, said = NOT_GIVEN[what]
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert said in str(caught.value)
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


def test_a_section_that_is_empty_is_all_of_its_defaults() -> None:
    drivers = ("memory", "redis", "rabbitmq")
    store = {"store": "memory://"}
    assert load_settings({"redis": {}}, drivers=drivers).store == {"host": "localhost"}
    assert load_settings({"redis": {}, "rabbitmq": {"url": "amqp://x"}, **store}, drivers=drivers).driver == "rabbitmq"
    with pytest.raises(ConfigurationError, match="options for redis and rabbitmq: set 'driver' to one of them"):
        load_settings({"redis": {}, "rabbitmq": {}, **store}, drivers=drivers)


def test_a_transport_that_is_not_installed() -> None:
    with pytest.raises(ConfigurationError, match=r"transport 'mongodb' cannot be imported.*not installed"):
        create_driver("mongodb://localhost", {}, namespace="n")


def test_a_factory_that_returns_nothing() -> None:
    register_queue_driver("nothing", lambda options: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigurationError, match="driver 'nothing': the factory has returned None"):
        create_app({"driver": "nothing"}).queue  # noqa: B018


def test_calls_with_one_in_the_place_of_several(memory: Application) -> None:
    queue = memory.queue.get_queue("q")
    with pytest.raises(ConfigurationError, match="add_bulk: give a list of mappings"):
        queue.add_bulk({"name": "n"})  # type: ignore[dict-item]
    with pytest.raises(ConfigurationError, match="add_bulk: give a list of mappings with 'name', not None"):
        queue.add_bulk(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="write key='n', or name='n' and its cron="):
        queue.remove_repeatable_job("n")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigurationError, match=r"'10 minuts' is not an interval; did you mean 'minutes'\? Write it like"
    ):
        memory.schedule.interval("10 minuts", lambda: None)


def test_seconds_and_milliseconds(
    memory: Application, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "_said", set())  # each place is reported once in a process
    with caplog.at_level(logging.WARNING), create_app({"driver": "memory", "shutdownTimeout": 30_000}) as app:
        assert app.queue.describe()
        memory.distributed_lock.acquire("a", 30)
        memory.distributed_lock.acquire("b", 30_000)
        queue = memory.queue.get_queue("q")
        queue.add_repeatable_job("n", every=60_000, start_date=1_700_000_000, end_date=1_800_000_000_000)
        queue.find_jobs("failed", since=1_700_000_000, until=1_800_000_000_000)
    assert [one.getMessage() for one in caplog.records if one.action == "suspect_option"] == [  # type: ignore[attr-defined]
        "'shutdown_timeout' is in seconds: 8:20:00. For 0:00:30 write 30",
        "the time to live of a lock is in milliseconds: it ends after 0.03 s. For 30 s write 30000",
        "add_repeatable_job('n') on queue 'q': 'start_date' is an instant in milliseconds: "
        "1970-01-20T16:13:20+00:00, which is past. For 2023-11-14T22:13:20+00:00 write 1700000000000",
        "find_jobs: 'since' is an instant in milliseconds: "
        "1970-01-20T16:13:20+00:00, which is past. For 2023-11-14T22:13:20+00:00 write 1700000000000",
    ]


def test_what_needs_no_await_says_so(memory: Application) -> None:
    queue = memory.queue.get_queue("q")
    answers: dict[str, object] = {
        "leave out 'await'": memory.distributed_lock.acquire("n", 30_000),
        "await queue.aio.get_status()": queue.get_status(),
        "await queue.aio.get_metrics(...)": queue.get_metrics(),
        "asyncio.to_thread(app.check_health)": memory.check_health(workers="process"),
    }

    async def awaiting(value: Any) -> None:
        await value

    for said, answer in answers.items():
        with pytest.raises(TypeError) as caught:
            asyncio.run(awaiting(answer))
        assert said in str(caught.value)


def test_a_wait_that_nobody_works_for_says_so(memory: Application) -> None:
    job = memory.queue.get_queue("q").add("n")
    with pytest.raises(WaitTimeout, match=r"finished after 0 s: no worker of the queue is known; app\.start"):
        job.wait_until_finished(timeout=0)
    memory.queue.get_queue("q").process(lambda job: None)
    with pytest.raises(WaitTimeout, match=r"after 0 s: no worker .* has a handler .* runs no jobs; app\.start"):
        job.wait_until_finished(timeout=0)


@pytest.mark.parametrize(
    ("has", "queues", "said"), [("", None, True), ("handler", None, False), ("timer", None, False), ("", [], False)]
)
def test_a_program_that_has_not_imported_its_handlers(
    has: str, queues: list[str] | None, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app({"driver": "memory"})
    queue = app.queue.get_queue("q")
    if has == "handler":
        queue.process(lambda job: None)
    elif has == "timer":
        app.schedule.interval("1 hour", lambda: None)
    app.hook("after_start", lambda: threading.Timer(0, app.close).start())
    app.run(queues)
    assert ("no queue has a handler, so this process takes no jobs" in caplog.text) is said


def test_redis_that_wants_a_password(tmp_path: Path) -> None:
    port = free_port()
    process = start_redis(str(tmp_path), port, "--requirepass", "right")
    try:
        wait_for_port(port, process)
        url = f"redis://127.0.0.1:{port}/0"
        for password, said in (("", "it asks for a password, and none is configured"), (SECRET, "invalid")):
            with create_app({"driver": "redis", "redis": {"url": url, "password": password}}) as app:
                with pytest.raises(StoreUnavailable, match=said) as caught:
                    app.queue.get_queue("q").add("n")
                assert SECRET not in str(caught.value)
    finally:
        end(process)


def test_one_job_is_one_job(tmp_path: Path) -> None:
    program = "import stratix_kombu as s\ns.create_app({'driver': 'memory'}).queue.get_queue('q').add('n')\n"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("1 unfinished job ends with this process, whose memory is the store: q (1). To keep")


def test_a_back_off_of_the_script_that_runs(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import json, stratix_kombu as s\n"
        "def patient(n): return n\n"
        "try: s.create_app({'driver': 'memory'}).queue.get_queue('q').add('n', backoff={'custom': patient})\n"
        "except s.ConfigurationError as error: print(json.dumps(str(error)))\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "the top level of a module other than the script that runs, or register it" in json.loads(done.stdout)
