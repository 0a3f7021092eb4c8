"""Where tasks go, beside stock Celery: routes, exchanges, priorities and connections."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from kombu import Exchange, Queue

from stratix_kombu.celery import install
from tests.celery.beside import WAIT_S, Side, beside

KINDS = ["stock", "bridge"]


def app_on(url: str, kind: str, name: str, store: str = "", **conf: Any) -> Celery:
    app = Celery("routes", broker=url, backend=store or url, set_as_current=False)
    app.conf.update(task_default_queue=name, **conf)
    if kind == "bridge":
        app.stratix = install(app, namespace=name)
    return app


@contextmanager
def both(url: str, store: str = "", **conf: Any) -> Iterator[dict[str, tuple[Celery, str]]]:
    """An application of each kind, without a worker, and the prefix of its names. ``store``: where results are kept, if
    not in the broker."""
    made = {}
    for kind in KINDS:
        name = f"r{uuid.uuid4().hex[:8]}"
        made[kind] = app_on(url, kind, name, store, **conf), name
    yield made
    for app, _ in made.values():
        if hasattr(app, "stratix"):
            app.stratix.close()
        app.close()


def taken(app: Celery, *queues: str) -> dict[str, list[Any]]:
    """The arguments of all messages in the broker's queues."""
    found: dict[str, list[Any]] = {}
    with app.connection_for_read() as connection:
        for queue in queues:
            simple = connection.SimpleQueue(app.amqp.queues[queue])
            found[queue] = []
            while True:
                try:
                    message = simple.get(block=False)
                except simple.Empty:
                    break
                found[queue].append(message.payload[0])
                message.ack()
    return found


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_exchanges_and_routing_keys(redis_url: str, broker: str, request: pytest.FixtureRequest) -> None:
    url = redis_url if broker == "redis" else request.getfixturevalue("amqp_url")
    answers = []
    for kind in KINDS:
        name = f"r{uuid.uuid4().hex[:8]}"
        direct, topic = Exchange(f"{name}jobs", type="direct"), Exchange(f"{name}topic", type="topic")
        queues = [
            Queue(name),
            Queue(f"{name}video", direct, routing_key="video"),
            Queue(f"{name}a", topic, routing_key="media.*"),
            Queue(f"{name}b", topic, routing_key="#.png"),
        ]
        app = Celery("routes", broker=url, backend=redis_url, set_as_current=False)
        app.conf.update(task_default_queue=name, task_queues=queues)
        if kind == "bridge":
            app.stratix = install(app, namespace=name, store=redis_url)
        with app.producer_or_acquire() as producer:
            for queue in queues:
                queue(producer.channel).declare()
        app.send_task("any.task", (0,))
        app.send_task("any.task", (1,), exchange=direct.name, routing_key="video")
        app.send_task("any.task", (2,), exchange=topic.name, routing_key="media.png")
        app.send_task("any.task", (3,), exchange=topic, routing_key="media.mp4")
        app.send_task("any.task", (4,), queue=f"{name}a")
        app.send_task("any.task", (5,), queue=f"{name}video", priority=0)
        found = {queue[len(name) :]: sorted(args) for queue, args in taken(app, *(one.name for one in queues)).items()}
        answers.append(found)
        if kind == "bridge":
            jobs = app.stratix.queue.get_queue(f"{name}video").get_jobs()
            assert [job.name for job in jobs] == ["any.task"] * 2
            app.stratix.close()
        app.close()
    assert answers[1] == answers[0]
    assert answers[0]["video"] == [[1], [5]]
    assert answers[0]["a"] == [[2], [3], [4]]
    assert answers[0]["b"] == [[2]]


def test_another_broker_gets_what_is_sent_over_its_connection(redis_url: str) -> None:
    other = redis_url.removesuffix("/0") + "/5"
    with both(redis_url) as apps:
        for app, name in apps.values():
            with app.connection_for_write(url=other) as connection:
                app.send_task("any.task", ("connection",), connection=connection)
                with app.amqp.Producer(connection, auto_declare=False) as producer:
                    app.send_task("any.task", ("producer",), producer=producer)
                    app.signature("any.task", ("link",)).apply_async(producer=producer, countdown=0)
            with app.connection_for_write() as connection:
                app.send_task("any.task", ("mine",), connection=connection)
            assert taken(app, name) == {name: [["mine"]]}
            there = app_on(other, "stock", name)
            assert taken(there, name) == {name: [["connection"], ["producer"], ["link"]]}
            there.close()


@pytest.mark.parametrize(
    "options",
    [
        {"priority_steps": list(range(10)), "sep": ":", "queue_order_strategy": "priority"},
        {"priority_steps": [0, 5]},
        {"sep": "-"},
        {"priority_steps": [0, 3, 6]},
    ],
)
def test_priorities_go_where_workers_look_for_them(redis_url: str, options: dict[str, Any]) -> None:
    with both(redis_url, broker_transport_options=options) as apps:
        orders = []
        for app, name in apps.values():
            for priority in range(10):
                app.send_task("any.task", (priority,), priority=priority)
            orders.append(taken(app, name)[name])
        assert orders[1] == orders[0]
        assert sorted(orders[0]) == [[priority] for priority in range(10)]


def test_canvas_of_tasks_that_are_routed(redis_url: str) -> None:
    """Nobody listens on the default queue."""

    def script(side: Side) -> Any:
        add, total = side.task("add"), side.task("total")
        shapes = [
            chord([add.s(1, 1), add.s(2, 2)], total.s()),
            chain(group(add.s(1, 1), add.s(2, 2)), total.s(), group(add.s(1), add.s(2)), total.s() | add.s(1)),
            chord([add.s(1, 1), chord([add.s(1, 1), add.s(2, 2)], total.s())], total.s()),
        ]
        return [one.apply_async().get(timeout=WAIT_S) for one in shapes]

    with beside(redis_url, redis_url, routed="work") as pair:
        assert pair.both(script) == [6, 16, 8]
