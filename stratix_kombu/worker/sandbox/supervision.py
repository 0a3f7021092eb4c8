"""One job in one child: its calls are executed, and it is killed when it exceeds a limit or was cancelled or lost."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from stratix_kombu.config.options import ProcessorOptions
from stratix_kombu.errors import RateLimited, StaleClaim
from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.model.shown import Shown
from stratix_kombu.worker.sandbox.memory import MB
from stratix_kombu.worker.sandbox.process import POLL_S, Sandbox
from stratix_kombu.worker.sandbox.protocol import (
    ATTRIBUTES,
    CALLS,
    BrokenProtocol,
    Cause,
    Message,
    SandboxFailure,
    SandboxGone,
    encode_error,
)
from stratix_kombu.worker.sandbox.records import log
from stratix_kombu.worker.sandbox.source import Source

LOAD_S = 60.0
"""How long a child may take to start and to import a handler; a job's timeout starts after that."""
CANCEL_S = 1.0
"""How long a handler that was cancelled may keep running."""
GRACE_S = 2.0
"""How long it may keep running after SIGTERM."""
SILENT_S = 1.0
"""How long a child may take to exit after it has closed its connection."""
MEMORY_S = 0.1
"""How often the memory of a child is looked at."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is different for a task of Celery. It is killed as soon as it is not wanted any more."""

    attributes: Message
    """What its runner may read of the job: some of ``ATTRIBUTES``, and ``data`` of another kind."""
    soft_s: float | None
    """After how many seconds its runner gets a signal; None = never."""
    softly: Callable[[], None]
    """Called when that is done."""


