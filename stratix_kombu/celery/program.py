"""The program that runs a Celery application's tasks in our own worker: what Celery's worker does around its pool."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from celery import Celery, Task, signals
from celery.apps.worker import install_rdb_handler
from celery.exceptions import SecurityError
from celery.platforms import check_privileges
from celery.utils.log import get_logger
from celery.utils.nodenames import default_nodename, host_format, nodename, nodesplit

from stratix_kombu.celery.bridge import bridge_in_worker
from stratix_kombu.celery.compat import prepare_tracing
from stratix_kombu.celery.hosted import HostedTasks
from stratix_kombu.celery.on_loop import loop_tracers
from stratix_kombu.celery.remote import NO_RATE_LIMIT, Remote
from stratix_kombu.celery.sandbox_options import is_sandboxed, options_of, source_of_tasks
from stratix_kombu.config.options import ProcessorOptions
from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.queue.queue import Queue
from stratix_kombu.signals import StopSignals
from stratix_kombu.worker.sandbox.source import Source
from stratix_kombu.worker.worker import Worker

logger = logging.getLogger("stratix_kombu.celery")

REPLACED = 79
"""Exit code of a process that is to be replaced by another one at once."""
RETIRE = getattr(signal, "SIGHUP", signal.SIGTERM)
"""What such a process sends itself: if SIGTERM comes while it ends, that is not a second signal, which would end it at
once."""
STORING_S = 5.0
"""How long a process that is to end tries to store the outcomes of earlier tasks."""


class Quota:
    """How many tasks a process runs, and how much memory it may use. Then it ends, as by SIGTERM, and its supervisor
    starts another one."""

    def __init__(self, tasks: int = 0, memory_kb: int = 0) -> None:
        self._tasks = tasks
        self._memory_kb = memory_kb
        self._done = 0
        self._lock = threading.Lock()
        self.reached = False

    def count(self) -> bool:
        """A task has ended; return whether the process is to end for it: True once."""
        if not (self._tasks or self._memory_kb):
            return False
        with self._lock:
            self._done += 1
            if self.reached or not self._is_used_up():
                return False
            self.reached = True
        return True

    def _is_used_up(self) -> bool:
        if self._tasks and self._done >= self._tasks:
            return True
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # In kilobytes, but on macOS.
        return bool(self._memory_kb) and (most // 1024 if sys.platform == "darwin" else most) >= self._memory_kb


class TaskWorker:
    """One process. Sender of the signals of Celery's worker."""

    pool_cls = "stratix_kombu"
    """What Celery's fix-up for Django asks of a worker: whether its pool is prefork."""

    def __init__(
        self,
        app: Celery,
        names: Sequence[str] | None = None,
        concurrency: int | None = None,
        hostname: str | None = None,
        number: int = 0,
    ) -> None:
        """``number``: which process it is of several, each with a name of its own; 0 = the only one."""
        bridge = bridge_in_worker(app)
        if bridge is None:
            raise ConfigurationError(f"the Celery application {app.main!r} does not have the bridge")
        self.app = app
        self.hostname = node_name(hostname, number)
        self._bridge = bridge
        app.loader.init_worker()
        signals.celeryd_init.send(sender=self.hostname, instance=self, conf=app.conf, options={})
        app.finalize()
        self.concurrency = concurrency or _configured(app.conf.worker_concurrency) or os.cpu_count() or 1
        self.queues = {name: self._queue(name) for name in self._chosen(names)}
        """Those that it consumes."""
        self.totals: Counter[str] = Counter()
        """Tasks that have ended, by name."""
        self.began = time.monotonic()
        self.ends_processes = False
        """Whether a process may end in order to end its task: there is no other one in it, and it is supervised."""
        self.tracers: dict[str, Callable[..., Any]] = {}
        """By name: of the ``async def`` tasks whose coroutines run on the loop, with others."""
        self.sandboxed: dict[str, Source] = {}
        """By name: the tasks that run in sandboxes."""
        self.remote = Remote(self)
        self._quota = Quota()

    @property
    def application(self) -> Any:
        return self._bridge.application

    @property
    def soft_shutdown_s(self) -> float:
        """How long running tasks go on when they are not waited for."""
        return float(self.app.conf.worker_soft_shutdown_timeout or 0)

    def end_process(self) -> NoReturn:
        """End this process at once, for its only task exceeds its time: outcomes of earlier ones are stored before."""
        deadline = time.monotonic() + STORING_S
        while sum(one.active for one in self._workers()) > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        os._exit(REPLACED)

    @property
    def done(self) -> int:
        """How many tasks have ended."""
        return sum(self.totals.values())

    def ended(self, name: str) -> None:
        """A task of that name has ended."""
        self.totals[name] += 1
        if self._quota.count():
            for worker in self._workers():
                worker.stop_taking()  # the main thread may take a while to notice the signal
            os.kill(os.getpid(), RETIRE)

    def _workers(self) -> list[Worker]:
        found = [queue.local.worker for queue in self.queues.values()]
        return [worker for worker in found if worker is not None]

    def _chosen(self, names: Sequence[str] | None) -> list[str]:
        """Those that were named; else those that Celery's worker would consume, and those that have handlers. Raises
        ConfigurationError for a name that the application does not know, unless it makes missing queues."""
        known, queues = list(self.app.amqp.queues), self.application.queue.get_all_queues()
        known += [one.name for one in queues if one.handler_names and one.name not in known]
        for name in names or ():
            if name not in known and not self.app.conf.task_create_missing_queues:
                raise ConfigurationError(f"the application has no queue {name!r}{nearest(name, known)}")
        if names is not None:
            self.app.amqp.queues.select(names)
        return list(names if names is not None else known)

    def _queue(self, name: str) -> Queue:
        queue: Queue = self.application.queue.get_queue(name)
        queue.concurrency = self.concurrency
        return queue

    def refusal(self) -> str:
        """Why Celery's worker would not run here: root reads no pickles. Warns of root otherwise."""
        try:
            check_privileges(self.app.conf.accept_content)
        except SecurityError as problem:
            return str(problem).strip()
        return ""

    def set_up_logging(self, level: str | None, configure: Callable[[], None]) -> None:
        """Call the project's receivers of ``setup_logging``, and ``configure``, which keeps what they have set up; if
        there are none, those that add to what Celery's worker sets up itself. Raises what the former raise."""
        about = {"loglevel": getattr(logging, (level or "info").upper()), "logfile": None, "colorize": False}
        conf = self.app.conf
        answers = signals.setup_logging.send(sender=None, format=conf.worker_log_format, **about)
        for _, answer in answers:
            if isinstance(answer, Exception):
                raise answer
        configure()
        if not answers:
            root, tasks = logging.getLogger(), get_logger("celery.task")
            if all(isinstance(one, logging.NullHandler) for one in tasks.handlers):
                # As with Celery's worker, what is added to both of them is called once.
                tasks.handlers, tasks.propagate = list(root.handlers), False
            signals.after_setup_logger.send(sender=None, logger=root, format=conf.worker_log_format, **about)
            signals.after_setup_task_logger.send(sender=None, logger=tasks, format=conf.worker_task_log_format, **about)

    def run(self, quota: Quota, stop: StopSignals, supervised: bool = False) -> None:
        """Run tasks and jobs until a signal, as ``Application.run``. If it is ``supervised``, the process may end at
        any time, and another one takes its place."""
        self.ends_processes = supervised and self.concurrency == 1 and len(self.queues) == 1
        self._quota = quota
        self._tell_what_is_not_done()
        prepare_tracing(self.app, self.hostname)
        self.tracers = loop_tracers(self.app, self.hostname)
        self.sandboxed = self._sandboxed()
        self._bridge.driver.brings_tasks = True
        self._bridge.loop = self.application.queue.loop
        self.application.queue.name_worker(f"{self.hostname}-{os.getpid()}")
        install_rdb_handler()  # where CELERY_RDBSIG asks for it
        with self._signals(stop):
            for name, queue in self.queues.items():
                queue.local.handlers.explain = self._bridge.explain
                queue.local.tasks = HostedTasks(self, self._bridge, name)
            self.application.run(queues=self.queues)

    def _sandboxed(self) -> dict[str, Source]:
        """Raises ConfigurationError for options that cannot be, and for a store that no other process sees."""
        tasks = [task for task in self.app.tasks.values() if is_sandboxed(task)]
        for task in tasks:
            options_of(task, ProcessorOptions())
            if not self.application.queue.shared:
                raise ConfigurationError(f"task {task.name!r} cannot run in a sandbox, which does not see this store")
        return {task.name: source_of_tasks(self.app, self.hostname) for task in tasks}

    @contextmanager
    def _signals(self, stop: StopSignals) -> Iterator[None]:
        signals.worker_init.send(sender=self)
        signals.celeryd_after_setup.send(sender=self.hostname, instance=self, conf=self.app.conf)
        for name in self.app.amqp.queues.consume_from:  # more by now, perhaps
            if name not in self.queues:
                self.queues[name] = self._queue(name)
        signals.worker_process_init.send(sender=None)
        self.application.hook("before_start", self._get_ready)
        self.application.hook("before_close", lambda: self._tell_shutting_down(stop))
        try:
            yield
        finally:
            self.remote.stop()
            self._delete_its_own()
            signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
            signals.worker_shutdown.send(sender=self)

    def _tell_shutting_down(self, stop: StopSignals) -> None:
        sig = signal.Signals(stop.number or signal.SIGTERM).name
        how = "Cold" if sig == "SIGQUIT" else "Warm"
        signals.worker_shutting_down.send(sender=self.hostname, sig=sig, how=how, exitcode=0)

    def _get_ready(self) -> None:
        """As Celery's worker does, before the first task: what a project prepares in ``worker_ready`` is at hand, and
        its exchanges lead to the queues."""
        self.application.queue.reach()
        for name in self.queues:
            self._bridge.driver.declare(name)
        self.remote.start()
        signals.worker_ready.send(sender=self)

    def _delete_its_own(self) -> None:
        """Queues of this worker alone get messages for as long as they are there: its copies of a broadcast."""
        known = self.app.amqp.queues
        own = [known[name] for name in self.queues if name in known and known[name].auto_delete]
        if own:
            with self.app.connection_for_write() as link, suppress(*link.connection_errors, *link.channel_errors):
                for queue in own:
                    queue(link.default_channel).delete()

    def _tell_what_is_not_done(self) -> None:
        """What Celery's threads do not do either, and what only its own worker does."""
        for what, names in not_done(self.app).items():
            some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            logger.warning("%s: %s", what, some, extra={"action": "not_done"})


