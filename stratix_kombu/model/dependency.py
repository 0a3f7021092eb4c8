"""What a job knows of one that it depends on."""

from __future__ import annotations

from dataclasses import dataclass

from stratix_kombu.model.state import State


@dataclass(frozen=True, slots=True)
class Dependency:
    """A job on which another one depends."""

    state: State | None
    """None: it was removed before it finished."""
    result: str | None = None
    """JSON; of one that has completed, even after its record was removed and after its id was used again."""
    finished_ms: int = 0
    """When it finished, in milliseconds since the epoch; 0 = it has not, or its record no longer exists."""
