"""The standard streams of a command: any of them may be missing, full, or unable to show a character."""

from __future__ import annotations

import atexit
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_to_the_end: ContextVar[bool] = ContextVar("stratix_kombu_to_the_end", default=False)


def prepare() -> None:
    """Open the streams that the process was started without (``2>&-``), so that no socket or file gets their numbers,
    and let stdout and stderr escape characters that their encoding lacks."""
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            _occupy(number)
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # it is kept open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    atexit.register(_drop_what_stderr_does_not_take)


def _drop_what_stderr_does_not_take() -> None:
    """Otherwise the interpreter tries to write it again when it exits, fails, and exits with 120."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _lead_to_nowhere(2)


def _lead_to_nowhere(number: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        os.set_inheritable(number, True)


def can_show(stream: Any, text: str) -> bool:
    """Whether the stream's encoding has these characters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def is_unicode(stream: Any) -> bool:
    """Whether the stream's encoding has every character."""
    return can_show(stream, "\u00e4\u65e5\U0001f600")


@contextmanager
def to_the_end() -> Iterator[None]:
    """What is done or judged here goes on when the reader of the output has gone; other commands end then."""
    token = _to_the_end.set(True)
    try:
        yield
    finally:
        _to_the_end.reset(token)


def goes_to_the_end() -> bool:
    """Whether this is within ``to_the_end``."""
    return _to_the_end.get()


def reader_has_gone(error: BaseException | None) -> bool:
    """Whether the error says that nobody reads the output (``| head``); unwritten output is dropped."""
    if not isinstance(error, BrokenPipeError):
        return False
    broken = [stream for stream in (sys.stdout, sys.stderr) if _is_broken(stream)]
    for stream in broken:
        _lead_to_nowhere(stream.fileno())
    return bool(broken)


def _is_broken(stream: Any) -> bool:
    """Whether nobody can read it any more; else the pipe of the error was another one."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return False
    if sys.platform == "win32":  # it has no poll
        return True
    poll = select.poll()
    poll.register(number, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def problem_of_output(error: BaseException | None) -> str | None:
    """Why the output cannot be written, if that is what the error is about; unwritten output is dropped."""
    if not isinstance(error, OSError) or error.errno not in _FULL or error.filename is not None:
        return None
    with suppress(OSError, ValueError, AttributeError):  # otherwise it is tried again when the process exits
        _lead_to_nowhere(sys.stdout.fileno())
    return f"the output cannot be written: {error.strerror}"
