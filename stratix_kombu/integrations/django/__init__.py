"""Django: settings in ``STRATIX``, handlers in the ``jobs.py`` of each app, ``manage.py stratix``.

>>> from stratix_kombu.integrations.django import add_on_commit, app
>>> emails = app.queue.get_queue("emails")  # in shop/jobs.py  # doctest: +SKIP
>>> @emails.process("welcome")  # doctest: +SKIP
... def welcome(job): ...
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from stratix_kombu.application import Application, create_app
from stratix_kombu.calls import calling_loop
from stratix_kombu.integrations.django.connections import connections_of_a_job
from stratix_kombu.once import run_waiting

if TYPE_CHECKING:
    from stratix_kombu.queue.queue import Queue

    app: Application
    """The application of this project."""

_lock = threading.RLock()
_app: Application | None = None


def get_app() -> Application:
    """The application of this project, created from the setting ``STRATIX`` when it is first used.

    ``STRATIX`` is the mapping that ``create_app`` takes. With ``"inline": True``, for tests, there are no servers: each
    job runs within the call that adds it, in the same thread and transaction. Raises ImproperlyConfigured.
    """
    global _app
    with _lock:
        if _app is None:
            made = _make(getattr(settings, "STRATIX", None) or {})
            _app = _app or made  # creating it may have set up Django, whose jobs.py modules have used it
        return _app


def add_on_commit(
    queue: Queue | str, name: str, data: Any = None, *, using: str | None = None, robust: bool = False, **options: Any
) -> None:
    """``queue.add`` once the transaction has been committed, and not at all if it is rolled back; at once without a
    transaction. ``using`` and ``robust`` are those of ``transaction.on_commit``.

    >>> add_on_commit("emails", "welcome", {"user": user.pk}, attempts=3)  # doctest: +SKIP
    """
    chosen = get_app().queue.get_queue(queue) if isinstance(queue, str) else queue
    chosen.new_job(name, data, options)  # what cannot be added is refused here, where it is written
    transaction.on_commit(partial(chosen.add, name, data, **options), using=using, robust=robust)


def _make(given: Any) -> Application:
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"STRATIX must be a mapping of settings, not {type(given).__name__}")
    said: Any = dict(given)
    if not said.pop("inline", False):
        from stratix_kombu.integrations.django.sandbox import connections_of_a_child

        made = create_app(said)
        made.middleware("run", connections_of_a_job)
        made.middleware("sandbox", connections_of_a_child)
        return made
    said.update(driver="memory", store="memory://")
    inline = create_app(said)

    @inline.middleware("add")
    def run_at_once(jobs: object) -> Iterator[None]:
        yield
        run = partial(run_waiting, inline, awaits=_in_this_thread)
        if (loop := calling_loop()) is None:
            run()
        else:
            asyncio.run_coroutine_threadsafe(_in_the_thread_of_queries(run), loop).result()

    return inline


async def _in_the_thread_of_queries(run: Callable[[], object]) -> None:
    """Jobs that coroutines add run where Django's own coroutines have their connections, and so their transaction."""
    await sync_to_async(run)()


def _in_this_thread(work: Any) -> Any:
    """Await the work of an ``async def`` handler so that its database queries run in this thread."""

    async def awaited() -> Any:
        return await work

    return async_to_sync(awaited)()


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "app":
            return get_app()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
