"""Waiting for results of Celery."""

from __future__ import annotations

from typing import Any

from celery import exceptions


def got(result: Any, timeout: float, **options: Any) -> Any:
    """What ``get`` returns or raises. On Redis, stock Celery misses what is published between its look and its
    subscription: there it is looked for anew."""
    try:
        return result.get(timeout=timeout, **options)
    except exceptions.TimeoutError:
        if hasattr(result.app, "stratix"):
            raise
        return result.app.AsyncResult(result.id).get(timeout=1, **options)
