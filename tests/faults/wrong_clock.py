"""A Python whose clock is wrong: ``python -m tests.faults.wrong_clock <seconds> -m <module> ...`` or a file.

All that Python code can read is wrong: ``time.time``, ``datetime.now`` and their like. Clocks that only count on are
not touched, as on a host whose clock was set wrong.
"""

from __future__ import annotations

import datetime
import runpy
import sys
import time
from typing import Any

SHIFT_S = int(sys.argv[1])
_real_time, _real_time_ns = time.time, time.time_ns


class WrongDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> WrongDatetime:
        return cls.fromtimestamp(_real_time() + SHIFT_S, tz)

    @classmethod
    def utcnow(cls) -> WrongDatetime:
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)


if __name__ == "__main__":
    time.time = lambda: _real_time() + SHIFT_S
    time.time_ns = lambda: _real_time_ns() + SHIFT_S * 1_000_000_000
    datetime.datetime = WrongDatetime  # type: ignore[misc]
    sys.argv = sys.argv[2:]
    if sys.argv[0] == "-m":
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