def node_name(given: str | None, number: int) -> str:
    """The name of a worker, with Celery's abbreviations (``%h``, ``%n``, ``%d``)."""
    name = str(host_format(default_nodename(given or f"stratix@{socket.gethostname()}")))
    first, host = nodesplit(name)
    return str(nodename(f"{first}-{number}", host)) if number else name


def _configured(concurrency: Any) -> int:
    return int(concurrency) if str(concurrency or "").isdigit() else 0


def _name_of(step: Any) -> str:
    """Of a bootstep, which may be given by its name."""
    return step if isinstance(step, str) else f"{step.__module__}.{step.__qualname__}"


def not_done(app: Celery) -> dict[str, list[str]]:
    """What tasks of the application ask for that this worker does not do, and which they are."""
    conf, found = app.conf, dict[str, list[str]]()
    steps = [step for one in app.steps.values() for step in one]
    if own := sorted(name for step in steps if not (name := _name_of(step)).startswith("stratix_kombu.")):
        found["bootsteps need 'celery worker': here they do nothing"] = own
    for name, task in sorted(app.tasks.items()):
        if name.startswith(("celery.", "stratix.")):
            continue
        if task.rate_limit or conf.task_default_rate_limit:
            found.setdefault(NO_RATE_LIMIT, []).append(name)
        if task.Strategy != Task.Strategy:
            found.setdefault("tasks with a Strategy of their own need 'celery worker'", []).append(name)
    return found
