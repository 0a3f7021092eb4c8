"""Limits and deduplications as scripts read them."""

from __future__ import annotations

import json
from typing import Any

from stratix_kombu.model.limiter import limit_value
from stratix_kombu.model.record import Deduplication, Limit


def text(value: bytes | None) -> str:
    return "" if value is None else value.decode()


def deduplication_value(given: Deduplication) -> dict[str, Any]:
    value: dict[str, Any] = {"id": given.id, "replace": given.replace, "extend": given.extend}
    return {**value, "ttl": given.ttl_ms} if given.ttl_ms else value


def limit_text(limit: Limit | None) -> str:
    return json.dumps(limit_value(limit)) if limit else ""
