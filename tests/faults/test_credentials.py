"""No password, key or token is shown: not in errors and their causes, not in logs at any level, not in any repr."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from stratix_kombu import StratixError, create_app
from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.model.secrets import masked
from stratix_kombu.stores.registry import open_store
from tests.services import free_port

WORD = "s3cret"
SECRET = f"left{WORD}/@:#?%&right{WORD}"
"""Of signs that mean something in URLs; whatever it is cut into, each part has the word in it."""
QUOTED = quote(SECRET, safe="")


def _where(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"


AWAY = f"127.0.0.1:{free_port()}"
QUICK = {"connect_timeout": 500, "command_timeout": 500}
KEYS = {"access_key_id": f"AKIA{WORD}", "secret_access_key": SECRET, "session_token": f"token{SECRET}"}


def _redis(**options: Any) -> dict[str, Any]:
    return {"driver": "redis", "redis": {**QUICK, **options}}


def _rabbitmq(**options: Any) -> dict[str, Any]:
    return {"driver": "rabbitmq", "store": "memory://", "rabbitmq": {"connect_timeout": 500, **options}}


Servers = Callable[[str], str]
CASES: dict[str, Callable[[Servers], dict[str, Any]]] = {
    "redis away": lambda at: _redis(url=f"redis://user:{QUOTED}@{AWAY}/0"),
    "redis away, by parts": lambda at: _redis(host="127.0.0.1", port=int(AWAY[10:]), password=SECRET, username="user"),
    "redis refuses": lambda at: _redis(url=f"redis://user:{QUOTED}@{at('redis')}/0"),
    "redis without TLS": lambda at: _redis(url=f"rediss://:{QUOTED}@{at('redis')}/0"),
    "redis that is no redis": lambda at: _redis(url=f"redis://:{QUOTED}@{at('sqs')}/0"),
    "sentinels away": lambda at: _redis(sentinels=[AWAY], name="m", password=SECRET, sentinel_password=f"x{SECRET}"),
    "sentinel that is none": lambda at: _redis(
        sentinels=[at("redis")], name="m", password=SECRET, sentinel_password=f"x{SECRET}"
    ),
    "cluster away": lambda at: {"driver": "memory", "store": {"cluster": [AWAY], "password": SECRET, **QUICK}},
    "store away": lambda at: {"driver": "memory", "store": f"redis://:{QUOTED}@{AWAY}/0"},
    "rabbitmq away": lambda at: _rabbitmq(url=f"amqp://guest:{QUOTED}@{AWAY}//"),
    "rabbitmq refuses": lambda at: _rabbitmq(url=f"amqp://guest:{QUOTED}@{at('amqp')}//"),
    "rabbitmq refuses, by parts": lambda at: _rabbitmq(
        host="127.0.0.1", port=int(at("amqp").partition(":")[2]), username="user", password=SECRET
    ),
    "rabbitmq without TLS": lambda at: _rabbitmq(url=f"amqps://guest:{QUOTED}@{at('amqp')}//", ssl=True),
    "sqs away": lambda at: {
        "driver": "sqs",
        "store": "memory://",
        "sqs": {"endpoint_url": f"http://{AWAY}", "aws": {"region": "eu-west-1", "credentials": KEYS}},
    },
    "sqs answers": lambda at: {
        "driver": "sqs",
        "store": "memory://",
        "sqs": {"endpoint_url": f"http://{at('sqs')}", "aws": {"region": "eu-west-1", "credentials": KEYS}},
    },
    "any Kombu URL": lambda at: {"driver": f"redis+socket://:{QUOTED}@{AWAY}/0", "store": "memory://"},
    # What is written wrong.
    "redis, not quoted": lambda at: _redis(url=f"redis://user:{SECRET}@{AWAY}/0"),
    "redis, a slash": lambda at: _redis(url=f"redis://user:12/{WORD}@{AWAY}/0"),
    "rabbitmq, not quoted": lambda at: _rabbitmq(url=f"amqp://user:{SECRET}@{AWAY}//"),
    "a driver with one slash": lambda at: {"driver": f"redis:/user:{QUOTED}@{AWAY}", "store": "memory://"},
    "a store with one slash": lambda at: {"driver": "memory", "store": f"redis:/user:{QUOTED}@{AWAY}"},
    "a URL for a mapping": lambda at: {"driver": "redis", "redis": f"redis://:{QUOTED}@{AWAY}/0"},
    "a list of stores": lambda at: {"driver": "memory", "store": [f"redis://:{QUOTED}@{AWAY}/0"]},
    "a list of drivers": lambda at: {"driver": [f"redis://:{QUOTED}@{AWAY}/0"]},
    "a password that is none": lambda at: _redis(host="127.0.0.1", password=[SECRET]),
    "nodes in a text": lambda at: _redis(sentinels=f"sentinel://:{QUOTED}@{AWAY}", name="m"),
    "a node without a port": lambda at: {"driver": "memory", "store": {"cluster": [f"user:{SECRET}@h:x"]}},
    "keys without one": lambda at: {
        "driver": "sqs",
        "store": "memory://",
        "sqs": {"aws": {"credentials": {"secret_access_key": SECRET}}},
    },
    "an endpoint that is none": lambda at: {
        "driver": "sqs",
        "store": "memory://",
        "sqs": {"endpoint_url": f"user:{SECRET}@host", "aws": {"region": "x"}},
    },
}


@pytest.fixture
def at(request: pytest.FixtureRequest) -> Servers:
    return lambda name: _where(request.getfixturevalue(f"{name}_url"))


@pytest.fixture
def shown(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Everything that was shown; the logs of all libraries, with all tracebacks, are added at the end."""
    texts: list[str] = []
    caplog.set_level(logging.DEBUG)
    for noisy in ("botocore", "urllib3", "boto3", "werkzeug"):
        # At DEBUG botocore writes its requests with their headers, and so the session token: see the README.
        caplog.set_level(logging.INFO, noisy)
    yield texts
    texts.append(caplog.text)
    assert WORD not in "\n".join(texts).lower().replace(f"akia{WORD}", "")


