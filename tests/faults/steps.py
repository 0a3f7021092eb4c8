"""A process that kills itself when it reaches a step of the life cycle for the n-th time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from stratix_kombu.lifecycle.engine import Engine

OF_BOTH = ("claimed", "handler", "complete", "completed", "failed")
"""After the claim, in the handler, before and after the outcome is stored; besides, ``recovered``: after stalled jobs
were sent again."""
OF_WORKER = ("received", "acknowledged", *OF_BOTH)
OF_CELERY = ("received", "acknowledge", *OF_BOTH)
OF_DISPATCH = ("dispatch", "dispatched", "promoted")
"""Where the store does not put messages into the broker's queue itself."""


class Death:
    """Wraps what the steps are reached by; the step comes with SIGKILL, so nothing is tidied up."""

    def __init__(self, step: str, nth: int) -> None:
        self._step = step
        self._left = nth
        self._lock = threading.Lock()

    def reached(self, step: str) -> None:
        if not step or step != self._step:
            return
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def wrap(
        self, owner: Any, name: str, before: str = "", after: str = "", when: Callable[[Any], Any] = lambda answer: True
    ) -> None:
        """Reach ``before`` ahead of the call, and ``after`` behind it if the answer is of the kind."""
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.reached(before)
            answer = original(*args, **kwargs)
            if when(answer):
                self.reached(after)
            return answer

        setattr(owner, name, wrapped)

    def watch(self, engine: Engine) -> None:
        """The steps that both hosts have."""
        transitions = engine.store.transitions
        for step in ("take", "claim"):
            self.wrap(transitions, step, after="claimed", when=lambda answer: answer.claims)
        self.wrap(transitions, "complete_and_take", after="claimed", when=lambda answer: answer[1].claims)
        for step in ("complete", "complete_and_take"):
            self.wrap(transitions, step, before="complete", after="completed")
        self.wrap(transitions, "fail", after="failed")
        self.wrap(transitions, "promote", after="promoted", when=lambda answer: answer[0].ready)
        self.wrap(transitions, "recover", after="recovered", when=lambda change: change.affected)
        self.wrap(engine.driver, "submit", before="dispatch", after="dispatched")

    def watch_receivers(self, engine: Engine) -> None:
        """Between a message that is taken and its claim, and behind the acknowledgement."""
        make = engine.driver.receiver

        def receiver(queue: str, slots: int) -> Any:
            made = make(queue, slots)
            self.wrap(made, "receive", after="received", when=bool)
            self.wrap(made, "acknowledge", after="acknowledged")
            return made

        engine.driver.receiver = receiver  # type: ignore[method-assign]
