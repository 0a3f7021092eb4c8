"""The body of a chord is kept once, in its join; tasks of the header refer to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratix_kombu.drivers.rest import text_of
from stratix_kombu.model.names import join_id

JOIN_REFERENCE = "stratix_join"
"""In place of the chord of a task: the join that waits for it."""


def shorten(options: dict[str, Any]) -> None:
    """The options of a task, and those of the chain behind it."""
    chord = options.get("chord")
    if isinstance(chord, Mapping) and "task" in chord and options.get("group_id"):
        options["chord"] = {JOIN_REFERENCE: join_id(options["group_id"])}
    if options.get("chain") and text_of(options["chain"]) is None:
        options["chain"] = [_shortened(step) for step in options["chain"]]


def _shortened(step: Any) -> Any:
    options = step.get("options") if isinstance(step, (dict, Mapping)) else None  # to tell a dict is quick
    if not options or not (chord := options.get("chord")) or not isinstance(chord, Mapping) or "task" not in chord:
        return step
    reference = {JOIN_REFERENCE: join_id(options["group_id"])} if options.get("group_id") else chord
    copy = step.clone() if hasattr(step, "clone") else dict(step)
    copy["options"] = {**options, "chord": reference}
    return copy
