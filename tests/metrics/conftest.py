"""The page of metrics, asked for and parsed as Prometheus does."""

from __future__ import annotations

import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    """Every sample by name and sorted labels; there is each once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            key = (one.name, tuple(sorted(one.labels.items())))
            assert key not in found
            found[key] = one.value
    return found


def page(port: int) -> Samples:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return parse(answer.read().decode())


@pytest.fixture
def at() -> Callable[..., float | None]:
    """The value of one sample of a page."""

    def value(samples: Samples, name: str, **labels: str) -> float | None:
        return samples.get((name, tuple(sorted(labels.items()))))

    return value


@pytest.fixture
def settings(redis_url: str) -> dict[str, Any]:
    """A namespace of its own on a real Redis."""
    return {"driver": "redis", "namespace": f"metrics{uuid.uuid4().hex[:8]}", "redis": {"url": redis_url}}
