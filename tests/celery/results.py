"""Waiting for results of Celery."""

from __future__ import annotations

import time
from typing import Any

from celery import exceptions
from celery.result import GroupResult

LOOK_S = 5


def got(result: Any, timeout: float, **options: Any) -> Any:
    """What ``get`` returns or raises. On Redis, stock Celery misses what is published between its look and its
    subscription: there it is looked for anew. Of a chord that ends between its look at the header and its subscription,
    it raises the error of the body, and that of the header when it is asked once more."""
    deadline = time.monotonic() + timeout
    while not hasattr(result.app, "stratix"):
        try:
            return result.get(timeout=LOOK_S, **options)
        except exceptions.ChordError:
            return result.get(timeout=LOOK_S, **options)
        except exceptions.TimeoutError:
            if time.monotonic() > deadline:
                raise
            result = _anew(result)
    return result.get(timeout=timeout, **options)


def _anew(result: Any) -> Any:
    """The same result or group, of which nothing is known."""
    if isinstance(result, GroupResult):
        return result.app.GroupResult(result.id, [_anew(one) for one in result.results], parent=result.parent)
    return result.app.AsyncResult(result.id, parent=result.parent)
