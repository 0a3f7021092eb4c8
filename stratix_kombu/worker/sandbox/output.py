"""What a handler prints, line by line, in the log of the worker."""

from __future__ import annotations

import logging
from collections import deque

logger = logging.getLogger("stratix_kombu.sandbox")

MAX_LINE = 8_192
"""Longer lines are logged in pieces."""
LINES_KEPT = 200
MAX_KEPT = 16_000
"""Lines and characters kept of what a job has printed, in case it crashes."""
LEVELS = {"stdout": logging.INFO, "stderr": logging.WARNING}


class Output:
    """One stream of one child."""

    def __init__(self, stream: str, queue: str) -> None:
        self._stream = stream
        self._queue = queue
        self._rest = b""
        self._job_id = ""
        self._last: deque[str] = deque(maxlen=LINES_KEPT)

    def begin(self, job_id: str) -> None:
        """What comes from now on is this job's."""
        self.flush()
        self._job_id = job_id
        self._last.clear()

    def feed(self, received: bytes) -> None:
        """Log the lines that are complete now."""
        *lines, rest = (self._rest + received).split(b"\n")
        for line in lines:
            self._log(line)
        while len(rest) > MAX_LINE:
            self._log(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        self._rest = rest

    def flush(self) -> None:
        """Log the last line, which did not end with a newline."""
        rest, self._rest = self._rest, b""
        if rest:
            self._log(rest)

    @property
    def last(self) -> str:
        """The newest lines of the job."""
        return "\n".join(self._last)[-MAX_KEPT:]

    def _log(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self._last.append(text)
        logger.log(
            LEVELS[self._stream],
            "job %s: %s",
            self._job_id or "-",
            text,
            extra={"action": "sandbox_output", "job_id": self._job_id, "queue": self._queue, "stream": self._stream},
        )
