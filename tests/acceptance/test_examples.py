"""Every numbered example runs, on every driver, and prints what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROMISED = {
    "01_first_job": ["sent to ada@example.com", "completed {'step': 'writing'} ['writing to ada@example.com']"],
    "02_retries_and_backoff": [
        "{'type': 'fixed', 'delay': 20} -> charged after 2 failures",
        "{'type': 'exponential', 'delay': 10, 'jitter': 0.5} -> charged after 2 failures",
        "{'custom': 'gently'} -> charged after 2 failures",
        "failed: UnrecoverableError: the card is stolen after 1 attempt",
    ],
    "03_delays_and_bulk": ["200 100 delayed", "300", "495000"],
    "04_dependencies": ["11", "dependency <third> failed: OSError: the source third is down", "16"],
    "06_flows": [
        "told ada@example.com about 480p, 720p",
        "{'encode': 'completed', 'publish': 'completed', 'tell': 'completed'}",
    ],
    "07_repeatable_jobs": [
        "8 business-hours-task weekly-report",
        "['immediate-then-scheduled None', \"tick {'n': 1}\", \"tick {'n': 1}\", \"tick {'n': 1}\"]",
        "3 None",
        "tick {'n': 1}",
        "{'n': 2} 3600000 True",
        "[]",
    ],
    "08_schedules": ["['generate-reports', 'twice', 'twice']", "['sync']", "True 7", "True None"],
    "09_rate_limits": ["True", "[0, 1, 2, 3]", "answered 1", "True", "True"],
    "10_dead_letters_and_housekeeping": [
        "welcome OSError: cannot reach bob@example.com 2",
        "1",
        "True",
        "[\"{'n': 1}\", \"{'text': 'abc'}\"]",
        "2 2 1",
        "True []",
    ],
    "11_sandboxes": [
        "the sandbox exited with code 1 in the middle of the job",
        "timed out after 100 ms; its sandbox was killed",
        "True",
        "25 [192, 108]",
    ],
    "05_events_and_asyncio": ["page 49", "all were heard: True 50"],
    "12_producer_and_consumer": ["added 5", "results [1, 4, 9, 16, 25]", "attempts 6"],
    "13_priority_queues": ["high high high high normal normal normal normal low low low low", "13"],
    "14_worker_pools": [
        "['image 0', 'image 1', 'image 2', 'text 0', 'text 1', 'text 2', 'video 0', 'video 1', 'video 2']",
        "UnrecoverableError: no pool for the type 'sound-processing'",
        "WaitTimeout",
        "made of a part",
    ],
    "15_event_bus": [
        "welcome, ada@example.com",
        "nobody subscribed to user.left",
        "[('prices', 'the importer'), ('users', None)]",
    ],
    "16_dead_letter_by_hand": [
        "5 paid in attempt 2",
        "UnrecoverableError: moved to the dead letters: the amount is negative after attempt 1",
        "order {'amount': -1}: InvalidOrder, the amount is negative",
    ],
    "17_graceful_shutdown": [
        "closing: waiting for jobs",
        "all queues are closed",
        "ended in time: True",
        "active 0 completed and paused 5",
        "[0, 1, 2, 3, 4]",
    ],
    "18_custom_driver": [
        "42 {'colour': 'red', 'size': 5} True",
        "5 messages in folder (store memory://)",
        "20",
        "sqs (store memory://)",
    ],
    "19_tuning": [
        "True",
        "332833500",
        "the data of job 'process-image' for queue 'images' has 1000017 bytes as JSON, which exceeds the "
        "limit of 65536: "
        "store it elsewhere and pass a reference, or raise 'max_payload_bytes'",
        "500000",
        "10",
        "the old one is gone",
    ],
    "20_metrics": [
        "2 ['active', 'blocked', 'completed', 'delayed', 'failed', 'paused', 'waiting']",
        "20 emails welcome True",
        "20.0 20.0",
        "20 0 20 True",
        "20.0 20.0",
        "True",
    ],
    "23_one_file": ["left in the file: 1 waiting, 1 blocked", "to Ada for 5", "completed: 2"],
    "22_fair_groups": [
        "bolt is among the first: True",
        "so is every tenant: True",
        "acme has what is left: 200 True",
        "at most two of one tenant at a time: True",
    ],
    "21_high_availability": [
        "sentinel: redis (store redis://sentinel:mymaster@sentinel-1:26379,sentinel-2:26379,sentinel-3:26379/0)",
        "cluster: memory (store redis://cluster:redis-node1:6379,redis-node2:6379,redis-node3:6379)",
        "cluster as broker: redis: the broker cannot be a cluster, because the lists of one queue would "
        "be on different nodes: "
        "give the driver a single node or Sentinel, and the cluster as 'store'",
        "away: StoreUnavailable after waiting [20, 40, 50] ms",
        "answered after 3 attempts",
        "stalled, and tried again: payment-1",
        "charged by another worker",
        "closing: active jobs are waited for, the rest is handed back",
        "closed",
    ],
}


OF_ONE_DRIVER = {"18_custom_driver", "23_one_file"}
"""They name their driver themselves."""
RUNS = [
    (name, driver)
    for name in sorted(PROMISED)
    for driver in ("memory", "redis", "rabbitmq", "sqs")
    if driver == "memory" or name not in OF_ONE_DRIVER
]


def test_each_example_is_listed_and_has_a_head() -> None:
    found = sorted(EXAMPLES.glob("[0-9]*.py"))
    assert [one.stem for one in found] == sorted(PROMISED)
    for one in found:
        assert one.read_text(encoding="utf-8").startswith('"""')


@pytest.mark.parametrize(("name", "driver"), RUNS)
def test_an_example_runs(name: str, driver: str, request: pytest.FixtureRequest) -> None:
    environment = {**os.environ, "STRATIX_DRIVER": driver, "STRATIX_NAMESPACE": f"ex{uuid.uuid4().hex[:8]}"}
    if driver != "memory":
        environment["STRATIX_STORE"] = request.getfixturevalue("redis_url")
    if driver == "redis":
        environment["STRATIX_REDIS_URL"] = request.getfixturevalue("redis_url")
    elif driver == "rabbitmq":
        environment["STRATIX_RABBITMQ_URL"] = request.getfixturevalue("amqp_url")
    elif driver == "sqs":
        environment["STRATIX_SQS_ENDPOINT_URL"] = request.getfixturevalue("sqs_url")
        environment["STRATIX_SQS_AWS__REGION"] = "us-east-1"
        environment.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="y")
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[: len(PROMISED[name])] == PROMISED[name]
    assert done.stderr == "", "what fails in an example is meant to, and kept out of the log"
