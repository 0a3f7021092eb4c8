"""What there is in all queues of a namespace, whichever program made it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from stratix_kombu.answer_types import FlowPage
from stratix_kombu.config.options import whole
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.arguments import plain_text
from stratix_kombu.model.finding import LOOKED_AT_ONCE, JobFilter, not_a_cursor
from stratix_kombu.model.metrics import KEPT_MINUTES
from stratix_kombu.model.names import check_known_id
from stratix_kombu.model.overview import QueueOverview
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.model.workers import WorkerProcess
from stratix_kombu.queue.flow_list import FLOWS_AT_ONCE, flow_page
from stratix_kombu.queue.job import Job
from stratix_kombu.queue.queue import Queue
from stratix_kombu.queue.repeatables import RepeatableJob, repeatables_of

_CURSOR = re.compile("[0-9]{0,18}")
"""Of flows: '', or the number of one."""


class Inspection(ABC):
    """Reads the store; changes nothing."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """Store and driver. Raises ConfigurationError for a driver that has queues of its own."""

    @abstractmethod
    def get_queue(self, name: str) -> Queue:
        """The queue of that name."""

    def get_queue_names(self) -> list[str]:
        """Names of all queues that have had a job or a worker, sorted. A queue that has been unused for a day is
        forgotten: it has no job, worker, repeatable job, pause, limit or bound, and no event.

        >>> app.queue.get_queue_names()  # doctest: +SKIP
        ['emails', 'reports']
        """
        return self.engine.store.queries.queues()

    def get_job(self, job_id: str) -> Job | None:
        """The job with that id, of any queue, or None."""
        (record,) = self.engine.store.queries.get([check_known_id(job_id)])
        return self.get_queue(record.queue).handle(record) if record else None

    def get_repeatable_jobs(self) -> list[RepeatableJob]:
        """The repeatable jobs of all queues, sorted by queue and key.

        >>> [one.key for one in app.queue.get_repeatable_jobs() if one.paused]  # doctest: +SKIP
        """
        schedules = self.engine.store.schedules.all()
        return list(repeatables_of(sorted(schedules, key=lambda schedule: (schedule.queue, schedule.key))))

    def get_flows(self, cursor: str = "", limit: int = FLOWS_AT_ONCE) -> FlowPage:
        """Flows, the newest first, at most ``limit`` (1 to 100): of each its root, the job on which no other one
        depends, and the number of its jobs in each state. At most 1,000 jobs of a flow are counted, and 10,000 of a
        page; ``exact`` says whether these are all. Jobs with dependencies that were added one by one are flows too.
        Raises ConfigurationError, StoreUnavailable.

        >>> [(flow.name, flow.done, flow.total) for flow in app.queue.get_flows().flows]  # doctest: +SKIP
        """
        whole(limit, "get_flows: 'limit'", 1, FLOWS_AT_ONCE)
        if not _CURSOR.fullmatch(plain_text(cursor, "get_flows: 'cursor'")):
            raise not_a_cursor(cursor)
        return flow_page(self.engine, cursor, limit)

    def get_overview(self, minutes: int = 60) -> list[QueueOverview]:
        """All queues, sorted by name: the number of jobs in each state, pauses, limits and workers, and how many jobs
        completed and failed in each of the last minutes (1 to 1440; the current one is the last). One call to the store
        for up to 200 queues. Raises ConfigurationError, StoreUnavailable.

        >>> [one.name for one in app.queue.get_overview() if one.counts["failed"]]  # doctest: +SKIP
        """
        whole(minutes, "get_overview: 'minutes'", 1, KEPT_MINUTES)
        queries, found, cursor = self.engine.store.queries, dict[str, QueueOverview](), ""
        while True:
            page, cursor = queries.overview(cursor, minutes=minutes)
            found.update((one.name, one) for one in page)
            if not cursor:
                return [found[name] for name in sorted(found)]

    def get_workers(self) -> list[WorkerProcess]:
        """The workers of all queues, sorted by id: each once, with the queues that it serves. Raises StoreUnavailable.

        >>> [(one.host, one.slots, one.last_take_on) for one in app.queue.get_workers()]  # doctest: +SKIP
        """
        queries, found, cursor = self.engine.store.queries, dict[str, WorkerProcess](), ""
        while True:
            page, cursor = queries.processes(cursor)
            found.update((one.id, one) for one in page)
            if not cursor:
                return [found[name] for name in sorted(found)]

    def get_worker_jobs(self, worker_id: str, limit: int = 100) -> list[Job]:
        """The jobs that a worker runs now, of all queues, at most ``limit`` (1 to 1,000); also of one that is present
        no more, until its jobs are recovered. Raises ConfigurationError, StoreUnavailable."""
        where = JobFilter(worker=plain_text(worker_id, "get_worker_jobs: 'worker_id'"))
        whole(limit, "get_worker_jobs: 'limit'", 1, LOOKED_AT_ONCE)
        queries, records = self.engine.store.queries, dict[str, JobRecord]()
        served = next((one.queues for one in self.get_workers() if one.id == worker_id), None)
        for queue in self.get_overview(minutes=1) if worker_id else ():
            cursor, more = "", queue.counts["active"] > 0 and (served is None or queue.name in served)
            while more and len(records) < limit:
                page = queries.page(queue.name, State.ACTIVE, where, cursor, limit - len(records))
                records.update((record.id, record) for record in page.records)
                cursor = page.cursor
                more = bool(cursor)
        return [self.get_queue(record.queue).handle(record) for record in records.values()]
