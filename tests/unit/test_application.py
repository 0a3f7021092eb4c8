"""Settings, plugins, hooks, signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Closed, ConfigurationError, UnknownDriver, create_app, queue_plugin, register_queue_driver
from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.memory import MemoryDriver


def load(source: Any = None, **how: Any) -> Any:
    return load_settings(source, environment={}, drivers=("memory", "redis", "sqs", "rabbitmq", "bullmq"), **how)


def test_arguments_win_over_environment_and_file(tmp_path: Path) -> None:
    file = tmp_path / "stratix.toml"
    file.write_text('driver = "redis"\nnamespace = "file"\nshutdown_timeout = 1\n[redis]\nhost = "a"\nport = 1\n')
    environment = {"STRATIX_CONFIG": str(file), "STRATIX_NAMESPACE": "env", "STRATIX_REDIS_PORT": "2", "HOME": "x"}
    settings = load_settings(None, {"redis": {"db": 3}, "shutdown_timeout": 5}, environment, ("memory", "redis"))
    assert (settings.driver, settings.namespace, settings.shutdown_timeout) == ("redis", "env", 5.0)
    assert settings.driver_options == {"host": "a", "port": "2", "db": 3}
    assert settings.store == {"host": "a", "port": "2", "db": 3}
    assert settings.origin["driver"] == str(file)
    assert (settings.origin["namespace"], settings.origin["shutdown_timeout"]) == ("environment", "argument")


def test_without_a_driver_its_options_say_which() -> None:
    settings = load({"redis": {"host": "shared-redis.example.com"}, "bullmq": {"maxStalledCount": 2}})
    assert (settings.driver, settings.store, settings.worker.max_stalled_count) == (
        "redis",
        {"host": "shared-redis.example.com"},
        2,
    )
    assert settings.origin["driver"] == "the options of redis"
    assert load({"bullmq": {"maxStalledCount": 2}}).driver == "memory"
    with pytest.raises(ConfigurationError, match="options for redis and sqs: set 'driver' to one of them"):
        load({"redis": {"host": "a"}, "sqs": {"aws": {"region": "b"}}})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"drivr": "redis"}, "did you mean 'driver'?"),
        ({"driver": 5}, "'driver' must be a name"),
        ({"driver": "sqs"}, "needs a 'store'"),
        ({"driver": "memory", "namespace": "a b"}, "'a b' cannot be the namespace"),
        ({"driver": "memory", "shutdown_timeout": "soon"}, "'shutdown_timeout' must be seconds"),
        ({"driver": "memory", "queues": {"q": 5}}, "'q' must be a mapping"),
        ({"driver": "memory", "default_job_options": {"retries": 3}}, "unknown option 'retries'"),
        ({"driver": "memory", "worker": {"leases": 3}}, "unknown option 'leases'"),
        ({"driver": "memory", "store": 5}, "'store' must be a URL"),
    ],
)
def test_settings_that_are_refused(source: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(source)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"concurency": 3}, "queue 'q': unknown option 'concurency'; did you mean 'concurrency'"),
        ({"concurrency": 0}, "queue 'q': 'concurrency' must be a whole number from 1"),
        ({"default_job_options": {"atempts": 3}}, "did you mean 'attempts'"),
        ({"dead_letter": "q"}, "queue 'q': 'dead_letter' must be another queue"),
    ],
)
def test_options_of_a_queue_are_refused_though_nothing_uses_it(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        _ = create_app({"driver": "memory", "queues": {"q": options}}).queue
    assert words in str(refused.value)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownDriver, match=r"did you mean 'redis'"):
        load({"driver": "rediss"})
    with pytest.raises(ConfigurationError, match="no store has the URL scheme 'mongo'"):
        _ = create_app({"driver": "memory", "store": "mongo://x"}).queue


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "nothing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("driver = ")
    with pytest.raises(ConfigurationError, match=r"bad\.toml is not TOML"):
        load(bad)


def test_the_plugin_is_registered_once_and_before_use() -> None:
    app = create_app({"driver": "memory"})
    app.register(queue_plugin, {"namespace": "mine"}, shutdown_timeout=1)
    with pytest.raises(ConfigurationError, match="already registered"):
        app.register(queue_plugin)
    with pytest.raises(ConfigurationError, match="is not a plugin"):
        create_app().register(print)


def test_a_driver_of_ones_own() -> None:
    name = f"mine{uuid.uuid4().hex[:6]}"
    given: list[dict[str, Any]] = []

    def factory(options: dict[str, Any]) -> MemoryDriver:
        given.append(options)
        return MemoryDriver({}, namespace=name)

    register_queue_driver(name, factory)
    with create_app({"driver": name, "store": "memory://", name: {"colour": "red"}}) as app:
        app.start()
        queue = app.queue.create_queue("q")
        queue.process(lambda job: job.data + 1)
        assert queue.add("n", 1).wait_until_finished(timeout=10) == 2
    assert given == [{"colour": "red"}]
    with pytest.raises(ConfigurationError, match="needs a 'store'"):
        _ = create_app({"driver": name}).queue
    with pytest.raises(ConfigurationError, match="must be callable"):
        register_queue_driver("other", 5)  # type: ignore[arg-type]


def test_hooks_run_in_order_and_once() -> None:
    app = create_app({"driver": "memory"})
    called: list[str] = []
    for name in ("beforeStart", "after_start", "before_close", "afterClose"):
        app.hook(name, lambda name=name: called.append(name))
    with app:
        assert called == []
        app.start()
        app.start()
        assert called == ["beforeStart", "after_start"]
    app.close()
    assert called == ["beforeStart", "after_start", "before_close", "afterClose"]
    with pytest.raises(ConfigurationError, match="did you mean 'before_close'"):
        app.hook("before_closed", print)


def test_a_failing_hook_at_the_end_leaves_nothing_open() -> None:
    app = create_app({"driver": "memory"})
    queue = app.queue.create_queue("q")
    app.hook("before_close", lambda: 1 / 0)
    app.start()
    with pytest.raises(ZeroDivisionError):
        app.close()
    for use in (lambda: queue.add("n"), lambda: queue.process(print), lambda: app.queue.get_queue("new")):
        with pytest.raises(Closed):
            use()


def test_a_failing_hook_at_the_start_ends_the_start() -> None:
    app = create_app({"driver": "memory"})
    app.hook("before_start", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError), app:
        app.start()


def test_queues_are_made_once() -> None:
    with create_app({"driver": "memory", "queues": {"known": {"concurrency": 7}}}) as app:
        app.start()
        queue = app.queue.create_queue("q")
        assert app.queue.get_queue("q") is queue
        with pytest.raises(ConfigurationError, match="exists already"):
            app.queue.create_queue("q")
        assert app.queue.get_all_queues() == [queue]
        assert app.queue.check_health() == {"driver": True, "store": True}
        assert app.queue.describe() == "memory (store memory://)"
        for bad in ("", "a b", "{x}"):
            with pytest.raises(ConfigurationError, match="cannot name a queue"):
                app.queue.create_queue(bad)


PROGRAM = """
    import sys, threading, time
    from stratix_kombu import create_app
    app = create_app({"driver": "memory"})
    queue = app.queue.create_queue("q")
    seconds = float(sys.argv[1])

    @queue.process
    def work(job):
        print("begun", flush=True)
        time.sleep(seconds)
        print("ended", flush=True)

    app.hook("after_start", lambda: queue.add("n"))
    app.hook("after_close", lambda: print("closed", flush=True))
    app.run()
    print("bye", flush=True)
"""


def _run(seconds: float, *signals: signal.Signals) -> tuple[int, list[str]]:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip()]
        for number, one in enumerate(signals):
            if number:  # the first has been heard once the process no longer answers it by itself
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.7)
            process.send_signal(one)
        rest, _ = process.communicate(timeout=30)
        return process.returncode, lines + rest.split()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_active_job_end(number: signal.Signals) -> None:
    assert _run(0.5, number) == (0, ["begun", "ended", "closed", "bye"])


def test_a_second_signal_ends_at_once() -> None:
    assert _run(60, signal.SIGTERM, signal.SIGTERM) == (128 + signal.SIGTERM, ["begun"])
