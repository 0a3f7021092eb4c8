"""moto's SQS with a server in front that counts and refuses."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from stratix_kombu.drivers.registry import create_driver
from stratix_kombu.drivers.sqs import SQSDriver
from tests.sqs.front import Front, front_of

CREDENTIALS = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "s3cr3t-word"}
WORKER = {"lease_duration": 2_000, "stalled_check_interval": 300, "redelivery_grace": 1_000}


@pytest.fixture
def front(sqs_url: str) -> Iterator[Front]:
    with front_of(sqs_url) as front:
        yield front


@pytest.fixture
def namespace() -> str:
    return f"s{uuid.uuid4().hex[:8]}"


@pytest.fixture
def admin(sqs_url: str) -> Any:
    """A client that may do everything, to prepare queues and to look at them."""
    return boto3.client(
        "sqs", endpoint_url=sqs_url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
    )


@pytest.fixture
def make(front: Front, namespace: str) -> Iterator[Callable[..., SQSDriver]]:
    """Makes drivers with the given options."""
    made: list[SQSDriver] = []

    def make(**options: Any) -> SQSDriver:
        driver = create_driver("sqs", sqs_options(front, **options), namespace=namespace)
        assert isinstance(driver, SQSDriver)
        made.append(driver)
        return driver

    yield make
    for driver in made:
        driver.close()


def sqs_options(front: Front, **options: Any) -> dict[str, Any]:
    return {"endpoint_url": front.url, "aws": {"region": "us-east-1", "credentials": CREDENTIALS}, **options}


@pytest.fixture
def settings(front: Front, namespace: str, redis_url: str) -> Callable[..., dict[str, Any]]:
    """Settings of an application on SQS with the given options; the store is a real Redis."""

    def settings(**options: Any) -> dict[str, Any]:
        sqs = sqs_options(front, **options)
        return {"driver": "sqs", "namespace": namespace, "store": redis_url, "worker": WORKER, "sqs": sqs}

    return settings
