"""``check``: settings and where they come from, secrets, what is there, what the bridge changes."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from stratix_kombu import QueueDriver, create_app
from stratix_kombu.celery import install
from stratix_kombu.celery.review import Finding, review
from stratix_kombu.cli.check import listed, masked
from stratix_kombu.config.settings import load_settings
from stratix_kombu.stores.redis.survey import is_too_old
from tests.cli.conftest import call
from tests.services import redis_server

DRIVERS = ("memory", "redis", "sqs", "rabbitmq")


def test_each_setting_says_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "stratix.toml"
    file.write_text('driver = "sqs"\nstore = "memory://"\n[sqs.aws]\nregion = "eu-west-1"\n[sqs]\ntags = {a = "b"}\n')
    environment = {"STRATIX_NAMESPACE": "shop", "STRATIX_SQS_ENDPOINT_URL": "http://localhost:1"}
    settings = load_settings(file, {"shutdown_timeout": 5, "worker": {"clock": False}}, environment, DRIVERS)
    found = {setting: (value, origin) for setting, value, origin in listed(settings)}
    assert found["driver"] == ("sqs", str(file))
    assert found["sqs.aws.region"] == ("eu-west-1", str(file))
    assert found["sqs.tags.a"] == ("b", str(file))
    assert found["namespace"] == ("shop", "environment STRATIX_NAMESPACE")
    assert found["sqs.endpoint_url"] == ("http://localhost:1", "environment STRATIX_SQS_ENDPOINT_URL")
    assert found["shutdown_timeout"] == ("5", "argument")
    assert found["worker.clock"] == ("False", "argument")
    assert found["worker.lease_duration"] == ("30000", "default")


def test_what_is_written_in_the_file_differently_is_still_of_the_file() -> None:
    settings = load_settings({"driver": "memory", "shutdownTimeout": 3}, None, {}, DRIVERS)
    assert ("shutdown_timeout", "3", "argument") in list(listed(settings))


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("redis.password", "x", "***"),
        ("sqs.aws.credentials.secret_access_key", "x", "***"),
        ("redis.sentinel_password", 5, "***"),
        ("store", "redis://:hid/den@host:1/0", "redis://:***@host:1/0"),
        ("store", "amqp://me:hidden@host//", "amqp://me:***@host//"),
        ("store", "pgmq://host/db?user=me&password=hidden&x=1", "pgmq://host/db?user=me&password=***&x=1"),
        ("redis.cluster", ["redis://:hidden@a:1", "b:2"], "[redis://:***@a:1, b:2]"),
        ("redis.sentinels", [{"host": "a", "password": "hidden"}], "[{host: a, password: ***}]"),
        ("limiter.initial_tokens", 50, "50"),
        ("redis.host", "localhost", "localhost"),
    ],
)
def test_secrets_are_masked(path: str, value: Any, shown: str) -> None:
    assert masked(path, value) == shown


def test_what_answers(config: Path) -> None:
    result = call("--config", str(config), "check", "--json")
    assert result.exit_code == 0, result.output
    driver, store = json.loads(result.stdout)["connections"]
    assert (driver["problem"], store["problem"]) == ("", "")
    assert "exact depth" in driver["about"]
    assert store["about"].startswith("Redis ")
    warnings = json.loads(result.stdout)["warnings"]
    assert any("a restart loses all jobs" in one for one in warnings)
    text = call("--config", str(config), "check").stdout
    assert "# Connections" in text
    assert "warning store: nothing is kept on disk" in text


def test_what_does_not_answer(tmp_path: Path) -> None:
    file = tmp_path / "away.toml"
    file.write_text('driver = "redis"\n[redis]\nport = 1\npassword = "hidden"\n')
    result = call("check", "--config", str(file))
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stdout
    assert "hidden" not in result.output


def test_a_server_that_would_lose_jobs() -> None:
    with redis_server("--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb", "--appendonly", "yes") as url:
        app = create_app({"driver": "memory", "store": url})
        warnings = app.queue.store.survey().warnings
        app.queue.store._client.run("CONFIG", "SET", "appendonly", "no", "save", "3600 1")  # type: ignore[attr-defined]
        later = app.queue.store.survey().warnings
        app.close()
    assert warnings == (
        "maxmemory-policy is allkeys-lru: when its memory is full Redis removes jobs; set it to noeviction",
    )
    assert "since its last snapshot" in later[1]


@pytest.mark.parametrize(
    ("version", "old"),
    [("6.0.16", True), ("5.0.14", True), ("6.2.0", False), ("7.0.15", False), ("10.0.1", False), ("unstable", False)],
)
def test_a_server_that_is_too_old(version: str, old: bool) -> None:
    assert is_too_old(version) is old


def test_costs_and_clocks(tmp_path: Path, sqs_url: str) -> None:
    file = tmp_path / "sqs.toml"
    file.write_text(
        f'driver = "sqs"\nstore = "memory://"\n[worker]\nclock = false\n[sqs]\nendpoint_url = "{sqs_url}"\n'
        "wait_time_seconds = 1\ncommand_timeout = 60000\n"
        '[sqs.aws]\nregion = "us-east-1"\ncredentials = {access_key_id = "hidden", secret_access_key = "hidden"}\n'
    )
    result = call("check", "--config", str(file))
    assert result.exit_code == 0
    for words in ("about 2,592,000 requests per month", "jobs are kept in this process", "stratix-kombu beat"):
        assert words in result.stdout
    assert "hidden" not in result.stdout


def test_a_driver_that_makes_its_own_queues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(QueueDriver):
        def init(self) -> None: ...
        def create_queue(self, name: str, options: Any) -> Any: ...
        def close(self) -> None: ...
        def get_name(self) -> str:
            return "own"

        def check_health(self) -> bool:
            return True

    monkeypatch.setattr("stratix_kombu.drivers.registry._registered", {"own": lambda options: Own()})
    file = tmp_path / "own.toml"
    file.write_text('driver = "own"\n[own]\nspeed = 5\n')
    result = call("check", "--config", str(file))
    assert result.exit_code == 0, result.output
    assert "own.speed" in result.stdout
    assert "note the driver 'own' has queues of its own" in result.stdout


# -- an existing Celery project -------------------------------------------------------------------


def project(broker: str, backend: str | None = None, **conf: Any) -> Celery:
    app = Celery("proj", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(conf)

    @app.task(name="shop.early", shared=False, rate_limit="1/s")
    def early() -> None: ...

    @app.task(name="shop.late", shared=False, acks_late=True, reject_on_worker_lost=True, default_retry_delay=4000)
    def late() -> None: ...

    app.finalize()
    for name in [one for one in app.tasks if not one.startswith(("shop.", "celery."))]:
        app.tasks.unregister(name)  # what other tests share with every application
    return app


def by_subject(app: Celery) -> dict[str, Finding]:
    return {one.subject: one for one in review(app)}


def test_what_the_bridge_changes_on_sqs() -> None:
    found = by_subject(project("sqs://", broker_transport_options={"visibility_timeout": 3000}))
    assert found["bridge"].found == "not installed, 2 tasks (shop.early, shop.late)"
    assert "install(app, store=redis://...)" in found["bridge"].bridged
    delays = found["countdown, eta, retry delays"]
    assert delays.found == "visibility_timeout 3000 s; default_retry_delay beyond it: shop.late"
    assert "runs more than once" in delays.alone
    assert "not possible" in found["chords"].alone
    assert "none on SQS" in found["remote control"].alone
    assert found["acks_late=False"].found == "1 task (shop.early)"
    assert found["acks_late=True"].found == found["reject_on_worker_lost"].found == "1 task (shop.late)"
    assert found["rate_limit"].found == "1 task (shop.early)"


def test_what_becomes_of_tasks_that_are_lost_or_late() -> None:
    """Named for the settings, and for each task that asks for it."""
    names = {"reject_on_worker_lost", "retry_on_worker_lost", "acks_on_timeout=False"}
    plain = by_subject(project("redis://localhost"))
    assert names & plain.keys() == {"reject_on_worker_lost"}  # of one task
    assert "max_stalled_count times" in plain["reject_on_worker_lost"].bridged
    app = project("redis://localhost")

    @app.task(shared=False, name="shop.again", acks_late=True, acks_on_timeout=False, retry_on_worker_lost=True)
    def again() -> None: ...

    @app.task(shared=False, name="shop.both", acks_late=True, acks_on_failure_or_timeout=False)
    def both() -> None: ...

    @app.task(shared=False, name="shop.nothing", acks_on_timeout=False)  # it needs acks_late
    def nothing() -> None: ...

    found = by_subject(app)
    assert found["acks_on_timeout=False"].found == "2 tasks (shop.again, shop.both)"
    assert "pending meanwhile" in found["acks_on_timeout=False"].bridged
    assert found["retry_on_worker_lost"].found == "1 task (shop.again)"
    assert "request.retries stays" in found["retry_on_worker_lost"].bridged


def test_what_becomes_of_them_by_the_settings() -> None:
    lost = dict.fromkeys(("task_reject_on_worker_lost", "task_retry_on_worker_lost"), True)
    found = by_subject(project("redis://localhost", task_acks_on_failure_or_timeout=False, **lost))
    assert found["acks_on_timeout=False"].found == "task_acks_on_failure_or_timeout False; 1 task (shop.late)"
    assert found["reject_on_worker_lost"].found == "task_reject_on_worker_lost True; 1 task (shop.late)"
    assert found["retry_on_worker_lost"].found == "task_retry_on_worker_lost True; 2 tasks (shop.early, shop.late)"
    app = Celery("none", broker="redis://localhost", set_as_current=False)
    app.conf.update(task_acks_on_timeout=False, task_reject_on_worker_lost=True)
    found = by_subject(app)
    assert found["acks_on_timeout=False"].found.startswith("task_acks_on_timeout False")
    assert found["reject_on_worker_lost"].found.startswith("task_reject_on_worker_lost True")


def test_what_the_bridge_changes_on_redis_and_rabbitmq() -> None:
    schedule = {"often": {"task": "shop.early", "schedule": 5}}
    app = project("redis://localhost:1/0", "redis://localhost:1/0", beat_schedule=schedule, task_default_queue="shop")
    found = by_subject(app)
    assert found["countdown, eta, retry delays"].found.startswith("visibility_timeout 3600 s (default)")
    assert "loses the body" in found["chords"].alone
    assert found["acknowledgements on Redis"].found == "ack_emulation True"
    assert found["beat_schedule"].found == "1 entries (often)"
    assert found["queues"].found == "task_default_queue shop"
    install(app)
    after = by_subject(app)
    assert after["bridge"].found.startswith("installed")
    assert after["acknowledgements on Redis"].found == "ack_emulation False"
    assert after["results"].alone == "in the result backend (redis)"
    rabbit = by_subject(project("amqp://", "rpc://", task_always_eager=True))
    assert "consumer_timeout" in rabbit["countdown, eta, retry delays"].alone
    assert "'rpc'" in rabbit["chords"].alone
    assert "task_always_eager" in rabbit


def test_what_stays_as_it_is() -> None:
    app = project("redis://localhost:1/0", task_protocol=1)

    @app.task(shared=False, name="shop.own", stratix=False)
    def own() -> None: ...

    found = by_subject(app)
    assert (found["left out"].found, found["task_protocol"].found) == ("1 task (shop.own)", "1")
    install(app, exclude=["*.early"])
    assert by_subject(app)["left out"].found == "2 tasks (shop.early, shop.own)"


def test_as_a_command_of_celery(tmp_path: Path, redis_url: str) -> None:
    """``celery -A proj stratix ...``, found by its entry point, with and without the bridge."""
    name = f"proj_{uuid.uuid4().hex[:8]}"
    made = f'from celery import Celery\napp = Celery("proj", broker="{redis_url}")\n'
    bridge = f'from stratix_kombu.celery import install\nstratix = install(app, namespace="{name}")\n'
    (tmp_path / f"{name}.py").write_text(made + bridge + "app.send_task('shop.bill', task_id='the-bill')\n")
    (tmp_path / f"{name}_plain.py").write_text(made)

    def celery(app: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "celery", "-A", app, "stratix", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    done = celery(name, "queues")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[:3] == ["celery", "no", "1"]
    plain = celery(f"{name}_plain", "check")
    assert plain.returncode == 0, plain.stderr
    assert "bridge: not installed" in plain.stdout
