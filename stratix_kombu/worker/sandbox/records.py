"""Log records of sandboxed handlers: sent to the worker, and logged there as if they were its own."""

from __future__ import annotations

import logging
from collections.abc import Callable

from stratix_kombu.worker.sandbox.protocol import Message
from stratix_kombu.worker.sandbox.soft import undisturbed

MAX_TEXT = 16_000
"""Characters of a record that are passed on."""


class Records(logging.Handler):
    """The child's: on its root logger, since nothing else configures logging there."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        super().__init__()
        self._to_worker = send

    def emit(self, record: logging.LogRecord) -> None:
        with undisturbed():
            try:
                text = self.format(record)[:MAX_TEXT]
                self._to_worker({"kind": "log", "logger": record.name, "level": record.levelno, "text": text})
            except Exception:
                self.handleError(record)


def log(message: Message) -> None:
    """The worker's: log what a child has sent, under the name of the child's logger."""
    logger = logging.getLogger(str(message["logger"]))
    if logger.isEnabledFor(int(message["level"])):
        record = logger.makeRecord(
            logger.name,
            int(message["level"]),
            "(sandbox)",
            0,
            str(message["text"]),
            (),
            None,
            extra={"action": "sandbox_record"},
        )
        logger.handle(record)
