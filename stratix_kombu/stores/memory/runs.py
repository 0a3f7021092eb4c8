"""What schedules keep of their last runs, in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stratix_kombu.model.names import run_of
from stratix_kombu.model.record import RUN, Ended
from stratix_kombu.model.runs import with_end

if TYPE_CHECKING:
    from stratix_kombu.stores.memory.state import Job, Space


def end_run(space: Space, job: Job, ended: Ended) -> None:
    """Retention removes a job: the schedule whose run it was keeps how it ended."""
    key, slot = run_of(job.new.id) if job.new.kind == RUN else ("", "")
    if key and (schedule := space.schedules.get(key)):
        space.schedules[key] = replace(schedule, recent=with_end(schedule.recent, slot, ended))
