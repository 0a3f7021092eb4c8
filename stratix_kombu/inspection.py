"""The methods of a queue that look at it and its jobs; nothing changes."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.job import Job, Runtime
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.names import check_job_id
from stratix_kombu.model.record import QueueStatus, WorkerInfo
from stratix_kombu.model.state import State


class Inspection:
    """What can be read of a queue, from any process."""

    name: str
    _engine: Engine
    _runtime: Runtime

    def get_job(self, job_id: str) -> Job | None:
        """The job with that id, or None."""
        (record,) = self._engine.store.queries.get([check_job_id(job_id)])
        return Job(record, self._runtime) if record and record.queue == self.name else None

    def get_jobs(self, states: str | Sequence[str] = (), start: int = 0, end: int = -1) -> list[Job]:
        """Jobs in the given states (all, if none is named), ``start`` to ``end`` inclusive, negative from the end.

        Waiting jobs come in the order of dispatch, delayed ones by due time, finished ones newest first.

        >>> queue.get_jobs(["failed"], 0, 9)  # doctest: +SKIP
        """
        names = [states] if isinstance(states, str) else list(states)
        wanted = [_state(self.name, one) for one in names] or list(State)
        found = self._engine.store.queries.find(self.name, list(dict.fromkeys(wanted)), start, end)
        return [Job(record, self._runtime) for record in found]

    def get_job_counts(self) -> dict[str, int]:
        """How many jobs are in each state; while the queue is paused, waiting ones count as ``paused``."""
        return self.get_status().counts

    def get_status(self) -> QueueStatus:
        """Counts, whether it is paused, workers, and the age in milliseconds of the oldest waiting job."""
        return self._engine.store.queries.status(self.name)

    def get_workers(self) -> list[WorkerInfo]:
        """Workers that take jobs of this queue, in all processes."""
        return self._engine.store.queries.workers(self.name)

    def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return self.get_status().paused


def _state(queue: str, name: str) -> State:
    try:
        return State("waiting" if name == "paused" else name)
    except ValueError:
        known = [state.value for state in State]
        raise ConfigurationError(f"queue {queue!r}: unknown state {name!r}{nearest(str(name), known)}") from None
