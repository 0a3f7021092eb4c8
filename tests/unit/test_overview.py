"""``app.queue``: all queues and workers of a namespace, whichever program made them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError
from tests.waiting import until


def test_an_overview_of_all_queues(app: Application) -> None:
    queue = app.queue.create_queue("b")
    app.queue.create_queue("a").add("n", delay=600_000)

    @queue.process
    def handle(job: Any) -> None:
        if job.data:
            raise ValueError(job.data)

    app.start()
    queue.add("good").wait_until_finished(timeout=10)
    bad = queue.add("bad", "no", attempts=1)
    until(lambda: bad.get_state() == "failed")
    first, second = app.queue.get_overview()
    assert (first.name, second.name) == ("a", "b")
    assert (first.counts["delayed"], second.counts["completed"], second.counts["failed"]) == (1, 1, 1)
    assert (len(second.completed), sum(second.completed), sum(second.failed)) == (60, 1, 1)
    assert second.recent.run.count == 2
    shown = json.loads(json.dumps(second.to_dict()))
    assert (shown["name"], shown["recent"]["completed"]) == ("b", 1)
    (_, again) = asyncio.run(app.queue.aio.get_overview(minutes=5))
    assert (again.counts, len(again.completed)) == (second.counts, 5)


@pytest.mark.parametrize("minutes", [0, 1441, "5", True])
def test_minutes_that_cannot_be(app: Application, minutes: Any) -> None:
    with pytest.raises(ConfigurationError, match="get_overview: 'minutes' must be a whole number from 1 to 1440"):
        app.queue.get_overview(minutes)
