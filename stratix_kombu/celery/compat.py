"""Everything private of Celery that the bridge touches; each has a tripwire test on what it looks like upstream.

* ``_chord.run`` and ``group.apply_async`` are wrapped, so that all messages of one canvas become one batch of jobs.
* ``app._backend_cache`` and ``app._local`` hold a backend that was used before the bridge was installed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from celery import Celery, group
from celery.canvas import _chord

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


def forget_backend(app: Celery) -> None:
    """Drop a backend that the application has made already: the next use makes one of the class set now."""
    app._backend_cache = None
    if hasattr(app._local, "backend"):
        del app._local.backend
