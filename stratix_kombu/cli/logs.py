"""Logging of long-running commands: to stderr, each line with its job."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO

import click

from stratix_kombu.cli.streams import is_unicode

LEVELS = ("debug", "info", "warning", "error", "critical")


def logging_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of ``configure``."""
    function = click.option(
        "--log-format",
        default="text",
        show_default=True,
        type=click.Choice(("text", "json")),
        help="Plain lines (with colours on a terminal), or one JSON object per line and nothing else on stderr.",
    )(function)
    return click.option(
        "--log-level",
        type=click.Choice(LEVELS, case_sensitive=False),
        help="The lowest level that is logged; info, unless the module configures another.",
    )(function)


def configure(log_level: str | None, log_format: str) -> None:
    """Have all loggers write to stderr. An application whose module has set up logging keeps that, with the job as an
    extra of each record. As ``json``, whatever is written to stderr becomes a record: warnings, tracebacks of threads,
    what libraries print there. May be called again, when the module has been imported."""
    from stratix_kombu.logs import JobContext, JsonFormatter, TextFormatter

    _enable_ours()
    root = logging.getLogger()
    if log_level is not None or not root.handlers:
        root.setLevel((log_level or "info").upper())
    stderr = sys.stderr.real if isinstance(sys.stderr, Lines) else sys.stderr
    if not root.handlers:
        handler = logging.StreamHandler(stderr)
        colour = stderr.isatty() and "NO_COLOR" not in os.environ
        handler.setFormatter(TextFormatter(colour))
        root.addHandler(handler)
    for existing in root.handlers:
        existing.addFilter(JobContext())
        if log_format == "json" and isinstance(existing, logging.StreamHandler) and _writes_to_stderr(existing):
            existing.setStream(stderr)
            existing.setFormatter(JsonFormatter(ensure_ascii=not is_unicode(stderr)))
    if log_format == "json":
        _catch_all(stderr)


def say(text: str) -> None:
    """Write a line to stderr. If that fails, because the disk is full for example, no worker stops."""
    if isinstance(sys.stderr, Lines):
        sys.stderr.log(logging.INFO, text)
        return
    with suppress(OSError):
        click.echo(text, file=sys.stderr)


def _enable_ours() -> None:
    """A module that configures logging with a dictionary disables existing loggers by default, and ours exist before
    any module."""
    for name, one in logging.getLogger().manager.loggerDict.items():
        if isinstance(one, logging.Logger) and (name.startswith("stratix_kombu") or name == "py.warnings"):
            one.disabled = False


def _writes_to_stderr(handler: logging.StreamHandler[Any]) -> bool:
    return isinstance(handler.stream, Lines) or handler.stream in (sys.stderr, sys.__stderr__)


def _catch_all(stderr: TextIO) -> None:
    """Have everything that is written to stderr logged."""
    if not isinstance(sys.stderr, Lines):
        sys.stderr = Lines(stderr)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda given: _uncaught(
        given.exc_type, given.exc_value, given.exc_traceback, f"thread {given.thread and given.thread.name}"
    )
    sys.unraisablehook = lambda given: _uncaught(
        given.exc_type, given.exc_value, given.exc_traceback, given.err_msg or "ignored"
    )


def _uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, where: str = "main thread"
) -> None:
    if isinstance(sys.stderr, Lines) and not issubclass(kind, SystemExit):
        sys.stderr.log(logging.ERROR, f"uncaught exception ({where})", (kind, error or kind(), trace))


class Lines(io.TextIOBase):
    """Replaces ``sys.stderr``: each line becomes a record of the logger ``stderr``, however logging is configured."""

    encoding = "utf-8"

    def __init__(self, real: TextIO) -> None:
        from stratix_kombu.logs import JobContext, JsonFormatter

        self.real = real
        self._own = threading.local()
        """Of each thread: the beginning of a line, and whether a record is being written."""
        self._handler = logging.StreamHandler(real)
        self._handler.addFilter(JobContext())
        self._handler.setFormatter(JsonFormatter(ensure_ascii=not is_unicode(real)))

    def fileno(self) -> int:
        return self.real.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        *lines, self._own.rest = (getattr(self._own, "rest", "") + text).split("\n")
        for line in filter(str.strip, lines):
            self.log(logging.WARNING, line, name="stderr")
        return len(text)

    def flush(self) -> None:
        if getattr(self._own, "rest", ""):
            self.write("\n")

    def log(self, level: int, text: str, exc_info: Any = None, name: str = "stratix_kombu.cli") -> None:
        """Write a record."""
        if getattr(self._own, "writing", False):
            return  # the handler cannot write, and says so here
        self._own.writing = True
        try:
            self._handler.handle(logging.LogRecord(name, level, "", 0, text, (), exc_info))
        finally:
            self._own.writing = False
