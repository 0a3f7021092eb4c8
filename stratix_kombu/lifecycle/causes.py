"""One report per cause: what fails repeatedly, for each job or in each round, is one fault."""

from __future__ import annotations

import time

QUIET_S = 60.0
"""A cause that persists is reported again after this time."""
MOST = 100


class Causes:
    """What one thread has reported lately. A cause is the kind of an error and the line that raised it."""

    def __init__(self) -> None:
        self._reported: dict[object, float] = {}

    def is_new(self, error: BaseException) -> bool:
        """Whether to report this one; if so, others of its cause are not new for a minute."""
        cause, now = _cause(error), time.monotonic()
        if now < self._reported.get(cause, 0.0):
            return False
        if len(self._reported) >= MOST:
            self._reported.clear()
        self._reported[cause] = now + QUIET_S
        return True


def _cause(error: BaseException) -> object:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace is not None else None
    return type(error), place
