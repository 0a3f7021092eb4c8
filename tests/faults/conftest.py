"""Settings of each driver against real servers, quick to notice a dead worker."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

WORKER = {"lease_duration": 2_000, "stalled_check_interval": 300, "redelivery_grace": 1_500}


@pytest.fixture(params=["redis", "rabbitmq", "sqs"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One application on a real broker, in a namespace of its own; the store is the real Redis."""
    driver = request.param
    chosen: dict[str, Any] = {
        "driver": driver,
        "namespace": f"faults{uuid.uuid4().hex[:8]}",
        "store": request.getfixturevalue("redis_url"),
        "worker": WORKER,
    }
    if driver == "redis":
        chosen["redis"] = {"url": request.getfixturevalue("redis_url")}
    elif driver == "rabbitmq":
        chosen["rabbitmq"] = {"url": request.getfixturevalue("amqp_url")}
    else:
        chosen["sqs"] = {
            "endpoint_url": request.getfixturevalue("sqs_url"),
            "aws": {"region": "us-east-1", "credentials": {"access_key_id": "x", "secret_access_key": "y"}},
            "command_timeout": 60_000,  # its server shares the test's interpreter
        }
    return chosen
