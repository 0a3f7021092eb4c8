"""The example of a migration: its own suite passes before the bridge and, unchanged, after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.celery.project import sqs_broker

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "migrating_celery"


@pytest.mark.parametrize("bridge", ["", "1"], ids=["before", "after"])
@pytest.mark.parametrize("transport", ["redis", "rabbitmq", "sqs"])
def test_the_suite_passes(request: pytest.FixtureRequest, tmp_path: Path, transport: str, bridge: str) -> None:
    store = request.getfixturevalue("redis_url")
    options: dict[str, object] = {}
    if transport == "redis":
        broker = store
    elif transport == "rabbitmq":
        broker = request.getfixturevalue("amqp_url")
    else:
        broker = sqs_broker(request.getfixturevalue("sqs_url"))
        options = {"region": "us-east-1", "is_secure": False, "polling_interval": 0, "wait_time_seconds": 1}
    environment = {
        **os.environ,
        "SHOP_BROKER": broker,
        "SHOP_RESULTS": store,
        "SHOP_QUEUE": f"shop{uuid.uuid4().hex[:8]}",
        "SHOP_LEDGER": str(tmp_path / "ledger"),
        "SHOP_TRANSPORT_OPTIONS": json.dumps(options),
        "SHOP_STRATIX": bridge,
        "C_FORCE_ROOT": "1",
        "PYTHONPATH": str(FOLDER),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", "."]
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed" in done.stdout
