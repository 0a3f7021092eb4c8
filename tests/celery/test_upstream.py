"""Tripwires: what of Celery is not public and yet touched must look as it did, or these fail before users do."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator
from contextvars import copy_context

import celery
import pytest
from celery import Celery, Task, _state, group, result
from celery.app import trace
from celery.app.autoretry import add_autoretry_behaviour
from celery.app.task import Context
from celery.backends.base import BaseBackend
from celery.canvas import _chain, _chord
from celery.concurrency import asynpool
from celery.result import AsyncResult, ResultSet
from celery.utils.functional import _regen
from celery.utils.threads import _LocalStack
from celery.worker.consumer import Consumer, Tasks
from celery.worker.control import Panel, query_task, scheduled
from kombu.transport import redis as redis_transport
from kombu.transport.SQS import Channel
from vine import transform

from stratix_kombu.celery import compat
from stratix_kombu.errors import ConfigurationError
from tests.celery.project import make_app


def original(function: object) -> object:
    return getattr(function, "stratix_original", function)


def test_the_versions_that_were_read() -> None:
    assert celery.__version__.startswith("5.7.")


def test_chords_run_and_groups_apply_as_they_did() -> None:
    run = inspect.signature(original(_chord.run))  # type: ignore[arg-type]
    assert list(run.parameters)[:4] == ["self", "header", "body", "partial_args"]
    apply = inspect.signature(original(group.apply_async))  # type: ignore[arg-type]
    assert list(apply.parameters)[:3] == ["self", "args", "kwargs"]
    source = inspect.getsource(original(_chord.run))  # type: ignore[arg-type]
    assert source.index("backend.apply_chord(") < source.index("header.apply_async(")


def test_a_chain_leaves_the_id_of_its_last_task_in_its_options() -> None:
    assert "self.id = results[0].id" in inspect.getsource(_chain.prepare_steps)
    options = list(inspect.signature(original(_chain.run)).parameters)  # type: ignore[arg-type]
    assert {"task_id", "app"} <= set(options)
    for app, kept in ((Celery("up", broker="memory://", set_as_current=False), True), (spawned_app, False)):
        row = app.signature("any.task") | app.signature("any.task")
        row.apply_async()
        assert ("task_id" in row.options) is kept


def test_the_tasks_of_a_generator_are_made_one_by_one() -> None:
    app, made = Celery("up", broker="memory://", set_as_current=False), []

    def tasks() -> Iterator[object]:
        for number in range(9):
            made.append(number)
            yield app.signature("any.task", (number,))

    header = group(tasks(), app=app)
    _, frozen = header._freeze_group_tasks(group_id="g")
    assert isinstance(frozen, _regen)
    assert isinstance(header.tasks, _regen)
    results = compat.Streamed(header, frozen)
    first = next(iter(header.tasks))
    assert results[0].id == first.id
    assert len(made) < 9
    assert [one.id for one in results.whole()] == [one.id for one in header.tasks]


def test_which_errbacks_are_called_and_which_are_sent() -> None:
    app = make_app("memory://", "cache+memory://", "up", bridge=False)
    signatures = [app.tasks[f"proj.{one}"].s("path") for one in ("on_error", "on_error_id", "note")]
    signatures.append(app.signature("unknown.task"))
    called, sent = compat.errbacks_of(app.backend, Context(errbacks=signatures))
    assert [one.task for one in called] == ["proj.on_error", "proj.note"]
    assert [one.task for one in sent] == ["proj.on_error_id", "unknown.task"]
    source = inspect.getsource(BaseBackend._call_task_errbacks)
    for known in (
        "hasattr(errback.type, '__header__')",
        "isinstance(errback.type.__header__, partial)",
        "self._errback_arity_greater(errback, 1)",
        "except NotRegistered",
    ):
        assert known in source


def test_workers_are_asked_over_a_table_of_commands() -> None:
    assert Panel.data["scheduled"] is Panel.data["dump_schedule"]
    assert original(Panel.data["scheduled"]) is scheduled
    assert list(inspect.signature(scheduled).parameters) == ["state", "kwargs"]
    assert list(inspect.signature(query_task).parameters) == ["state", "ids", "kwargs"]


def test_canvas_is_wrapped_once() -> None:
    make_app("memory://", "memory://", "up")
    first = group.apply_async
    compat.batch_canvas(lambda app: None)  # type: ignore[arg-type,return-value]
    assert group.apply_async is first


def test_a_result_looks_at_its_parents_one_by_one() -> None:
    make_app("memory://", "memory://", "up")
    source = inspect.getsource(original(AsyncResult._maybe_reraise_parent_error))  # type: ignore[arg-type]
    assert source.splitlines()[1:] == [
        "        for node in reversed(list(self._parents())):",
        "            node.maybe_throw()",
    ]
    assert "self._get_task_meta() if self._cache is None else self._cache" in inspect.getsource(AsyncResult.maybe_throw)
    assert "result.maybe_throw(" in inspect.getsource(ResultSet.maybe_throw)
    first = AsyncResult._maybe_reraise_parent_error
    compat.look_at_parents_together()
    assert AsyncResult._maybe_reraise_parent_error is first
    stock = Celery("up", broker="memory://", backend="cache+memory://", set_as_current=False)
    stock.backend.store_result("before", ValueError("no"), "FAILURE")
    with pytest.raises(ValueError, match="no"):
        stock.AsyncResult("after", parent=stock.AsyncResult("before")).get()


def test_a_backend_is_cached_where_it_was() -> None:
    app = Celery("up", broker="memory://", backend="cache+memory://", set_as_current=False)
    assert app.backend is app.backend
    assert app._backend_cache is not None or app._local.backend is app.backend
    compat.forget_backend(app)
    assert app._backend_cache is None
    assert not hasattr(app._local, "backend")


def test_errbacks_are_called_by_a_method_of_backends() -> None:
    parameters = inspect.signature(BaseBackend._call_task_errbacks).parameters
    assert list(parameters) == ["self", "request", "exc", "traceback"]


def test_a_chord_that_fails_calls_the_backend_of_its_body_for_what_follows() -> None:
    assert "backend._fail_chain(callback.options.get" in inspect.getsource(BaseBackend.chord_error_from_stack)
    parameters = inspect.signature(BaseBackend._fail_chain).parameters
    assert list(parameters)[:4] == ["self", "chain", "exc", "traceback"]


def test_the_seams_are_where_they_were() -> None:
    parameters = inspect.signature(Celery.send_task).parameters
    assert {"producer", "connection", "countdown", "eta", "chain", "chord", "group_id", "task_type"} <= set(parameters)
    assert list(inspect.signature(Task.before_start).parameters) == ["self", "task_id", "args", "kwargs"]
    assert list(inspect.signature(Task.on_replace).parameters) == ["self", "sig"]
    from celery.app import trace

    source = inspect.getsource(trace.build_tracer)
    assert source.index("task_before_start(uuid, args, kwargs)") < source.index("R = retval = fun(*args, **kwargs)")
    assert "task_has_custom(task, '__call__')" in source
    assert "task.request.callbacks" in source
    assert "task_request.chain" in source


def test_the_next_poll_of_sqs_hangs_on_the_callback_of_this_one() -> None:
    """``keep_polling`` gives that promise an ``on_error``; its arguments are a filter, what polls again, and more."""
    poll = inspect.signature(original(Channel._get_from_sqs))  # type: ignore[arg-type]
    assert list(poll.parameters)[1:] == ["queue_name", "queue_url", "connection", "count", "callback"]
    source = inspect.getsource(Channel._get_async)
    assert "callback=transform(\n                self._on_messages_ready, callback," in source
    assert "callback=promise(self._loop1, (queue,))" in inspect.getsource(Channel._schedule_queue)
    again: list[str] = []
    failed: list[object] = []
    answered = transform(lambda value: 1 / value, lambda: again.append("again"))
    answered.on_error = lambda filter_, poll_again, *rest: (poll_again(), failed.append(rest[-1]))
    answered(0)
    assert again == ["again"]
    assert isinstance(failed[0], ZeroDivisionError)


def test_a_channel_on_redis_asks_for_a_message_and_reads_the_answer_as_it_did() -> None:
    start = inspect.getsource(redis_transport.Channel._brpop_start)
    for one in (
        "self._queue_cycle.consume(len(self.active_queues))",
        "self._q_for_pri(queue, pri) for pri in self.priority_steps",
        "self._in_poll = self.client.connection",
        "self._brpop_sent_at = monotonic()",
        "self.client.connection.send_command(",
    ):
        assert one in start
    read = inspect.getsource(redis_transport.Channel._brpop_read)
    for one in (
        "self.client.parse_response(self.client.connection,",
        "self.client.connection.disconnect()",
        "rsplit(self.sep, 1)[0]",
        "self._queue_cycle.rotate(dest)",
        "self.connection._deliver(loads(bytes_to_str(item)), dest)",
        "raise Empty()",
        "self._in_poll = None",
        "self._flush_brpop_reauth()",
    ):
        assert one in read
    assert "'BRPOP': self._brpop_read" in inspect.getsource(redis_transport.Channel.__init__)
    assert "channel_qos.can_consume = MethodType(can_consume, channel_qos)" in inspect.getsource(Tasks.start)


def test_a_pool_that_stops_reads_its_children_as_it_did() -> None:
    stop = inspect.getsource(original(asynpool.ResultHandler.on_stop_not_started))  # type: ignore[arg-type]
    assert "while cache and outqueues and self._state != TERMINATE:" in stop
    assert "fileno_to_outq = self.fileno_to_outq" in stop
    flush = inspect.signature(asynpool.ResultHandler._flush_outqueue)
    assert list(flush.parameters) == ["self", "fd", "remove", "process_index", "on_state_change"]
    assert "return R, W, 0" in inspect.getsource(asynpool._select_imp)
    assert "job.discard()" in inspect.getsource(asynpool.AsynPool.flush)
    wait = inspect.getsource(asynpool.Worker._ensure_messages_consumed)
    assert "self.on_ready_counter.value >= completed" in wait


def test_celery_prefetches_less_after_a_reconnect_unless_configured_not_to() -> None:
    source = inspect.getsource(Consumer._restore_prefetch_count_after_connection_restart)
    assert "worker_enable_prefetch_count_reduction" in source
    assert not make_app("memory://", "memory://", "up").conf.worker_enable_prefetch_count_reduction


def test_a_pool_of_connections_is_forgotten() -> None:
    app = Celery("up", broker="memory://", set_as_current=False)
    first = app.producer_pool
    assert app._pool is first.connections
    assert app.amqp._producer_pool is first
    compat.forget_pools(app)
    assert first._closed
    first.force_close_all()  # what Celery's own hooks call after a fork: it leaves a closed one alone
    assert app.producer_pool is not first
    assert app.pool is not first.connections


def test_an_application_lists_what_was_changed_in_its_configuration() -> None:
    app = Celery("up", broker="memory://", set_as_current=False)
    app.conf.update(task_default_queue="other")
    assert app.__reduce_keys__()["changes"]["task_default_queue"] == "other"
    assert pickle.loads(pickle.dumps(spawned_app)) is spawned_app
    with pytest.raises(ConfigurationError, match="top level of a module"):
        pickle.dumps(make_app("memory://", "memory://", "up"))


spawned_app = make_app("memory://", "memory://", "up")


def test_tasks_are_traced_as_they_were() -> None:
    """Our own worker runs them by this."""
    given = list(inspect.signature(trace.build_tracer).parameters)
    assert given[:4] == ["name", "task", "loader", "hostname"]
    assert "app" in given
    assert list(inspect.signature(trace.setup_worker_optimizations).parameters) == ["app", "hostname"]
    assert list(inspect.signature(trace.task_has_custom).parameters) == ["task", "attr"]
    assert list(inspect.signature(_state._set_task_join_will_block).parameters) == ["blocks"]
    assert list(inspect.signature(_state.task_join_will_block).parameters) == []
    for block in (result.allow_join_result, result.denied_join_result):
        assert set(block.__wrapped__.__code__.co_names) >= {"task_join_will_block", "_set_task_join_will_block"}
    assert "task_join_will_block" in result.assert_will_not_block.__code__.co_names
    traced = inspect.getsource(trace.build_tracer)
    assert "def trace_task(uuid, args, kwargs, request=None):" in traced
    assert traced.index("task_before_start(uuid, args, kwargs)") < traced.index("fun(*args, **kwargs)")
    assert "return trace_ok_t(R, I, T, Rstr)" in traced


def test_coroutines_are_traced_when_they_have_ended() -> None:
    """By a tracer that nobody hears begin; what it finds on its stacks is that of the context."""
    traced = inspect.getsource(trace.build_tracer)
    assert "prerun_receivers = signals.task_prerun.receivers" in traced
    assert "time_start = monotonic()" in traced
    assert traced.count("monotonic()") == 2
    assert "loader_task_init = loader.on_task_init" in traced
    assert "loader_cleanup = loader.on_process_cleanup" in traced
    assert isinstance(_state._task_stack, _LocalStack)
    stack = _LocalStack()
    stack._local = compat._InContext()
    assert (stack.top, len(stack), stack.stack, stack.pop()) == (None, 0, [], None)
    contexts = copy_context(), copy_context()
    for number, context in enumerate(contexts):
        context.run(stack.push, number)
    assert [context.run(lambda: stack.top) for context in contexts] == [0, 1]
    assert [context.run(stack.pop) for context in contexts] == [0, 1]
    assert [context.run(lambda: stack.top) for context in contexts] == [None, None]


def test_custom_headers_are_those_that_a_request_finds() -> None:
    headers = {"task": "a", "lang": "py", "id": "1", "argsrepr": "()", "own": 1, "stamps": {}, "retries": 0}
    own = {key: value for key, value in headers.items() if key not in compat.CELERY_HEADERS}
    assert Context(headers).headers == own == {"own": 1}


def test_a_task_that_retries_by_itself_calls_its_function_by_name() -> None:
    """So that an ``async def`` function can be awaited within."""
    assert "return task._orig_run(*args, **kwargs)" in inspect.getsource(add_autoretry_behaviour)
