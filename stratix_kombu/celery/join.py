"""The join of a chord: a job that depends on the header and sends the body once all of it has finished."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from celery import Celery, group, maybe_signature
from celery.exceptions import ChordError
from kombu.serialization import prepare_accept_content

from stratix_kombu.celery.batch import leaves
from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.celery.meta import body_of
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
    """Make the task known to an application's workers."""

    @app.task(name=NAME, bind=True, ignore_result=True, shared=False)
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
    states = queries.dependencies(attempt.job_id)
    listed = list(leaves(tree))
    added = [job_id for job_id in states if job_id not in set(listed)]  # by add_to_chord
    ids = [*listed, *added]
    records = dict(zip(ids, queries.get(ids), strict=True))
    results = queries.dependency_results(attempt.job_id)
    callback = maybe_signature(body, app=app)
    with attempt.continuing():
        failed = next((job_id for job_id in ids if states.get(job_id) is not State.COMPLETED), None)
        if failed is not None:
            error = _chord_error(backend, failed, records.get(failed))
            _leave_out(callback, list(_told_below(bridge, failed)))
            try:
                raise error
            except ChordError as raised:  # Celery's handling wants an exception that is being handled
                backend.chord_error_from_stack(callback, raised)
            _leave_children(bridge, request, callback)
            raise error if not isinstance(callback, group) else error.__cause__ or error
        values = [_values(one, results, records, backend) for one in (*tree, *added)]
        callback.apply_async((values,), **_descent(callback, ids, records))


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


def _descent(callback: Any, ids: list[str], records: dict[str, JobRecord | None]) -> dict[str, str]:
    """Parent and root of the body: the task of the header that finished last, and the root of that task."""
    known = [record for record in records.values() if record is not None]
    last = max(known, key=lambda record: record.finished_ms, default=None)
    headers = json.loads(last.message)["headers"] if last is not None and last.message else {}
    parent = last.id if last is not None else ids[0]
    return {"parent_id": parent, "root_id": callback.options.get("root_id") or headers.get("root_id") or parent}


def _values(tree: Any, results: dict[str, str], records: dict[str, JobRecord | None], backend: Any) -> Any:
    if isinstance(tree, str):
        return backend.value_of(results.get(tree), records.get(tree))
    return [_values(one, results, records, backend) for one in tree]


def _chord_error(backend: Any, job_id: str, record: JobRecord | None) -> ChordError:
    cause = backend.error_of(record) if record is not None else None
    error = ChordError(f"Dependency {job_id} raised {cause!r}" if cause else f"Dependency {job_id} is gone")
    error.__cause__ = cause
    return error
