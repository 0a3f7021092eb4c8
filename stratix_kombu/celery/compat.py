"""Everything private of Celery that the bridge touches; each has a tripwire test on what it looks like upstream.

* ``_chord.run`` and ``group.apply_async`` are wrapped, so that all messages of one canvas become one batch of jobs.
* ``_chain.run`` leaves the id of the last task in the chain's options, where the next call of the same chain finds it.
* Kombu's SQS channel polls from Celery's event loop: ``_get_from_sqs`` is wrapped, because a poll that fails would be
the worker's last one.
* ``backend._call_task_errbacks`` calls some errbacks and sends the others; ``_errback_arity_greater`` decides which.
* ``app._pool`` and ``app.amqp._producer_pool`` hold connections that a forked child must not use.
* ``app.__reduce_keys__`` says what a spawned child of the pool is to know of the configuration.
* ``_regen`` is what Celery makes of a generator of tasks, and ``_regen__it`` what it takes them from.
* ``result.get()`` reads each parent, to see whether it has failed (``_maybe_reraise_parent_error``, ``_parents``). It
  is wrapped, so that they are looked at together. What has been read is in a result's ``_cache``.
* ``celery purge`` empties the broker's queues by itself: the callback of its command is wrapped.
* Our own worker runs tasks by ``celery.app.trace``: ``build_tracer``, ``setup_worker_optimizations``; a task's tracer
  is its ``__trace__``. ``_set_task_join_will_block`` has ``result.get()`` within a task refused; ``celery.result``
  has it by name, and gets another one. For coroutines the tracer is made while nobody hears of ``task_prerun``;
  ``_task_stack`` and the tasks' ``request_stack`` keep what runs in their ``_local``.
* ``app._backend_cache`` and ``app._local`` hold a backend that was used before the bridge was installed.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from celery import Celery, group, result, signals
from celery._state import _set_task_join_will_block, _task_stack, task_join_will_block
from celery.app import trace
from celery.app.task import Context
from celery.canvas import _chain, _chord
from celery.exceptions import NotRegistered
from celery.result import AsyncResult, ResultSet
from celery.utils.functional import _regen, regen
from celery.utils.threads import _LocalStack
from click import get_current_context
from kombu import pools
from vine import barrier

from stratix_kombu.celery.importable import where_is

logger = logging.getLogger("stratix_kombu.celery")

POLL_AGAIN_S = 1.0
CELERY_HEADERS = frozenset({*vars(Context), "lang", "task", "argsrepr", "kwargsrepr", "compression"})
"""Headers of a message that are not in ``request.headers``: see ``Context._get_custom_headers``."""
Scope = Callable[[Any], AbstractContextManager[Any]]
"""Returns the batch for a group or chord, or a no-op for one of an application without the bridge."""


def batch_canvas(scope: Scope) -> None:
    """Have groups and chords of every application publish within ``scope(canvas)``; once a process."""
    _wrap(group, "apply_async", lambda original: _within(original, scope))
    _wrap(_chord, "run", lambda original: _within(_streamed(original), scope))
    _wrap(_chain, "run", _with_an_id_of_its_own)


def _wrap(owner: Any, name: str, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Have an attribute of Celery's or Kombu's wrapped; once a process."""
    original = getattr(owner, name)
    if not hasattr(original, "stratix_original"):
        wrapper = functools.wraps(original)(wrapped(original))
        wrapper.stratix_original = original  # type: ignore[attr-defined]
        setattr(owner, name, wrapper)


def _with_an_id_of_its_own(original: Callable[..., Any]) -> Callable[..., Any]:
    """Celery gives the last task of a chain that is sent several times the same id each time. Jobs are known by their
    ids: unless the caller has chosen one, each time has its own."""

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        chosen = "task_id" in self.options
        try:
            return original(self, *args, **kwargs)
        finally:
            if not chosen and hasattr(self.app, "stratix_bridge"):
                self.options.pop("task_id", None)

    return run


