"""Reading what ``lua/includes/count.lua`` and ``fold.lua`` have counted."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from stratix_kombu.model.metrics import BOUNDS_MS, COUNTS, MINUTE_MS, OTHER, Distribution, Histogram, Tally, Totals

_HEAD = struct.Struct(">6I2q")
_TOTALS_HEAD = 8
_CLASSES = len(BOUNDS_MS) + 1


def tally_of(number: int, raw: bytes | None, length_ms: int = MINUTE_MS) -> Tally:
    """One minute, or hour, by its number; what the server has not written to is zero."""
    start_ms = number * length_ms
    if raw is None:
        return Tally(start_ms=start_ms)
    *numbers, waited_ms, ran_ms = _HEAD.unpack(raw[: _HEAD.size].ljust(_HEAD.size, b"\0"))
    counts = dict(zip(COUNTS, numbers[: len(COUNTS)], strict=True))
    buckets = struct.unpack(f">{max(len(raw) - _HEAD.size, 0) // 4}I", raw[_HEAD.size :])
    wait, run = ({i: n for i, n in enumerate(buckets[kind::2]) if n} for kind in (0, 1))
    return Tally(start_ms=start_ms, wait=Histogram(waited_ms, wait), run=Histogram(ran_ms, run), **counts)


def totals_of(raw: bytes, names: Sequence[bytes]) -> Totals:
    """All of it; ``names`` tells the places, name and place in turn."""
    numbers = struct.unpack(f">{len(raw) // 8}q", raw)

    def at(place: int) -> Distribution:
        first = _TOTALS_HEAD + place * (_CLASSES + 1)
        *counts, sum_ms = (*numbers[first : first + _CLASSES + 1], *[0] * (_CLASSES + 1))[: _CLASSES + 1]
        return Distribution(counts, sum_ms)

    runs = {name.decode(): at(int(place)) for name, place in zip(names[::2], names[1::2], strict=True)}
    if any(at(1).counts):
        runs[OTHER] = at(1)
    head = (*numbers[: len(COUNTS)], *[0] * len(COUNTS))
    return Totals(wait=at(0), runs=runs, **dict(zip(COUNTS, head, strict=False)))
