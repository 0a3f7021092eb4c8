"""How values are shown: texts of users with nothing hidden in them, numbers, durations, instants, JSON."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any

SHOWN = 4_000
"""Characters of a value that a page shows; the rest is loaded on demand."""

DONE = {
    "add": "The job was added.",
    "cancel": "Cancelled. A running handler is told within a second.",
    "clean": "{count} jobs were deleted.",
    "concurrency": "The concurrency was set.",
    "data": "The data was changed.",
    "delay": "The delay was changed.",
    "drain": "{count} jobs were deleted.",
    "duplicate": "This is the copy.",
    "limiter": "The rate limit was set.",
    "many": "Done to {count} jobs.",
    "obliterate": "The queue was deleted with {count} jobs.",
    "pause": "Paused: no further job is started.",
    "priority": "The priority was changed.",
    "promote": "The job runs now.",
    "remove": "The job was deleted.",
    "resume": "Resumed.",
    "schedule_pause": "Paused: it adds no jobs.",
    "schedule_remove": "The repeatable job was removed.",
    "schedule_resume": "Resumed.",
    "schedule_run": "This is the run.",
    "shutdown": "The worker was told to finish what it runs, and to end.",
    "schedule_save": "Saved.",
    "retry": "The job runs again.",
}
"""What a page says after an action. Only the name and a number come with the URL, so no link can say anything else."""

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_BREAKS = re.compile("[\t\n]")
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def visible(text: object) -> str:
    """The text with everything that one would not see written as an escape: control characters, marks that turn the
    direction of writing, characters without a width. It can be encoded as UTF-8."""
    return _HIDDEN.sub(_escape, str(text))


def one_line(text: object) -> str:
    """As ``visible``, and in one line."""
    return _BREAKS.sub(_escape, visible(text))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def cut(text: object, most: int = SHOWN) -> str:
    """The beginning of a text, with a mark if that is not all."""
    said = str(text)
    return said if len(said) <= most else f"{said[:most]}…"


def pretty(value: Any) -> str:
    """A JSON value for people."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def written(value: Any) -> str:
    """A JSON value to be edited: what one would not see is escaped as JSON has it, so that it is read as the same."""
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], pretty(value))


def number(value: float | None) -> str:
    """With a mark at the thousands; a dash for what is not known."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def duration(ms: float | None) -> str:
    """As people say it, to two figures or so: ``35 ms``, ``4.2 s``, ``3 min``, ``2.5 d``."""
    if ms is None:
        return "–"
    for size, unit in _UNITS:
        if ms >= size:
            amount = ms / size
            return f"{round(amount, 1 if amount < 10 else None):g} {unit}"
    return f"{ms:.0f} ms"


def instant(ms: int | None) -> str:
    """An instant in UTC, to the second, as ISO 8601 writes it."""
    return "–" if not ms else datetime.fromtimestamp(ms / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def iso(ms: int | None) -> str:
    """An instant for ``<time datetime>``."""
    return "" if not ms else datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat(timespec="milliseconds")


def ago(ms: int | None, now_ms: int) -> str:
    """How long ago an instant was, or in what time it will be."""
    if not ms:
        return "–"
    return f"{duration(now_ms - ms)} ago" if ms <= now_ms else f"in {duration(ms - now_ms)}"


def error_class(reason: str | None) -> str:
    """What is before the colon of a reason."""
    return (reason or "").partition(":")[0]