def _tell(shown: list[str], step: Callable[[], Any]) -> Any:
    try:
        return step()
    except StratixError as error:
        shown += ["".join(traceback.format_exception(error)), str(error), repr(error)]
        return None


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_shown(case: str, at: Servers, shown: list[str]) -> None:
    app = create_app({"namespace": "secrets", "shutdown_timeout": 1, "worker": {"clock": False}, **CASES[case](at)})
    manager = _tell(shown, lambda: app.queue)
    if manager is not None:
        queue = manager.get_queue("q")
        queue.on("error", lambda error: shown.extend(traceback.format_exception(error)))
        steps: list[Callable[[], Any]] = [app.start]
        if "rabbitmq" not in case:  # each step tries again for seconds
            queue.process(lambda job: None)
            steps += [lambda: queue.add("n"), manager.check_health, queue.get_status]
        for step in steps:
            _tell(shown, step)
        shown += [repr(one) for one in (app, manager, manager.settings, queue, manager.store, manager.engine.driver)]
        shown += [manager.describe(), manager.store.address, manager.engine.driver.address]
    _tell(shown, app.close)
    if manager is None or "away" in case:
        assert shown, "there was an error to look at"


def test_settings_options_and_masks(shown: list[str]) -> None:
    environment = {"STRATIX_REDIS_URL": f"redis://:{QUOTED}@{AWAY}/0", "STRATIX_STORE": f"redis://:{QUOTED}@{AWAY}/1"}
    shown.append(repr(load_settings({"driver": "redis"}, environment=environment, drivers=["memory", "redis"])))
    shown.append(repr(RedisOptions.parse({"password": SECRET, "sentinel_password": SECRET})))
    shown.append(RedisOptions.parse({"password": SECRET}).address)
    store = open_store(f"redis://:{QUOTED}@{AWAY}/0", namespace="n")
    driver = KombuDriver({"url": f"redis://:{QUOTED}@{AWAY}/0"}, namespace="n")
    shown += [repr(store), store.address, repr(driver), driver.address]
    _tell(shown, store.ping)
    _tell(shown, driver.init)
    for text in (SECRET, QUOTED, f"x {SECRET!r} y", f"amqp://u:{QUOTED}@h", quote(SECRET)):
        shown.append(masked(text, [SECRET, None, ""]))
