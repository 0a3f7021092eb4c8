"""Everything private of Celery that the bridge touches; each has a tripwire test on what it looks like upstream.

* ``_chord.run`` and ``group.apply_async`` are wrapped, so that all messages of one canvas become one batch of jobs.
* Kombu's SQS channel polls from Celery's event loop: ``_get_from_sqs`` is wrapped, for a poll that fails would be the
  last one of the worker.
* ``app._backend_cache`` and ``app._local`` hold a backend that was used before the bridge was installed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from celery import Celery, group
from celery.canvas import _chord

logger = logging.getLogger("stratix_kombu.celery")

POLL_AGAIN_S = 1.0
Scope = Callable[[Any], AbstractContextManager[Any]]
"""Gives the batch for a Celery application, or nothing to do for one without the bridge."""


def batch_canvas(scope: Scope) -> None:
    """Have groups and chords of every application publish within ``scope(app)``; once a process."""
    for owner, name in ((group, "apply_async"), (_chord, "run")):
        original = getattr(owner, name)
        if not hasattr(original, "stratix_original"):
            setattr(owner, name, _within(original, scope))


def _within(original: Callable[..., Any], scope: Scope) -> Callable[..., Any]:
    @functools.wraps(original)
    def batched(self: Any, *args: Any, **kwargs: Any) -> Any:
        with scope(self.app):
            return original(self, *args, **kwargs)

    batched.stratix_original = original  # type: ignore[attr-defined]
    return batched


def keep_polling(channel: Any) -> None:
    """Have an SQS channel class poll again after a poll that failed: an answer 500, a connection that broke, a request
    that was refused. Kombu 5.7 logs the error and polls no more; its worker seems healthy. Once a process."""
    original = channel._get_from_sqs
    if hasattr(original, "stratix_original"):
        return

    @functools.wraps(original)
    def get_from_sqs(self: Any, *args: Any, callback: Any = None, **kwargs: Any) -> Any:
        def failed(filter_: Any, poll_again: Any, *rest: Any) -> None:
            logger.warning("a poll of SQS failed: %r", rest[-1], extra={"action": "poll_failed"})
            self.hub.call_later(POLL_AGAIN_S, poll_again)

        callback.on_error = failed
        return original(self, *args, callback=callback, **kwargs)

    get_from_sqs.stratix_original = original  # type: ignore[attr-defined]
    channel._get_from_sqs = get_from_sqs


def forget_backend(app: Celery) -> None:
    """Drop a backend that the application has made already: the next use makes one of the class set now."""
    app._backend_cache = None
    if hasattr(app._local, "backend"):
        del app._local.backend
