"""The signal by which a runner of tasks hears that a soft time limit is exceeded, in the main thread of its child."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SOFT = getattr(signal, "SIGUSR1", 0)
"""Windows has no such signal; there this module is imported, and no child is started."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """What the signal raises comes after this: neither in the middle of a message nor where it would be caught."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {SOFT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
