"""Servers that are away or refuse us: the error says where and what, and never shows a credential."""

from __future__ import annotations

import logging
import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest

from stratix_kombu import DriverUnavailable, StoreUnavailable, StratixError, create_app
from tests.services import free_port
from tests.waiting import WAIT_S, until

SECRET = "s3cr3t-word"


def _settings(driver: str, store: str, **options: Any) -> dict[str, Any]:
    return {"driver": driver, "namespace": f"away{uuid.uuid4().hex[:8]}", "store": store, driver: options}


def test_a_store_that_is_away() -> None:
    url = f"redis://user:{SECRET}@127.0.0.1:{free_port()}/0"
    app = create_app(_settings("memory", url))
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1") as error:
        app.start()
    assert SECRET not in str(error.value)
    with pytest.raises(StoreUnavailable):
        app.queue.get_queue("q").add("n")
    app.close()


def test_a_redis_broker_that_is_away(redis_url: str) -> None:
    url = f"redis://:{SECRET}@127.0.0.1:{free_port()}/0"
    app = create_app(_settings("redis", redis_url, url=url))
    with pytest.raises(DriverUnavailable, match=r"127\.0\.0\.1") as error:
        app.start()
    assert SECRET not in str(error.value)
    app.close()


def test_a_rabbitmq_that_is_away(redis_url: str) -> None:
    url = f"amqp://user:{SECRET}@127.0.0.1:{free_port()}//"
    app = create_app(_settings("rabbitmq", redis_url, url=url))
    with pytest.raises(DriverUnavailable, match=r"127\.0\.0\.1") as error:
        app.start()
    assert SECRET not in str(error.value)
    app.close()


def test_an_sqs_that_is_away(redis_url: str) -> None:
    credentials = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": SECRET}
    endpoint, aws = f"http://127.0.0.1:{free_port()}", {"region": "eu-west-1", "credentials": credentials}
    app = create_app(_settings("sqs", redis_url, endpoint_url=endpoint, aws=aws))
    with pytest.raises(DriverUnavailable) as error:
        app.start()
    assert SECRET not in str(error.value)
    app.close()


def test_rabbitmq_refuses_the_password(amqp_url: str, redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    parts = urlsplit(amqp_url)
    url = f"amqp://guest:{SECRET}@{parts.hostname}:{parts.port}//"
    app = create_app(_settings("rabbitmq", redis_url, url=url))
    with caplog.at_level(logging.DEBUG, "stratix_kombu"), pytest.raises(DriverUnavailable) as error:
        app.start()
    assert SECRET not in str(error.value) + caplog.text
    app.close()


def test_a_broker_that_is_away_loses_no_job(redis_url: str, amqp_url: str) -> None:
    namespace = f"away{uuid.uuid4().hex[:8]}"
    away = {
        "driver": "rabbitmq",
        "namespace": namespace,
        "store": redis_url,
        "rabbitmq": {"url": f"amqp://guest:guest@127.0.0.1:{free_port()}//"},
    }
    producer, errors = create_app(away), list[BaseException]()
    queue = producer.queue.get_queue("q")
    queue.on("error", errors.append)
    job = queue.add("n", {"kept": True})
    until(lambda: any(isinstance(error, DriverUnavailable) for error in errors), WAIT_S)
    producer.close()
    back = {**away, "rabbitmq": {"url": amqp_url}, "worker": {"redelivery_grace": 500, "stalled_check_interval": 200}}
    with create_app(back) as consumer:
        consumer.start()
        queue = consumer.queue.get_queue("q")
        queue.process(lambda job: job.data)
        again = queue.get_job(job.id)
        assert again is not None
        assert again.wait_until_finished(timeout=30) == {"kept": True}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"driver": "redsi"}, "redis"),
        ({"driver": "sqs"}, "store"),
        ({"drivr": "memory"}, "driver"),
        ({"driver": "redis", "redis": {"hots": "localhost"}}, "host"),
        ({"store": "mongodb://localhost"}, "mongodb"),
        ({"namespace": "no spaces please"}, "namespace|name"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(StratixError, match=message):
        create_app(settings).start()
