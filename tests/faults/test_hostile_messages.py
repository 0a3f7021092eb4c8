"""Messages that nobody sane has sent, through real brokers to real workers: they live, and run the next job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kombu import Producer

from stratix_kombu import create_app
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.redis import RedisDriver
from stratix_kombu.model.message import BODY, TASK
from tests.celery.workers import Project
from tests.faults.worker_processes import runs_of, worker_process
from tests.hostile import PICKLED, TEXTS, TRACE
from tests.waiting import until

NESTED: Any = 1
for _ in range(60):
    NESTED = {"a": NESTED}

HEADERS: list[dict[str, Any]] = [
    {},
    {"task": TASK},
    {"task": TASK, "id": 5},
    {"task": TASK, "id": ""},
    {"task": TASK, "id": "a\nb"},
    {"task": TASK, "id": "{x}"},
    {"task": TASK, "id": "a:logs"},
    {"task": TASK, "id": ["a"]},
    {"id": "a"},
    {"task": [TASK], "id": "a"},
    {"task": "x" * 5_000, "id": "a"},
    {"task": TASK, "id": "gone", "shadow": NESTED},
]
PICKLE = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
JSON = {"content_type": "application/json", "content_encoding": "utf-8"}


def publish(driver: KombuDriver, queue: str, headers: dict[str, Any], body: Any, **properties: Any) -> None:
    name = driver.broker_queue(queue)
    driver.declare(queue)
    with driver.connection() as connection, connection.channel() as channel:
        producer = Producer(channel, auto_declare=False)
        producer.publish(body, exchange="", routing_key=name, headers=headers, **properties)


def send_to_redis(driver: RedisDriver, queue: str) -> None:
    raws = [text.encode("utf-8", "surrogatepass") for text in TEXTS] + [PICKLED, b"\xff\xfe", b"\x00" * 1_000_000]
    client = driver.client(1.0)
    client.lpush(driver.list_keys(queue)[0], *raws)
    client.close()


def send_to_sqs(driver: Any, queue: str) -> None:
    bodies = [text for text in TEXTS if text.strip() and text.isascii() and "\x00" not in text] + ["%%%", "AAAA"]
    place = driver.queues.open(queue)
    for body in bodies:
        place.client.send_message(QueueUrl=place.url, MessageBody=body)


def test_a_worker_outlives_them(settings: dict[str, Any], tmp_path: Path) -> None:
    with create_app({**settings, "worker": {**settings["worker"], "redelivery_grace": 60_000}}) as app:
        app.start()
        queue = app.queue.get_queue("hostile")
        driver = app.queue.engine.driver
        assert isinstance(driver, KombuDriver)
        driver.declare("hostile")
        if settings["driver"] == "redis":
            send_to_redis(driver, "hostile")  # type: ignore[arg-type]
        elif settings["driver"] == "sqs":
            send_to_sqs(driver, "hostile")
        for headers in HEADERS[:: 4 if settings["driver"] == "sqs" else 1]:  # moto takes its time for each
            publish(driver, "hostile", headers, BODY, **JSON)
            publish(driver, "hostile", headers, PICKLED, **PICKLE)
        with worker_process(settings, "hostile", tmp_path / "runs") as worker:
            first = queue.add("first")
            assert first.wait_until_finished(timeout=60) == "first"
            until(lambda: not driver.depth("hostile"), 60)
            assert queue.add("last").wait_until_finished(timeout=60) == "last"
            assert worker.poll() is None
    assert sum(runs_of(tmp_path / "runs").values()) == 2
    assert not TRACE.exists()


TASK_HEADERS: list[dict[str, Any]] = [
    {"id": "a\nb"},
    {"id": "a:logs"},
    {"id": "x" * 5_000},
    {"stratix": ["q"]},
    {"stratix": {"q": 1}},
    {"stratix": 5},
    {"stratix": "q\n{x}"},
    {"eta": "when it rains"},
    {"expires": "x"},
    {"retries": "x"},
    {"group": NESTED},
    {"parent_id": 5},
    {"root_id": NESTED},
    {"task": TASK},
    {"task": TASK, "id": "{x}"},
    {"task": "stratix.join"},
    {"stratix_adopted": NESTED},
]
"""Not a ``timelimit`` that is none, nor a body ``null``: those end a Celery worker, with the bridge or without."""
BODIES = [
    json.dumps([[1], {}, {"chain": 5}]),
    json.dumps([[1], {}, {"callbacks": [{"task": "os.system", "args": [1]}]}]),
    json.dumps([[1], {}, {"chord": {"stratix_join": NESTED}}]),
    json.dumps({"args": 1}),
    "[" * 900,
    "{no",
]


def test_a_celery_worker_outlives_them(redis_url: str) -> None:
    project = Project(redis_url, redis_url)
    driver = project.app.stratix.queue.engine.driver
    name = project.queue.name
    for number, headers in enumerate(TASK_HEADERS):
        task = {"task": "proj.add", "id": f"hostile-{number}", "lang": "py", **headers}
        publish(driver, name, task, json.dumps([[1, 2], {}, {}]), **JSON)
        publish(driver, name, task, PICKLED, **PICKLE)
    for number, body in enumerate(BODIES):
        publish(driver, name, {"task": "proj.add", "id": f"body-{number}", "lang": "py"}, body, **JSON)
    with project.worker("threads") as worker:
        assert project.task("add").delay(2, 3).get(timeout=60) == 5
        until(lambda: not driver.depth(name), 60)
        assert project.task("add").delay(4, 5).get(timeout=60) == 9
        until(lambda: project.queue.get_job_counts()["active"] == 0, 30)
        assert worker.process.poll() is None, worker.text()
    assert not TRACE.exists()
    project.close()