class Supervision:
    """Runs one job; ``job`` is the handle on which the handler's calls are made."""

    def __init__(
        self, sandbox: Sandbox, job: Any, options: ProcessorOptions, seconds: float | None, terms: Terms | None = None
    ) -> None:
        self._sandbox = sandbox
        self._terms = terms
        self._soft_at = float("inf")
        self._job = job
        self._options = options
        self._seconds = seconds
        self._number = sandbox.begin(job.id)
        self._begun = False
        self._deadline = time.monotonic() + LOAD_S
        self._cancel_until: float | None = None
        self._memory_at = 0.0

    def run(self, source: Source, around: Sequence[Source], what: str, max_bytes: int) -> str:
        """The result of the handler, with middleware ``around`` it, as JSON. Raises SandboxFailure, SandboxGone, and
        RateLimited if the handler did."""
        sandbox = self._sandbox
        sandbox.fit = False
        sandbox.post(
            {
                "kind": "run",
                "number": self._number,
                "source": asdict(source),
                "around": [asdict(one) for one in around],
                "job": self._terms.attributes if self._terms is not None else _attributes(self._job),
                "what": what,
                "max_bytes": max_bytes,
                "log_level": logging.getLogger().level,
            }
        )
        while True:
            for message in self._pump():
                if message.get("number") == self._number and message["kind"] in ("completed", "failed", "held"):
                    return self._ended(message)
                self._take(message)
            self._check()

    def _pump(self) -> list[Message]:
        try:
            return self._sandbox.pump(max(min(POLL_S, self._deadline - time.monotonic()), 0))
        except BrokenProtocol as problem:
            self._kill(f"the sandbox sent {problem}; it was killed")

    # -- what the child says ----------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        if message["kind"] == "call":
            self._answer(message)
        elif message["kind"] == "log" and message["number"] == self._number:
            log(message)
        elif message["kind"] == "begun":
            self._begun = True
            now = time.monotonic()
            self._deadline = float("inf") if self._seconds is None else now + self._seconds
            if self._terms is not None and self._terms.soft_s is not None:
                self._soft_at = now + self._terms.soft_s
            if message["loaded"] and self._options.max_memory_usage:
                self._sandbox.at_rest = self._sandbox.used

    def _answer(self, message: Message) -> None:
        self._sandbox.post({"kind": "reply", "id": message["id"], **self._call(message)})

    def _call(self, message: Message) -> Message:
        try:
            if message["number"] != self._number:
                raise StaleClaim(self._job.id)
            if message["method"] not in CALLS:
                raise AttributeError(f"a handler cannot call {message['method']!r}")
            value = getattr(self._job, message["method"])(*message["arguments"])
            return {"value": _shown(value)}
        except Exception as error:
            return {"error": encode_error(error)}

    def _ended(self, message: Message) -> str:
        if message["kind"] == "completed":
            self._sandbox.fit = True
            return str(message["result"])
        if message["kind"] == "held":
            self._sandbox.fit = True
            raise RateLimited(message["hold_ms"])
        self._sandbox.fit = not message.get("unloaded")
        raise SandboxFailure(message["reason"], message["stacktrace"], message["final"])

    # -- what the worker decides ------------------------------------------------------------------

    def _check(self) -> None:
        now = time.monotonic()
        if self._sandbox.exited() and not self._sandbox.pending():
            reason = self._sandbox.end_of()
            if not self._begun and self._number > 1:
                raise SandboxGone(reason)
            raise SandboxFailure(reason, json.dumps([self._sandbox.printed]) if self._sandbox.printed else "")
        if self._sandbox.silent_since and now > self._sandbox.silent_since + SILENT_S:
            self._kill("the sandbox has closed its connection to the worker; it was killed")
        if now >= self._deadline:
            if not self._begun:
                self._kill(f"the handler was not imported within {LOAD_S:.0f} s; its sandbox was killed")
            self._kill(f"timed out after {(self._seconds or 0) * 1000:.0f} ms; its sandbox was killed", cause="time")
        if self._terms is not None and now >= self._soft_at:
            self._soft_at = float("inf")
            self._sandbox.post({"kind": "soft", "number": self._number})
            self._terms.softly()
        self._check_memory(now)
        self._check_cancelled(now)

    def _check_memory(self, now: float) -> None:
        most = self._options.max_memory_usage
        if not most or now < self._memory_at:
            return
        self._memory_at = now + MEMORY_S
        used = self._sandbox.used
        if used > most * MB:
            self._kill(
                f"used {used / MB:.0f} MB of memory, more than max_memory_usage ({most} MB); its sandbox was killed"
            )

    def _check_cancelled(self, now: float) -> None:
        if self._cancel_until is None:
            if self._job.cancelled:
                if self._terms is not None:
                    self._kill("it is not wanted any more; its sandbox was killed", cause="cancelled")
                self._cancel_until = now + CANCEL_S
                self._sandbox.post({"kind": "cancel", "number": self._number})
        elif now >= self._cancel_until:
            self._kill(
                f"cancelled, or lost to another worker; it kept running for {CANCEL_S:.0f} s, so its "
                "sandbox was killed",
                cause="cancelled",
            )

    def _kill(self, reason: str, cause: Cause = "") -> NoReturn:
        if self._options.graceful:
            self._terminate()
        self._sandbox.kill()
        raise SandboxFailure(reason, final=cause == "cancelled", cause=cause)

    def _terminate(self) -> None:
        """Let the handler tidy up, for which it may need the worker."""
        self._sandbox.post({"kind": "terminate"})
        self._sandbox.strike(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        with suppress(BrokenProtocol):
            while not self._sandbox.exited() and time.monotonic() < deadline:
                for message in self._sandbox.pump(POLL_S):
                    self._take(message)


def _shown(value: Any) -> Any:
    """What a method has returned; of a job what a handler may read."""
    if isinstance(value, list):
        return [_shown(one) for one in value]
    if isinstance(value, NotAwaitable):
        return _attributes(value)
    return value.to_dict() if isinstance(value, Shown) else value


def _attributes(job: Any) -> Message:
    return {name: getattr(job, name) for name in ATTRIBUTES}
