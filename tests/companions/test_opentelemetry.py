"""OpenTelemetry's spans, their parents and what they say."""

from __future__ import annotations

import pytest

from tests.companions.programs import both


@pytest.mark.parametrize("order", ["before", "after"])
def test_spans_of_tasks(redis_url: str, order: str) -> None:
    found = both("with_opentelemetry", redis_url, order=order)
    assert found["values"] == [3, 3, 4, 6, 3, "ValueError"]
    assert found["traces"] == 1
