"""Waiting for results of Celery."""

from __future__ import annotations

from typing import Any

from celery import exceptions
from celery.result import GroupResult


def got(result: Any, timeout: float, **options: Any) -> Any:
    """What ``get`` returns or raises. On Redis, stock Celery misses what is published between its look and its
    subscription: there it is looked for anew."""
    try:
        return result.get(timeout=timeout, **options)
    except exceptions.TimeoutError:
        if hasattr(result.app, "stratix"):
            raise
        return _anew(result).get(timeout=1, **options)


def _anew(result: Any) -> Any:
    """The same result or group, of which nothing is known."""
    if isinstance(result, GroupResult):
        return result.app.GroupResult(result.id, [_anew(one) for one in result.results])
    return result.app.AsyncResult(result.id)
