"""Log records that say which job they belong to. Nothing here configures logging: the program does that, or
``stratix-kombu worker``."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar, Token
from datetime import datetime, timezone
from typing import NamedTuple

_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_JOB = ("job_id", "queue", "job_name", "attempt")


class CurrentJob(NamedTuple):
    """The job whose handler runs; ``attempt`` counts from 1."""

    job_id: str
    queue: str
    job_name: str
    attempt: int


_current: ContextVar[CurrentJob | None] = ContextVar("stratix_kombu_job", default=None)


def current_job() -> CurrentJob | None:
    """The job whose handler this thread or asyncio task runs, or None.

    >>> current_job() is None
    True
    """
    return _current.get()


class InJob:
    """Within this context, that job is the current one of this thread, or of this asyncio task and those it starts."""

    __slots__ = ("_job", "_token")

    def __init__(self, job_id: str, queue: str, job_name: str, attempt: int) -> None:
        self._job = CurrentJob(job_id, queue, job_name, attempt)

    def __enter__(self) -> None:
        self._token: Token[CurrentJob | None] = _current.set(self._job)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


class JobContext(logging.Filter):
    """Gives every record ``job_id``, ``queue``, ``job_name`` and ``attempt``: those of the job whose handler runs, or
    None. Attributes that a record already has are kept. Add it to a handler: on a logger it sees that logger's records
    only.

    >>> handler = logging.StreamHandler()
    >>> handler.addFilter(JobContext())
    >>> handler.setFormatter(logging.Formatter("%(queue)s %(job_id)s %(message)s"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        job = _current.get()
        for name in _JOB:
            if name not in record.__dict__:
                setattr(record, name, None if job is None else getattr(job, name))
        return True


class TextFormatter(logging.Formatter):
    """One line per record: time, level, logger, the job in brackets unless the message names it, and the message; with
    colours if requested."""

    def __init__(self, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name that logging calls
        level = f"{record.levelname:<7}"
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        at = datetime.fromtimestamp(record.created).isoformat(" ", "milliseconds")
        said = getattr(record, "job_id", None)
        job = "" if said and str(said) in record.message else self._job(record)
        return f"{at} {level} {record.name}{job}: {record.message}"

    def _job(self, record: logging.LogRecord) -> str:
        said = {name: getattr(record, name, None) for name in _JOB}
        parts = [str(said[name]) for name in ("queue", "job_name", "job_id") if said[name]]
        if said["attempt"]:
            parts.append(f"#{said['attempt']}")
        text = f" [{' '.join(parts)}]" if parts else ""
        return f"\x1b[36m{text}\x1b[0m" if text and self._colour else text


class JsonFormatter(logging.Formatter):
    """One JSON object per record: ``time`` (UTC), ``level``, ``logger``, ``message``, every extra that is not None,
    ``exception`` and ``stack``. Values that JSON does not have become text; with ``ensure_ascii`` all of it is
    ASCII."""

    def __init__(self, ensure_ascii: bool = False) -> None:
        super().__init__()
        self._ensure_ascii = ensure_ascii

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        said = {"time": at, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        extras = {
            key: value
            for key, value in record.__dict__.items()
            if key not in _STANDARD and key not in said and value is not None
        }
        if record.exc_info or record.exc_text:
            extras["exception"] = record.exc_text or (record.exc_info and self.formatException(record.exc_info))
        if record.stack_info:
            extras["stack"] = record.stack_info
        try:
            return json.dumps({**said, **extras}, ensure_ascii=self._ensure_ascii, default=str, allow_nan=False)
        except (TypeError, ValueError):  # keys that are not text, numbers that JSON does not have, cycles
            shown = {str(key): repr(value) for key, value in extras.items()}
            return json.dumps({**said, **shown}, ensure_ascii=self._ensure_ascii)
