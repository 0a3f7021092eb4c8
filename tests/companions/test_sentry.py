"""Sentry sees the same, whenever it is initialised."""

from __future__ import annotations

import pytest

from tests.companions.programs import both


@pytest.mark.parametrize("order", ["before", "after", "celeryd_init"])
def test_one_trace_and_all_that_was_published(redis_url: str, order: str) -> None:
    found = both("with_sentry", redis_url, order=order)
    assert found["values"] == [3, 3, 4, 6, 3, 1, "ValueError"]
    assert found["traces"] == 1
    assert found["events"] == [["event", "ValueError", "proj.boom"]]
    assert found["spans"].count(["queue.publish", "proj.total"]) == 1


def test_check_ins_of_crons(redis_url: str) -> None:
    assert both("with_sentry", redis_url, order="crons") == ["in_progress", "ok"]
