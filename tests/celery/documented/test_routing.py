"""Routing: https://docs.celeryq.dev/en/stable/userguide/routing.html

Messages are looked at in the broker's queues; there are no workers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from kombu import Exchange, Queue

from tests.celery.beside import outcome
from tests.celery.test_beside_routes import both, taken

Conf = Callable[[str], dict[str, Any]]


def feeds(name: str) -> dict[str, Any]:
    return {"task_routes": {"feed.import": {"queue": f"{name}feeds"}}}


def patterns(name: str) -> dict[str, Any]:
    video = re.compile(r"(video|image)\.tasks\..*")
    routes = [
        ("feed.tasks.*", {"queue": f"{name}feeds"}),
        ("web.*", {"queue": f"{name}web"}),
        (video, {"queue": f"{name}media"}),
    ]
    return {"task_routes": (routes,)}


def router(name: str) -> dict[str, Any]:
    def route_task(called: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
        return {"queue": f"{name}video", "priority": 3} if called == "video.compress" else None

    return {"task_routes": [route_task, {"any.task": {"queue": f"{name}rest"}}]}


def manual(name: str) -> dict[str, Any]:
    return {
        "task_queues": (Queue(name, routing_key="task.#"), Queue(f"{name}feeds", routing_key="feed.#")),
        "task_default_exchange": f"{name}tasks",
        "task_default_exchange_type": "topic",
        "task_default_routing_key": "task.default",
        "task_routes": {"feed.import": {"queue": f"{name}feeds", "routing_key": "feed.import"}},
    }


def primer(name: str) -> dict[str, Any]:
    media = Exchange(f"{name}media")
    return {
        "task_queues": (
            Queue(name, Exchange(name), routing_key="default"),
            Queue(f"{name}videos", media, routing_key="media.video"),
            Queue(f"{name}images", media, routing_key="media.image"),
        ),
        "task_default_exchange_type": "direct",
        "task_default_routing_key": "default",
    }


def nothing(name: str) -> dict[str, Any]:
    return {}


def strict(name: str) -> dict[str, Any]:
    return {"task_create_missing_queues": False, "task_queues": (Queue(name),)}


Send = list[tuple[str, dict[str, Any]]]
STATEMENTS: list[tuple[str, Conf, Send, dict[str, int]]] = [
    (
        "With this route enabled import feed tasks will be routed to the feeds queue",
        feeds,
        [("feed.import", {}), ("any.task", {})],
        {"feeds": 1, "": 1},
    ),
    (
        "glob pattern matching, or even regular expressions",
        patterns,
        [("feed.tasks.a", {}), ("web.b", {}), ("image.tasks.c", {}), ("other", {})],
        {"feeds": 1, "web": 1, "media": 1, "": 1},
    ),
    (
        "A router is a function that decides the routing options for a task",
        router,
        [("video.compress", {}), ("any.task", {}), ("other", {})],
        {"video": 1, "rest": 1, "": 1},
    ),
    (
        "you can have an entry in the task_routes … override this using the routing_key argument",
        manual,
        [("feed.import", {}), ("other", {}), ("other", {"queue": "{}feeds", "routing_key": "feed.x"})],
        {"feeds": 2, "": 1},
    ),
    (
        "One for video, one for images, and one default queue for everything else",
        primer,
        [("a", {"queue": "{}videos"}), ("b", {"exchange": "{}media", "routing_key": "media.image"}), ("c", {})],
        {"videos": 1, "images": 1, "": 1},
    ),
    (
        "the queue option has precedence over routes … created automatically",
        feeds,
        [("feed.import", {"queue": "{}own"})],
        {"own": 1, "feeds": 0},
    ),
    ("Queue instances may be given", nothing, [("any", {"queue": "Queue"})], {"given": 1, "": 0}),
]


def send(app: Celery, name: str, task: str, options: dict[str, Any]) -> None:
    given: dict[str, Any] = {key: value.format(name) for key, value in options.items()}
    if given.get("queue") == "Queue":
        given["queue"] = Queue(f"{name}given", Exchange(f"{name}given"), routing_key=f"{name}given")
    app.send_task(task, (task,), **given)


@pytest.mark.parametrize(("words", "conf", "sent", "found"), STATEMENTS, ids=[one[1].__name__ for one in STATEMENTS])
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_page(
    request: pytest.FixtureRequest, broker: str, words: str, conf: Conf, sent: Send, found: dict[str, int]
) -> None:
    url = request.getfixturevalue("redis_url" if broker == "redis" else "amqp_url")
    answers = []
    with both(url, request.getfixturevalue("redis_url")) as apps:
        for app, name in apps.values():
            app.conf.update(conf(name))
            if broker == "redis" or app.conf.task_queues:
                with app.producer_or_acquire() as producer:
                    for queue in app.conf.task_queues or ():
                        queue(producer.channel).declare()
            for task, options in sent:
                send(app, name, task, options)
            counts = {}
            for queue in found:
                counts[queue] = len(taken(app, name + queue)[name + queue])
            answers.append(counts)
    assert answers == [found] * 2, words


def test_queues_that_are_missing(redis_url: str) -> None:
    """ "task_create_missing_queues … if disabled, it's an error"."""
    with both(redis_url) as apps:
        told = []
        for app, name in apps.values():
            app.conf.update(strict(name))
            told.append(str(outcome(lambda app=app: app.send_task("a", queue="nowhere"))).partition(":")[0])  # type: ignore[misc]
        assert told[0] == told[1]
