"""The bridge of one Celery application: its queues, its claims, and which tasks it tracks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from celery import Celery, Task

from stratix_kombu import forks
from stratix_kombu.application import Application
from stratix_kombu.celery.claims import Claims
from stratix_kombu.celery.compat import forget_pools, hears_of_success
from stratix_kombu.celery.greenlets import NativeLoop
from stratix_kombu.celery.later import PATIENCE_S
from stratix_kombu.celery.mirror import Mirror
from stratix_kombu.celery.publish import Publisher
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.errors import ConfigurationError, StaleClaim, Unavailable
from stratix_kombu.lifecycle.again import refused
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.claims import NO_BOUNDS, Bounds
from stratix_kombu.model.letter import NO_FALLBACK
from stratix_kombu.model.pauses import pause_s
from stratix_kombu.model.record import Change

if TYPE_CHECKING:
    from stratix_kombu.queue.manager import QueueManager

logger = logging.getLogger("stratix_kombu.celery")

Result = TypeVar("Result")


class Bridge:
    """One for each Celery application; made by ``install``."""

    def __init__(
        self, celery: Celery, application: Application, mirror: bool = False, exclude: Sequence[str] = ()
    ) -> None:
        self._exclude = tuple(exclude)
        self.celery = celery
        self.application = application
        self.publisher = Publisher(self)
        self.claims = Claims(self)
        self.loop = self.claims.loop
        """Where the coroutines of tasks run in this process."""
        self.native_loop = NativeLoop()
        """The same where threads are greenlets."""
        self.mirror = Mirror(self, mirror)
        self.sends_plainly = False
        """Whether what the application sends by itself is sent as Celery alone sends it."""
        self.previous_backend_cls = celery.backend_cls
        self._previous_backend: Any = None
        self._heard: dict[str, bool] = {}
        """By name of a task: whether something is called when it has succeeded."""
        forks.register(self)

    def after_fork(self) -> None:
        self._previous_backend = None
        forget_pools(self.celery)

    def leaves_out(self, name: str) -> bool:
        """Whether tasks of that name are not tracked: they were excluded by name, opted out (``stratix=False``), or
        have a strategy of their own, which runs them in a way of its own."""
        if any(fnmatchcase(name, pattern) for pattern in self._exclude):
            return True
        task = self.task(name)
        return task is not None and leaves_out(task)

    def task(self, name: str) -> Any:
        """The task of that name, None if there is none here. A process that only sends tasks may not have finalized its
        application yet: then that is done now, since tasks are not registered before. Some are to be finalized by
        their program alone."""
        if not (self.celery.finalized or self.celery.autofinalize):
            return None
        return self.celery.tasks.get(name)

    def is_heard(self, task: Any) -> bool:
        """Whether the project has something called when a task has succeeded: it may look for the result then."""
        known = self._heard.get(task.name)
        if known is None:
            of_its_own = task.Request != Task.Request  # has an ``on_success``, perhaps
            known = self._heard[task.name] = of_its_own or hears_of_success(task)
        return known

    def explain(self, name: str) -> str:
        """What is meant, perhaps, by a job that has the name of a task."""
        if name not in self.celery.tasks:
            return ""
        return f"{name!r} is a Celery task: queue.add(task, ...) with the task itself, or send_task"

    @property
    def queue(self) -> QueueManager:
        return self.application.queue

    @property
    def engine(self) -> Engine:
        return self.queue.engine

    @property
    def driver(self) -> KombuDriver:
        driver = self.engine.driver
        if not isinstance(driver, KombuDriver):
            raise ConfigurationError("the bridge needs a driver on a Kombu transport")
        return driver

    @property
    def lease_ms(self) -> int:
        return self.queue.settings.worker.lease_duration

    def bounds(self, queue: str) -> Bounds:
        """How jobs of a queue may start, if it has options."""
        known = self.queue.known(queue)
        return known.bounds if known is not None else NO_BOUNDS

    def task_bounds(self, queue: str) -> Bounds:
        """The same for tasks, which leave no dead letters: Celery has error callbacks for failed tasks."""
        return replace(self.bounds(queue), fallback=NO_FALLBACK)

    @cached_property
    def previous_backend_kind(self) -> tuple[type, str] | None:
        """The class and the URL of the result backend of the configuration; None if it has none. (To make one, some
        connect to their server.)"""
        from celery.app.backends import by_url

        cls, url = by_url(self.previous_backend_cls or self.celery.conf.result_backend, self.celery.loader)
        own = cls.__name__ in ("DisabledBackend", "StratixBackend")  # "stratix://" is the bridge's own
        return None if own else (cls, url)

    @property
    def previous_backend(self) -> Any:
        """That backend, for producers that do not have the bridge; None if there is none."""
        if self._previous_backend is None and self.previous_backend_kind is not None:
            cls, url = self.previous_backend_kind
            self._previous_backend = cls(app=self.celery, url=url)
        return self._previous_backend

    def patiently(self, queue: str, step: Callable[[], Result]) -> Result:
        """Make a step of the store, repeating it while the store is unreachable. Raises Unavailable after five
        minutes."""
        return self._try(queue, step)[0]

    def _try(self, queue: str, step: Callable[[], Result]) -> tuple[Result, int]:
        """The answer, and how often the store did not answer."""
        tries = 0
        waited = 0.0
        while True:
            try:
                answer = step()
                self.engine.reached(queue, "settle_failed")
                return answer, tries
            except Unavailable as error:
                self.engine.report(queue, error, "settle_failed")
                if waited >= PATIENCE_S:
                    raise
                pause = pause_s(tries)
                self.claims.pause(pause)
                waited += pause
                tries += 1

    def settle(self, job_id: str, queue: str, step: Callable[[], Change]) -> bool:
        """Store an outcome as ``patiently`` does; whether it was accepted. Tells if it was not, for then the lease had
        been lost."""
        change, tries = self._try(queue, step)
        if not self.patiently(queue, lambda: refused(self.engine, change.stale, tries > 0)):
            return True
        self.engine.report(queue, StaleClaim(job_id), "stale_claim")
        return False


def leaves_out(task: Any) -> bool:
    """Whether a task opts out of tracking itself."""
    return getattr(task, "stratix", None) is False or task.Strategy != Task.Strategy


def bridge_of(celery: Celery) -> Bridge | None:
    """The bridge of an application, if it has one."""
    bridge: Bridge | None = getattr(celery, "stratix_bridge", None)
    return bridge


def bridge_in_worker(celery: Celery) -> Bridge | None:
    """The same in a process that runs tasks, and for the commands: if these alone were to have it, they have it now."""
    install: Callable[[], object] | None = vars(celery).pop("stratix_in_workers", None)
    if install is not None:
        install()
    return bridge_of(celery)
