"""Many clocks at once, one of them killed: each slot of each repeatable job is one job, and none is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from stratix_kombu import create_app
from tests.waiting import until

CLOCKS = 5
REPEATABLES = 200
SECONDS = 20
LATE_MS = 1000


def assert_none_is_missing(found: Mapping[int, int], every_ms: int) -> None:
    """Slots and when they were fired: of one that was fired late, the next is the first one that is not past."""
    for slot, following in pairwise(sorted(found)):
        assert (following - slot) % every_ms == 0
        assert following <= max(slot, found[slot]) + every_ms, f"{slot} was fired at {found[slot]}"


def test_each_slot_is_fired_once(redis_url: str) -> None:
    """On time as well: that is asked of one of six runs, since others may keep the machine busy meanwhile."""
    assert any(_fired_on_time(redis_url, f"clocks{number}") for number in range(6))


def _fired_on_time(redis_url: str, namespace: str) -> bool:
    settings: dict[str, Any] = {"driver": "redis", "redis": {"url": redis_url}, "namespace": namespace}
    command = [sys.executable, "-m", "tests.faults.clock_process", json.dumps(settings)]
    clocks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(CLOCKS)]
    try:
        for clock in clocks:
            assert clock.stdout is not None
            assert clock.stdout.readline() == "ready\n"
        with create_app({**settings, "worker": {"clock": False}}) as app:
            app.start()
            queue = app.queue.get_queue("q")
            for number in range(REPEATABLES):
                queue.add_repeatable_job("tick", key=f"k{number}", every=1000)
            began = time.monotonic()
            until(lambda: time.monotonic() - began > SECONDS / 2, SECONDS)
            clocks[0].kill()
            until(lambda: time.monotonic() - began > SECONDS, SECONDS)
            for clock in clocks[1:]:
                clock.terminate()
            for clock in clocks:
                clock.wait(20)
            slots: dict[str, dict[int, int]] = defaultdict(dict)
            late = 0
            for job in queue.get_jobs("waiting", 0, -1):
                _, _, key, slot = job.id.split(":")
                slots[key][int(slot)] = job.timestamp
                late = max(late, job.timestamp - int(slot))
            runs = {one.key: one.runs for one in queue.get_repeatable_jobs()}
            assert len(slots) == REPEATABLES
            for key, found in slots.items():
                assert_none_is_missing(found, 1000)
                assert runs[key] == len(found)
            return late < LATE_MS and min(len(found) for found in slots.values()) >= SECONDS - 2
    finally:
        for clock in clocks:
            clock.kill()
            clock.wait()
            assert clock.stdout is not None
            clock.stdout.close()
