"""The last runs of a schedule, as it keeps them: JSON, so that a store need not look into it unless one of them ends.
``includes/runs.lua`` does the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stratix_kombu.model.record import Ended
from stratix_kombu.model.state import State
from stratix_kombu.model.text import bounded

RUNS_KEPT = 10
REASON_BYTES = 200
"""Of the reason why one failed."""


@dataclass(frozen=True, slots=True)
class Run:
    """One job of a schedule; ``ended`` is how it ended, where its record no longer exists: the reason is cut."""

    slot: str
    """What its id ends in."""
    added_ms: int
    ended: Ended | None = None


def with_run(recent: str, slot: str, now: int) -> str:
    """With one more, the newest first."""
    return _text([[slot, now], *_entries(recent)][:RUNS_KEPT])


def with_end(recent: str, slot: str, ended: Ended) -> str:
    """As it is once the record of that run has been removed."""
    entries = _entries(recent)
    for entry in entries:
        if entry[0] == slot:
            state = "cancelled" if ended.cancelled else ended.state.value
            entry[2:] = [state, ended.finished_ms, bounded(ended.failed_reason or "", REASON_BYTES)]
    return _text(entries)


def runs_of(recent: str) -> list[Run]:
    """The newest first."""
    return [Run(slot, added_ms, _ended(*end) if end else None) for slot, added_ms, *end in _entries(recent)]


def _ended(state: str, finished_ms: int, reason: str) -> Ended:
    cancelled = state == "cancelled"
    return Ended(State.FAILED if cancelled else State(state), finished_ms, None, reason or None, cancelled)


def _entries(recent: str) -> list[list[Any]]:
    return json.loads(recent) if recent else []


def _text(entries: Sequence[Sequence[Any]]) -> str:
    return json.dumps(entries, separators=(",", ":")) if entries else ""
