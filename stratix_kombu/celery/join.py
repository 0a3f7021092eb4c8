"""The join of a chord: a job that depends on the header and sends the body once all of it has finished."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from celery import Celery, Task, group, maybe_signature
from celery.exceptions import ChordError
from kombu.serialization import prepare_accept_content

from stratix_kombu.celery.batch import leaves
from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.celery.meta import body_of
from stratix_kombu.celery.results import SERIALIZED
from stratix_kombu.celery.task import attempt_of
from stratix_kombu.errors import JobNotFound
from stratix_kombu.lifecycle.one_job import set_data
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import JOIN, JobRecord
from stratix_kombu.model.state import State

NAME = "stratix.join"
Errback = tuple[str, list[Any], dict[str, Any]]
"""Task, arguments and keyword arguments."""


def register_join(app: Celery) -> None:
    """Make the task known to an application's workers. It is none of the project's: it does not have its base."""

    @app.task(name=NAME, base=Task, bind=True, ignore_result=True, shared=False)
    def join(self: Any, body: Any, tree: list[Any]) -> None:
        """Send the body with the results of the header; fail it if one of them failed."""
        send_body(app, self.request, body, tree)


def send_body(app: Celery, request: Any, body: Any, tree: list[Any]) -> None:
    """Publish the body in the step that completes the join. Raises ChordError; if the body is a group, the error of the
    header itself, which its tasks then carry."""
    bridge, attempt = bridge_of(app), attempt_of(request)
    assert bridge is not None
    assert attempt is not None
    queries, backend = bridge.engine.store.queries, app.backend
    ends = queries.depends_on(attempt.job_id)
    listed = list(leaves(tree))
    added = [job_id for job_id in ends if job_id not in set(listed)]  # by add_to_chord
    ids = [*listed, *added]
    callback = maybe_signature(body, app=app)
    with attempt.continuing():
        failed = next((one for one in ids if one not in ends or ends[one].state is not State.COMPLETED), None)
        if failed is not None:
            error = _chord_error(backend, failed, *queries.get([failed]))
            _leave_out(callback, list(_told_below(bridge, failed)))
            _fail_body(bridge, request, callback, error)
            raise error if not isinstance(callback, group) else error.__cause__ or error
        results = _results(bridge, {one: ends[one].result or "" for one in ids})
        values = [_values(one, results) for one in (*tree, *added)]
        descent = _descent(bridge, callback, max(ids, key=lambda one: ends[one].finished_ms))
        try:
            callback.apply_async((values,), **descent)
        except Exception as problem:  # of the arguments: the body does not take them, or they cannot be written
            refused = ChordError(f"Callback error: {problem!r}")
            _fail_body(bridge, request, callback, refused)
            raise refused from problem


def _fail_body(bridge: Bridge, request: Any, callback: Any, error: ChordError) -> None:
    """Have the body, which will not be sent, fail in the step that ends the join, with its errbacks."""
    try:
        raise error
    except ChordError as raised:  # Celery's handling wants an exception that is being handled
        bridge.celery.backend.chord_error_from_stack(callback, raised)
    _leave_children(bridge, request, callback)


def _told_below(bridge: Bridge, job_id: str) -> Iterator[Errback]:
    """The errbacks of a body that was never sent, for the join of its chord has failed and called them. Celery links
    an errback of a chord to the chords in its header too, and by itself does not reach the outer one."""
    queries = bridge.engine.store.queries
    ((before, _),) = queries.edges([job_id])
    for record in queries.get(before):
        if record is not None and record.kind == JOIN:
            message = json.loads(record.message)
            (body, _), _, _ = body_of(message, prepare_accept_content(bridge.celery.conf.accept_content))
            yield from _errbacks_in(body)


def _errbacks_in(signature: Any) -> Iterator[Errback]:
    for errback in signature["options"].get("link_error") or ():
        yield errback["task"], list(errback["args"] or ()), dict(errback["kwargs"] or {})
    for task in signature["kwargs"].get("tasks") or () if signature.get("subtask_type") == "group" else ():
        yield from _errbacks_in(task)


def _leave_out(callback: Any, told: list[Errback]) -> None:
    """Without those errbacks."""
    linked = callback.options.get("link_error")
    if told and linked:
        callback.options["link_error"] = [
            one for one in linked if (one["task"], list(one["args"] or ()), dict(one["kwargs"] or {})) not in told
        ]
    for task in callback.tasks if told and isinstance(callback, group) else ():
        _leave_out(task, told)


def _leave_children(bridge: Bridge, request: Any, callback: Any) -> None:
    """The errbacks that were sent for the body are its children, as if the body itself had failed."""
    if request.children and callback.id:
        trail = json.dumps({"children": [child.as_tuple() for child in request.children]})
        with suppress(JobNotFound):
            set_data(bridge.engine, task_job_id(callback.id), trail)


def _descent(bridge: Bridge, callback: Any, last: str) -> dict[str, str]:
    """Parent and root of the body: the task of the header that finished last, and the root of that task."""
    root = callback.options.get("root_id")
    if not root:
        (record,) = bridge.engine.store.queries.get([last])
        root = json.loads(record.message)["headers"].get("root_id") if record is not None and record.message else None
    return {"parent_id": last, "root_id": root or last}


def _results(bridge: Bridge, texts: dict[str, str]) -> dict[str, Any]:
    """The values of results. Where one may have been written by another serializer, its record says by whom."""
    marked = [one for one, text in texts.items() if SERIALIZED in text]
    records = dict(zip(marked, bridge.engine.store.queries.get(marked), strict=True))
    backend: Any = bridge.celery.backend
    return {one: backend.value_of(text, records.get(one)) for one, text in texts.items()}


def _values(tree: Any, results: dict[str, Any]) -> Any:
    return results[tree] if isinstance(tree, str) else [_values(one, results) for one in tree]


def _chord_error(backend: Any, job_id: str, record: JobRecord | None) -> ChordError:
    cause = backend.error_of(record) if record is not None else None
    error = ChordError(f"Dependency {job_id} raised {cause!r}" if cause else f"Dependency {job_id} is gone")
    error.__cause__ = cause
    return error
