"""Celery's result metadata of a task, from the record of its job."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery import states
from celery.exceptions import TaskRevokedError
from kombu.compression import decompress
from kombu.exceptions import KombuError
from kombu.serialization import loads
from kombu.utils import json

from stratix_kombu.celery.attempt import NO_RESULT, REJECTED, RETRIED_FOR, reason_of
from stratix_kombu.celery.plain import has_gone_on
from stratix_kombu.celery.publish import RESULT
from stratix_kombu.model.instant import date_of
from stratix_kombu.model.message import is_task_message
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import BY_HAND, NEVER_SENT, State

if TYPE_CHECKING:
    from stratix_kombu.celery.results import Results

TOLD = "celery_state"
"""In the progress of a job: the state that its task has set with ``update_state``."""
RETRIES = "retries"
"""Beside it: how many retries had come before, if any; null if it was not set by the task itself."""
AFTER = "after"
"""Beside it: when the job had ended, if it had, without success: what is told then takes the place of that end."""
_CAUSE = re.compile(r"(?:dependency (.+?) failed: )+")
"""In the reason of a job that failed with others: the first of them is named last."""


def is_celerys(record: JobRecord) -> bool:
    """Whether what is kept of the job was written by this package: it is a task, a document, or a place for a task."""
    return record.vacant or is_task_message(record.message)


def is_bare(record: JobRecord) -> bool:
    """Whether it was made to be given a result or a state in the next step, and says nothing yet."""
    return record.name == RESULT and record.state in (State.BLOCKED, State.DELAYED) and not record.progress


def is_told_only(record: JobRecord) -> bool:
    """Whether a state that was stored by hand, and not the last one, is all that is known of its id."""
    return record.kind == BY_HAND and record.vacant and record.state is State.DELAYED


def is_unsent(record: JobRecord) -> bool:
    """Whether it is the placeholder of a task that its predecessor should have sent and did not, or of a later one in
    the same chain."""
    reason = record.failed_reason or ""
    return record.vacant and (reason == NEVER_SENT or reason.endswith(f" failed: {NEVER_SENT}"))


def is_revoked_unseen(record: JobRecord) -> bool:
    """Whether it was revoked before anything was known of it: its producer does not have the bridge."""
    return (
        record.name == RESULT
        and record.state is State.FAILED
        and record.failed_reason == reason_of(TaskRevokedError("revoked"))
    )


def _pending(task_id: str) -> dict[str, Any]:
    return {"task_id": task_id, "status": states.PENDING, "result": None, "traceback": None, "children": None}


def told_meta(backend: Results, task_id: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata for what a task set with ``update_state``: the progress of its job."""
    status = told[TOLD]
    meta = {**_pending(task_id), "status": status, "result": _told(backend, status, told.get("meta"))}
    meta.update(children=told.get("children", []), date_done=None)
    meta.update({one: told[one] for one in ("traceback", "date_done") if one in told})
    return meta


def meta_of(backend: Results, task_id: str, record: JobRecord | None) -> dict[str, Any]:
    """As ``Backend.get_task_meta`` returns it."""
    meta = _pending(task_id)
    if record is None or is_unsent(record) or has_gone_on(record):
        return meta
    told: dict[str, Any] | None = None
    trail: dict[str, Any] = {}
    if record.data != "null" and is_celerys(record):  # telling takes longer than comparing
        trail = json.loads(record.data) or {}
    children = trail.get("children") or (None if record.name == RESULT and "children" not in trail else [])
    if record.state is State.COMPLETED and record.data != NO_RESULT:
        meta.update(status=states.SUCCESS, result=backend.value_of(record.result, record), children=children)
    elif (told := _told_of(record)) is not None:
        meta = told_meta(backend, task_id, told)
    elif record.state is State.FAILED:
        error = backend.error_of(record)
        status = states.REVOKED if isinstance(error, TaskRevokedError) else states.FAILURE
        if status == states.REVOKED and _never_taken(record, error):
            children = None
        meta.update(status=status, result=error, traceback=_traceback(backend, record), children=children)
    if _is_retried(record, told):
        meta.update(status=states.RETRY, result=_retried_for(backend, trail), traceback=_own_traceback(record))
        meta.update(children=[[[task_id, None], None]], date_done=None)  # what it has sent last is its next attempt
    if record.finished_ms and meta["status"] in states.READY_STATES and not meta.get("date_done"):
        meta["date_done"] = date_of(record.finished_ms).astimezone(backend.app.timezone).isoformat()
    if meta["status"] != states.PENDING and is_task_message(record.message):
        meta.update(of_the_request(backend, record))
        if meta["status"] == states.RETRY:
            _go_back(meta, record)
    return meta


