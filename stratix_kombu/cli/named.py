"""Queues that a command names. A name of which nothing is known is probably a typing error, and yet it may be meant: a
queue can be paused before its first job."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stratix_kombu.cli.logs import say
from stratix_kombu.cli.lookup import FEW
from stratix_kombu.errors import nearest
from stratix_kombu.hints import NO_OTHERS, hint_for

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.queue import Queue


def queues_named(app: Application, names: Iterable[str]) -> list[Queue]:
    """The queues of these names; what is said of an unknown one goes to stderr, before anything is done."""
    configured = {*app.queue.settings.queues, *(queue.name for queue in app.queue.get_all_queues())}
    queues = [app.queue.get_queue(name) for name in names]
    if unknown := [queue.name for queue in queues if queue.name not in configured]:
        repeated = {one.queue_name for one in app.queue.get_repeatable_jobs()}
        known = configured | repeated | {*app.queue.get_queue_names()}
        for name in unknown:
            if name not in known:
                near = nearest(name, known) if len(known) <= FEW else hint_for(name, known, NO_OTHERS)
                say(f"note: nothing is known of a queue {name!r}: no job, no worker, no setting{near}")
    return queues


def queue_named(app: Application, name: str) -> Queue:
    """One queue, as ``queues_named``."""
    (queue,) = queues_named(app, [name])
    return queue


def chosen_queues(app: Application, names: Iterable[str]) -> list[Queue]:
    """The queues of these names, or all."""
    chosen = list(names)
    return queues_named(app, chosen) if chosen else [app.queue.get_queue(name) for name in app.queue.get_queue_names()]
