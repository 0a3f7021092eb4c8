"""What names of queues, jobs and ids may look like: they become parts of keys and broker queues; and of options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha1, sha256
from os import urandom
from secrets import token_urlsafe

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.hints import snake as snake

_QUEUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}\Z")
MAX_ID = 200
_ID = re.compile(r"[A-Za-z0-9_.:@/+=,-]{1,200}\Z")
_DERIVED = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9_.:@/+=,-]{1,200}#[A-Za-z0-9_.:@/+=,#-]+\Z")
"""Ids that the package makes of another one: no user may choose one with a ``#`` in it."""
_IN_MESSAGE = re.compile(r"[A-Za-z0-9_.:@/+=,#-]{1,255}\Z")
_GROUP = re.compile(r"[!-~]{1,128}\Z")
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,200}\Z")
_TASK_ID = re.compile(r'[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"\\]{1,255}\Z')
"""What can stand in a message as it is."""
_RUN = "repeat:"
_GATE = "#gate"
_KEPT_BESIDE = (":logs", ":dependencies", ":dependents")
"""What stores keep beside the record of a job, under its id with this at the end."""


def check_queue_name(name: object, problem: str = "cannot name a queue", what: str = "") -> str:
    """``name`` if a queue (or namespace) can be called so; ConfigurationError with the problem otherwise, naming
    ``what`` it was given for."""
    if not isinstance(name, str) or not _QUEUE.match(name):
        raise ConfigurationError(
            f"{_given_for(what)}{shown(name)} {problem}: use 1 to 60 letters, digits, '_', '.' or '-', "
            "not starting with '.' or '-'"
        )
    return name


def _given_for(what: str) -> str:
    return f"{what}: " if what else ""


def check_job_id(job_id: object, what: str = "") -> str:
    """``job_id`` if it can be one, or what has to look like one; ConfigurationError otherwise, naming ``what`` it was
    given for."""
    if not isinstance(job_id, str) or not _ID.match(job_id) or job_id.endswith(_KEPT_BESIDE):
        raise ConfigurationError(
            f"{_given_for(what)}{shown(job_id)} cannot be a job id: use 1 to {MAX_ID} letters, digits or any of "
            f"_ . : @ / + = , -, not ending in {' or '.join(_KEPT_BESIDE)}"
        )
    return job_id


def check_known_id(job_id: object, what: str = "") -> str:
    """``job_id`` if some job may have it: one that a user chose, or one that the package made of that.
    ConfigurationError otherwise."""
    return job_id if isinstance(job_id, str) and _DERIVED.match(job_id) else check_job_id(job_id, what)


def is_job_id(job_id: object) -> bool:
    """Whether a message may name a job by that id."""
    return isinstance(job_id, str) and _IN_MESSAGE.match(job_id) is not None and not job_id.endswith(_KEPT_BESIDE)


def task_job_id(task_id: object) -> str:
    """The id of the job that a Celery task is: the task's own, unless a job cannot have that. Celery takes any text."""
    return _job_id_of(str(task_id))


@lru_cache(maxsize=1024)
def _job_id_of(text: str) -> str:
    """Each step of a chain asks for all that are behind it."""
    if _TASK_ID.match(text) and not text.endswith(_KEPT_BESIDE):
        return text
    return f"task:{sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def new_id() -> str:
    """A random id, as ``str(uuid4())`` makes them in three times the time."""
    return _id_of(urandom(16).hex())


def new_ids(count: int) -> Iterator[str]:
    """So many at once, in half the time that each takes alone."""
    digits = urandom(16 * count).hex()
    return (_id_of(digits[at : at + 32]) for at in range(0, 32 * count, 32))


def _id_of(digits: str) -> str:
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def new_request() -> str:
    """A name for one call, that no other has in any process: what is asked again under it is done once."""
    return token_urlsafe(9)


def shown(value: object) -> str:
    """A value for a message: not all of a very long one."""
    return repr(value[:100] + "..." if isinstance(value, str) and len(value) > 100 else value)


