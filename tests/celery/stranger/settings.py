"""Read with the prefix ``CELERY``, as Django projects have it."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from typing import Any

from kombu.serialization import register

PREFIX = os.environ.get("STRANGER_PREFIX", "stranger")


def _default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    raise TypeError(f"{value!r} is not known")


def _hook(value: dict[str, Any]) -> Any:
    return Decimal(value["decimal"]) if value.keys() == {"decimal"} else value


register(
    "shop",
    lambda value: json.dumps(value, default=_default),
    lambda text: json.loads(text, object_hook=_hook),
    content_type="application/x-shop",
    content_encoding="utf-8",
)


def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    if name.startswith("shop.mail"):
        return {"queue": f"{PREFIX}.mail", "priority": 3}
    return None


CELERY_BROKER_URL = os.environ.get("STRANGER_BROKER", "memory://")
CELERY_RESULT_BACKEND = os.environ.get("STRANGER_RESULTS", "cache+memory://")
CELERY_TASK_SERIALIZER = "shop"
CELERY_RESULT_SERIALIZER = "shop"
CELERY_ACCEPT_CONTENT = ["shop", "json"]
CELERY_TASK_COMPRESSION = "zlib"
CELERY_TASK_DEFAULT_QUEUE = f"{PREFIX}.default"
CELERY_TASK_ROUTES = (route,)
CELERY_TASK_ANNOTATIONS = {"*": {"max_retries": 2}, "shop.annotated": {"priority": 7, "rate_limit": "1000/s"}}
CELERY_TASK_TRACK_STARTED = True
CELERY_RESULT_EXTENDED = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