def _told_of(record: JobRecord) -> dict[str, Any] | None:
    """What was set by hand, if that is what counts: while the job has not failed, or since then. A success counts in
    any case, as with Celery's backends: nothing replaces it."""
    if not record.progress or not is_celerys(record):
        return None
    told = json.loads(record.progress)
    if not isinstance(told, dict) or TOLD not in told:
        return None
    counts = record.state is not State.FAILED or told.get(AFTER) == record.finished_ms or told[TOLD] == states.SUCCESS
    return told if counts else None


def _told(backend: Results, status: str, meta: Any) -> Any:
    """The result that a task set itself: an error in a state that means one, otherwise any value."""
    value = backend.value_of(str(json.dumps(meta)))
    if status not in states.EXCEPTION_STATES:
        return value
    try:
        return backend.exception_to_python(value)
    except Exception:  # it does not describe an error
        return Exception(value)


def _is_retried(record: JobRecord, told: dict[str, Any] | None) -> bool:
    """Whether its state is RETRY: from the end of the attempt until the next one has ended, or has told a state."""
    if record.state.finished or not record.attempts_made or record.failed_reason == REJECTED:
        return False
    if told is None:
        return True
    retries = told.get(RETRIES, 0)
    return record.state is not State.ACTIVE if retries is None else retries < record.attempts_made


def _never_taken(record: JobRecord, error: BaseException) -> bool:
    """Whether it was revoked before a worker had its message, as one has that finds it expired."""
    return not record.attempts_started and not record.vacant and str(error) != "expired"


def _retried_for(backend: Results, trail: Mapping[str, Any]) -> BaseException | None:
    """The error of the last attempt; None if it gave none, or has been replaced."""
    text = trail.get(RETRIED_FOR)
    try:
        error: BaseException | None = backend.exception_to_python(backend.value_of(text))
    except Exception as problem:  # it is not to be unpickled here, for example
        error = problem
    return error


def of_the_request(backend: Results, record: JobRecord) -> dict[str, Any]:
    """Which group and parent the task has; with ``result_extended`` all that backends keep of a request."""
    message: Mapping[str, Any] = json.loads(record.message)
    headers = message["headers"]
    found = {"group_id": headers.get("group"), "parent_id": headers.get("parent_id")}
    meta = {key: value for key, value in found.items() if value}
    if not backend.app.conf.result_extended:
        return meta
    try:
        args, kwargs, *_ = body_of(message, backend.accept)
    except (KombuError, ValueError, TypeError, zlib.error):
        args = kwargs = None
    meta.update(
        name=record.name,
        args=args,
        kwargs=kwargs,
        worker=record.worker.rpartition("-")[0] or record.worker,
        retries=headers.get("retries"),
        queue=message["properties"]["delivery_info"].get("routing_key"),
    )
    stamps, stamped = headers.get("stamps"), headers.get("stamped_headers") or ()
    if stamps:
        meta["stamped_headers"] = stamped
        meta.update({key: stamps[key] for key in stamped if key in stamps})
    return meta


def _go_back(meta: dict[str, Any], record: JobRecord) -> None:
    """Of a task that will be tried again: its message is that of the next attempt, whose parent is this one."""
    if meta.get("retries"):
        meta["retries"] -= 1
    if meta.get("parent_id") == meta["task_id"] and record.attempts_made == 1:
        del meta["parent_id"]


def body_of(message: Mapping[str, Any], accept: Any) -> Any:
    """The body of a message; nothing is unpickled that results may not be."""
    body, properties = message["body"], message["properties"]
    payload = base64.b64decode(body) if properties.get("body_encoding") == "base64" else body
    compression = message["headers"].get("compression")
    if compression:
        payload = decompress(payload, compression)
    return loads(payload, message["content-type"], message["content-encoding"], accept=accept)


def _own_traceback(record: JobRecord) -> str | None:
    return "\n".join(json.loads(record.stacktrace)) if record.stacktrace else None


def _traceback(backend: Results, record: JobRecord) -> str | None:
    """That of a task which failed with another one is the traceback of the other one, as its error is."""
    seen = {record.id}
    while not record.stacktrace and (cause := _CAUSE.match(record.failed_reason or "")) and cause[1] not in seen:
        seen.add(cause[1])
        (found,) = backend.bridge.engine.store.queries.get([cause[1]])
        if found is None:
            return None
        record = found
    return _own_traceback(record)