def check_chosen_id(job_id: object, what: str = "") -> str:
    """``job_id`` if a user may give it to a job; ConfigurationError otherwise."""
    if isinstance(job_id, str) and job_id.startswith(_RUN):
        raise ConfigurationError(
            f"{_given_for(what)}{shown(job_id)} cannot be a job id: {_RUN!r} is the prefix of repeatable jobs"
        )
    return check_job_id(job_id, what)


# -- ids that are made of others. What a job is, its record says (``NewJob.kind``), and never its id -------------------


def gate_id(unique: str) -> str:
    """What a large flow waits for until all of it is there."""
    return f"{unique}{_GATE}"


def is_gate(job_id: str) -> bool:
    """Whether it is the id of a gate, which belongs to no flow."""
    return job_id.endswith(_GATE)


def run_id(key: str, slot: int | str) -> str:
    """The job that runs a slot of a repeatable job: the same id for every clock that fires it."""
    return f"{_RUN}{key}:{slot}"


def key_of_run(job_id: str, queue: str) -> str | None:
    """The key of the repeatable job whose run has this id; None if it has none such.

    >>> key_of_run(run_id("q:nightly", 5), "q")
    'nightly'
    """
    key, found, _ = job_id.removeprefix(f"{_RUN}{queue}:").rpartition(":")
    return key if found and job_id.startswith(f"{_RUN}{queue}:") else None


def run_of(job_id: str) -> tuple[str, str]:
    """The key of the schedule whose run has this id, and the slot.

    >>> run_of(run_id("q:nightly", 5))
    ('q:nightly', '5')
    """
    key, _, slot = job_id.removeprefix(_RUN).rpartition(":")
    return key, slot


def letter_id(job_id: str, number: int, attempts_started: int) -> str:
    """The letter of a job that has failed: each one of that id has its own, and each time it fails. ``bury.lua`` does
    the same."""
    return f"{_shortened(job_id)}#dead.{number}.{attempts_started}"


def again_id(letter_id: str, number: int) -> str:
    """The job that is made of a letter."""
    return f"{_shortened(letter_id)}#{number}.again"


def _shortened(job_id: str) -> str:
    """An id that leaves room for an ending."""
    return job_id if len(job_id) <= MAX_ID else sha1(job_id.encode(), usedforsecurity=False).hexdigest()


def forwarded_id(job_id: str) -> str:
    """The task of Celery that a job forwards: not the job, which ends when the task is sent."""
    return f"{job_id}#task"


def message_id(job_id: str, which: str) -> str:
    """The job that sends one of the messages of a task of Celery, which is not the job of that task."""
    return f"{_shortened(job_id)}#message.{which}"


def join_id(group_id: str) -> str:
    """The job that waits for the header of a chord of Celery's."""
    return f"{group_id}#join"


def group_id(celery_id: str) -> str:
    """The record of a group of Celery's."""
    return f"{celery_id}#group"


def incarnation(job_id: str, number: int) -> str:
    """What a store calls a job whose id another one has by now. No id has a line break in it."""
    return f"\n{number}:{job_id}"


def id_of(name: str) -> str:
    """The id in a name that may be one of ``incarnation``."""
    return name.partition(":")[2] if name.startswith("\n") else name


def check_group(group: object, what: str = "") -> str:
    """``group`` if jobs can be grouped under it; ConfigurationError otherwise."""
    if not isinstance(group, str) or not _GROUP.match(group):
        raise ConfigurationError(
            f"{_given_for(what)}{shown(group)} cannot name a group: use 1 to 128 letters, digits or signs of ASCII, "
            "without spaces"
        )
    return group


def check_job_name(name: object, problem: str = "cannot name a job") -> str:
    """``name`` if a job (or driver) can be called so; ConfigurationError with the problem otherwise."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise ConfigurationError(f"{shown(name)} {problem}: use 1 to 200 characters without control characters")
    return name


def check_lock_key(key: object) -> str:
    """``key`` if a lock can be called so; ConfigurationError otherwise."""
    return check_job_name(key, "cannot be the key of a lock")


def check_event_name(name: object) -> str:
    """``name`` if an event of the user's own can be called so; ConfigurationError otherwise."""
    return check_job_name(name, "cannot name an event")
