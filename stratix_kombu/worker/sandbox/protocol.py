"""What the worker and its children say to each other: JSON in frames, over a pair of sockets. Nothing is unpickled.

    worker -> child
      hello    once: what every job needs to know (``limit``, ``memory_mb``, ``argv``)
      run      a job: ``number``, ``source`` of its handler, those ``around`` it, ``job`` (attributes), ``log_level``
      reply    to a call: ``id``, and ``value`` or ``error``
      cancel   the job that runs is to end
      soft     the job's ``number``: its soft time limit is exceeded, which its handler hears of by a signal
      terminate  the child is to end, after what the handler has in ``finally``; SIGTERM to its group comes with it
    child -> worker
      ready    it can take jobs
      begun    the handler of the job begins now; ``loaded`` if it was imported for it
      call     a method of the job: ``id``, ``method``, ``arguments``
      log      a record of a handler's logger: ``logger``, ``level``, ``text``
      completed  ``result`` as JSON text
      failed   ``reason``, ``stacktrace``, ``final`` (no other attempt), ``unloaded`` (the handler cannot be imported)
      held     the handler asks that the queue starts nothing for ``hold_ms``

Each message of a job carries its ``number``, so that a thread a handler left behind cannot speak for the next job.
"""

from __future__ import annotations

import builtins
import json
import struct
from contextlib import suppress
from typing import Any, Literal

from stratix_kombu import errors
from stratix_kombu.errors import PayloadTooLarge, StratixError, rebuild

Message = dict[str, Any]
Cause = Literal["", "time", "cancelled"]
"""Why the worker has ended a child: its job has taken too long, or is not wanted any more; '' = for another reason, or
it has ended by itself."""

_LENGTH = struct.Struct(">I")
MAX_FRAME = 2**32 - 1
NO_THREAD = 75
"""The exit code of a child that could not start, for lack of a thread (EX_TEMPFAIL)."""
ROOM = 1024 * 1024
"""Room for what surrounds a value: names, logs, stack traces."""

CALLS = frozenset(
    {
        "add_dependency",
        "cancel",
        "change_delay",
        "change_priority",
        "get_attempts",
        "get_dependencies",
        "get_dependency_results",
        "get_dependency_states",
        "get_dependents",
        "get_logs",
        "get_state",
        "log",
        "promote",
        "refresh",
        "remove",
        "remove_dependency",
        "rerun",
        "retry",
        "update_data",
        "update_progress",
    }
)
"""Methods of a job that a handler may call from its child."""

ATTRIBUTES = (
    "id",
    "name",
    "queue_name",
    "data",
    "is_task",
    "opts",
    "headers",
    "state",
    "progress",
    "attempts_made",
    "attempts_started",
    "repeat_key",
    "worker",
    "return_value",
    "failed_reason",
    "stacktrace",
    "timestamp",
    "processed_on",
    "finished_on",
    "was_cancelled",
)
"""What a handler may read of its job."""


class BrokenProtocol(Exception):
    """The other side sent something that is not a message."""


class SandboxGone(Exception):
    """The child had exited while it was idle: the job has not started."""


class SandboxStarved(Exception):
    """The system has no process, thread or descriptor left for a child: the job has not started."""


class SandboxFailure(Exception):
    """An attempt that failed in a child, or with it."""

    def __init__(self, reason: str, stacktrace: str = "", final: bool = False, cause: Cause = "") -> None:
        self.reason = reason
        self.cause = cause
        self.stacktrace = stacktrace
        """JSON, as the store keeps it."""
        self.final = final
        """Another attempt would be of no use."""
        super().__init__(reason)


def frame_limit(max_payload_bytes: int) -> int:
    """How long a message may be: a value as JSON text within JSON is at most twice as long."""
    return 2 * max_payload_bytes + ROOM


def frame(message: Message, limit: int) -> bytes:
    """One message as bytes. Raises PayloadTooLarge, and TypeError or ValueError for what is not JSON."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if len(body) > limit:
        raise PayloadTooLarge("what is passed between a worker and its sandbox", len(body), limit)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Puts messages together from the bytes that arrive."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = bytearray()

    def feed(self, received: bytes) -> list[Message]:
        """The messages that are complete now. Raises BrokenProtocol."""
        self._bytes += received
        found: list[Message] = []
        while len(self._bytes) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes)
            if length > self._limit:
                raise BrokenProtocol(f"a message of {length} bytes, more than {self._limit}")
            if len(self._bytes) < _LENGTH.size + length:
                break
            body = bytes(self._bytes[_LENGTH.size : _LENGTH.size + length])
            del self._bytes[: _LENGTH.size + length]
            found.append(_message(body))
        return found


def _message(body: bytes) -> Message:
    try:
        message = json.loads(body.decode("utf-8", "surrogatepass"))
    except ValueError as problem:
        raise BrokenProtocol(f"no JSON: {problem}") from problem
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise BrokenProtocol(f"no message: {body[:100]!r}")
    return message


def encode_error(error: Exception) -> Message:
    """An error that a method of the job has raised, for the child."""
    state = {name: value for name, value in vars(error).items() if _is_json(value)}
    arguments = list(error.args) if _is_json(error.args) else [str(error)]
    return {"class": type(error).__name__, "arguments": arguments, "state": state}


def decode_error(told: Message) -> Exception:
    """The same error in the child: of the same class, if it is one of this package or of Python itself."""
    name, arguments = str(told["class"]), tuple(told["arguments"])
    cls = getattr(errors, name, None)
    if isinstance(cls, type) and issubclass(cls, StratixError):
        return rebuild(cls, arguments, told["state"])
    cls = getattr(builtins, name, None)
    if isinstance(cls, type) and issubclass(cls, Exception):
        with suppress(TypeError):  # a few want arguments of a certain kind
            return cls(*arguments)
    return RuntimeError(f"{name}: {', '.join(map(str, arguments))}")


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