class Streamed(list[Any]):
    """The results of a header that a generator makes: each is there as soon as its task has been made."""

    def __init__(self, header: Any, frozen: Any) -> None:
        super().__init__()
        tasks, results = header.tasks._regen__it, frozen._regen__it
        header.tasks = self._tasks = regen(self._one_by_one(tasks, results))

    def _one_by_one(self, tasks: Iterable[Any], results: Iterator[Any]) -> Iterator[Any]:
        """A task is frozen before it is copied and sent, so that its result has its id. (Celery alone does not look at
        these results.)"""
        for task in tasks:
            if not (isinstance(task, _chain) and not task.tasks):  # those are left out
                result = next(results)
                self.extend(result.results if isinstance(task, group) else [result])  # a group is unrolled
            yield task

    def whole(self) -> list[Any]:
        """All results; tasks that have not been made yet are made now."""
        list(self._tasks)
        return self


def _streamed(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(self: Any, header: Any, *args: Any, **kwargs: Any) -> Any:
        if not (hasattr(self.app, "stratix_bridge") and isinstance(header, group)):
            return original(self, header, *args, **kwargs)
        freeze = header._freeze_group_tasks

        def freeze_one_by_one(*ids: Any, **options: Any) -> Any:
            group_id, results = freeze(*ids, **options)
            return group_id, Streamed(header, results) if isinstance(results, _regen) else results

        header._freeze_group_tasks = freeze_one_by_one
        return original(self, header, *args, **kwargs)

    return run


def _within(original: Callable[..., Any], scope: Scope) -> Callable[..., Any]:
    def batched(self: Any, *args: Any, **kwargs: Any) -> Any:
        with scope(self):
            return original(self, *args, **kwargs)

    return batched


def keep_polling(channel: Any) -> None:
    """Have an SQS channel class poll again after a poll that failed: a status 500, a broken connection, a rejected
    request. Kombu 5.7 logs the error and stops polling, while the worker seems healthy."""

    def polling(original: Callable[..., Any]) -> Callable[..., Any]:
        def get_from_sqs(self: Any, *args: Any, callback: Any = None, **kwargs: Any) -> Any:
            def failed(filter_: Any, poll_again: Any, *rest: Any) -> None:
                logger.warning("a poll of SQS failed: %r", rest[-1], extra={"action": "poll_failed"})
                self.hub.call_later(POLL_AGAIN_S, poll_again)

            callback.on_error = failed
            return original(self, *args, callback=callback, **kwargs)

        return get_from_sqs

    _wrap(channel, "_get_from_sqs", polling)


def forget_pools(app: Celery) -> None:
    """In a forked child: make new connections and producers with the next use. Those of the parent are left alone, for
    Kombu would end them with a ``shutdown``, which ends the parent's connection too."""
    for group_of_pools in (pools.connections, pools.producers):
        for pool in list(group_of_pools.values()):
            pool._closed = True
        group_of_pools.clear()
    app._pool = None
    if "amqp" in app.__dict__:
        app.amqp._producer_pool = None


def pickle_by_name(app: Celery, rebuild: Callable[..., Celery], more: Callable[[], tuple[Any, ...]]) -> None:
    """Have the application pickled as the name it is imported by, with what the command line has changed in its
    configuration. That is how it reaches a spawned child of the pool: Celery would rebuild it from its parts, without
    the bridge and the handlers of its jobs. There ``rebuild(application, *more())`` has the last word."""

    def reduce(protocol: object) -> tuple[Any, ...]:
        module, name = where_is(app)
        return _by_name, (module, name, app.__reduce_keys__()["changes"], rebuild, more())

    app.__reduce_ex__ = reduce


def _by_name(module: str, name: str, changes: Any, rebuild: Callable[..., Celery], more: tuple[Any, ...]) -> Celery:
    app: Celery = getattr(import_module(module), name)
    app.conf.update(changes)
    return rebuild(app, *more)


def forget_backend(app: Celery) -> None:
    """Drop a backend that the application has made already: the next use makes one of the class set now."""
    app._backend_cache = None
    if hasattr(app._local, "backend"):
        del app._local.backend


def errbacks_of(backend: Any, request: Any) -> tuple[list[Any], list[Any]]:
    """The errbacks of a request: those that Celery calls where the task has failed, with its request, the error and the
    traceback; and those that it sends as tasks, with an id."""
    called, sent = list[Any](), list[Any]()
    for errback in request.errbacks or ():
        signature = backend.app.signature(errback)
        try:
            header = getattr(signature.type, "__header__", None)
        except NotRegistered:  # another worker may have it
            header = None
        bound = header is None or isinstance(header, functools.partial)
        (sent if bound or not backend._errback_arity_greater(signature, 1) else called).append(errback)
    return called, sent


def call_errbacks(backend: Any, request: Any, errbacks: list[Any], error: BaseException, traceback: Any) -> None:
    """Call or send these errbacks of a request."""
    if errbacks:
        backend._call_task_errbacks(Context(vars(request), errbacks=errbacks), error, traceback)


def look_at_parents_together() -> None:
    """Have ``result.get()`` ask a backend once, by ``harmless(results)``, which of a result's parents have not failed,
    and read only the others, and those whose end somebody waits for by ``then``; once a process."""
    _wrap(AsyncResult, "_maybe_reraise_parent_error", _looking_together)


def _looking_together(original: Callable[..., Any]) -> Callable[..., Any]:
    def reraise(self: Any) -> None:
        backend = self.backend
        if not hasattr(backend, "harmless"):
            original(self)
            return
        leaves = [leaf for parent in reversed(list(self._parents())) for leaf in _leaves_of(parent)]
        unread = [one for one in leaves if one._cache is None and one.backend is backend and not _is_heard(one)]
        harmless = set(map(id, backend.harmless(unread)))
        for one in leaves:
            if id(one) not in harmless:
                one.maybe_throw()

    return reraise


def _leaves_of(result: Any) -> Iterator[Any]:
    """The results of tasks in a result, or in a group of them."""
    if not isinstance(result, ResultSet):
        yield result
        return
    for one in result.results:
        yield from _leaves_of(one)


def _is_heard(result: Any) -> bool:
    """Whether somebody is to be called when it has been read; a group's barrier has nobody to call."""
    return any(one is not None and not isinstance(one, barrier) for one in result.on_ready.listeners)


def purge_jobs_too(purge_jobs: Callable[[Any, list[str]], None]) -> None:
    """Have ``celery purge`` call ``purge_jobs(app, queues)`` at its end; once a process."""
    module = sys.modules.get("celery.bin.purge")
    command = getattr(module, "purge", None)

    def purging(original: Callable[..., Any]) -> Callable[..., Any]:
        def purge(*args: Any, queues: Any = None, exclude_queues: Any = None, **kwargs: Any) -> None:
            original(*args, queues=queues, exclude_queues=exclude_queues, **kwargs)
            app = get_current_context().obj.app
            names = set(queues or app.amqp.queues.keys()) - set(exclude_queues or ())
            purge_jobs(app, sorted(names))

        return purge

    if command is not None:
        _wrap(command, "callback", purging)


def prepare_tracing(app: Celery, hostname: str) -> None:
    """What Celery's worker does before it runs tasks: the application is the current one of all threads, and each task
    has its tracer."""
    trace.setup_worker_optimizations(app, hostname)
    _set_task_join_will_block(True)
    for task in app.tasks.values():
        task.__trace__ = None
    keep_refusals_in_context()


def keep_refusals_in_context() -> None:
    """Have ``allow_join_result`` allow ``result.get()`` to the task alone that says so. Celery has one flag for the
    whole process: with tasks in threads, the first one to leave that block has it refused to the others, which are
    still within theirs. https://github.com/celery/celery/issues/3189"""
    result._set_task_join_will_block = lambda blocks: _refused.set(None if blocks == task_join_will_block() else blocks)
    result.task_join_will_block = lambda: task_join_will_block() if (own := _refused.get()) is None else own


_refused: ContextVar[bool | None] = ContextVar("stratix_refused", default=None)
"""Whether ``result.get()`` is refused here; None for what holds for the process."""


def tracer_of(app: Celery, task: Any, hostname: str) -> Callable[..., Any]:
    """Celery's tracer for a task, made with its first run."""
    tracer: Callable[..., Any] | None = task.__trace__
    if tracer is None:
        tracer = task.__trace__ = trace.build_tracer(task.name, task, app.loader, hostname, app=app)
    return tracer


began: ContextVar[float] = ContextVar("stratix_began", default=0.0)
"""When the task that is traced has begun, on the clock of ``time.monotonic``; read once."""


def tracer_of_ended(app: Celery, task: Any, hostname: str) -> Callable[..., Any]:
    """A tracer for a task that has run already: it does what comes after it. To be made before any task runs."""
    quiet = SimpleNamespace(on_task_init=lambda *_: None, on_process_cleanup=app.loader.on_process_cleanup)
    prerun, receivers = signals.task_prerun, signals.task_prerun.receivers
    prerun.receivers = []
    try:
        tracer: Callable[..., Any] = trace.build_tracer(
            task.name, task, quiet, hostname, app=app, monotonic=_since_it_began
        )
    finally:
        prerun.receivers = receivers
    return tracer


def _since_it_began() -> float:
    at = began.get()
    if not at:
        return time.monotonic()
    began.set(0.0)
    return at


class _InContext:
    """Where a stack of Celery's keeps what is on it: by context, so that coroutines, and those that they start, do not
    see each other's; threads have contexts of their own."""

    def __init__(self) -> None:
        self._var: ContextVar[list[Any] | None] = ContextVar("stratix_stack", default=None)

    @property
    def stack(self) -> list[Any]:
        found = self._var.get()
        if found is None:
            raise AttributeError("stack")
        return found

    @stack.setter
    def stack(self, value: list[Any]) -> None:
        self._var.set(value)

    def __release_local__(self) -> None:
        self._var.set(None)


def keep_requests_in_context(tasks: Iterable[Any]) -> bool:
    """Have the current task, and the requests of these tasks, kept by context instead of by thread; False if Celery has
    other stacks here (``USE_FAST_LOCALS``). To be called before any of them runs; a task that runs in this thread stays
    the current one."""
    stacks = [_task_stack, *(task.request_stack for task in tasks)]
    if not all(isinstance(stack, _LocalStack) for stack in stacks):
        return False
    for stack in stacks:
        if not isinstance(stack._local, _InContext):
            before, stack._local = list(stack.stack), _InContext()
            for one in before:
                stack.push(one)
    return True


def push_request(task: Any, context: Any) -> None:
    """From now on it is the current request of this thread."""
    _task_stack.push(task)
    task.request_stack.push(context)


def pop_request(task: Any) -> None:
    """It is no longer."""
    task.request_stack.pop()
    _task_stack.pop()


def within_the_task_of_this_thread(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call, for another thread: what it publishes there is a child of the task that runs here, if one does."""
    task = _task_stack.top
    if task is None:
        return call
    context = task.request_stack.top

    def within() -> Any:
        push_request(task, context)
        try:
            return call()
        finally:
            pop_request(task)

    return within


def hears_of_success(task: Any) -> bool:
    """Whether the project has something called when the task has succeeded: Celery's own receivers, those of its Django
    fix-up, look for no result."""
    receivers = (*signals.task_success.receivers, *signals.task_postrun.receivers)
    own = [ref() if isinstance(ref, weakref.ref) else ref for _, ref in receivers]
    if any(one is not None and not str(getattr(one, "__module__", "")).startswith("celery.") for one in own):
        return True
    return any(trace.task_has_custom(task, one) for one in ("on_success", "after_return"))
