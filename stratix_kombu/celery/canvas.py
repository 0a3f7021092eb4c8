"""Flows as Celery canvas, and canvas as flows.

A canvas can express what is built from single tasks by putting parts one after the other or side by side (a
series-parallel order). It cannot express a graph that contains an N (two jobs share a dependency, and one of them has
another one)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery import Celery, chain, group

from stratix_kombu.celery.batch import Batch, within
from stratix_kombu.celery.mirror import Sending, sent
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.lifecycle.add import records_of
from stratix_kombu.queue.flow import Flow
from stratix_kombu.queue.job import Job

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge


class Canvas:
    """The translations that ``app.queue`` and its flows offer when there is a bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    @property
    def celery(self) -> Celery:
        return self._bridge.celery

    def add(self, signature: Any) -> Flow:
        """Publish a signature of any shape in one step; the flow shows later tasks as placeholders."""
        with sent(Sending.TRACKED), within(Batch()) as batch:
            signature.apply_async()
        batch.show_what_is_carried()
        new = batch.finish()
        placed = self._bridge.publisher.add(new)
        records = records_of(self._bridge.engine, new, placed)
        jobs = [self._bridge.queue.get_queue(record.queue).handle(record) for record in records]
        return Flow(jobs, {one.id: one.dependencies for one in new}, lambda _: signature.clone())

    def export(self, flow: Flow) -> Any:
        """The flow as chain, group and chord of its tasks. Raises ConfigurationError, naming the edge in the way."""
        return _Order(flow).signature(self._signature)

    def _signature(self, job: Job) -> Any:
        app = self._bridge.celery
        app.finalize()
        if job.name not in app.tasks:
            raise ConfigurationError(f"job {job.id} is no Celery task: the application has none called {job.name!r}")
        data = job.data
        if isinstance(data, Mapping) and job.is_task:
            args, kwargs = data["args"], data["kwargs"]
        elif isinstance(data, Mapping):
            args, kwargs = (), data
        else:
            args, kwargs = data if isinstance(data, list) else [data] if data is not None else [], {}
        return app.signature(job.name, args=tuple(args), kwargs=dict(kwargs), immutable=True)


class _Order:
    """The partial order of a flow's jobs; sets of jobs are bits of an integer."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.ids = list(flow.jobs)  # dependencies come first
        number = {job_id: index for index, job_id in enumerate(self.ids)}
        self.direct = [[number[d] for d in flow.dependencies[job_id]] for job_id in self.ids]
        self.before = [0] * len(self.ids)
        for index, dependencies in enumerate(self.direct):
            for dependency in dependencies:
                self.before[index] |= self.before[dependency] | 1 << dependency
        self._refuse_shortcuts()

    def _refuse_shortcuts(self) -> None:
        for index, dependencies in enumerate(self.direct):
            for dependency in dependencies:
                over = next((other for other in dependencies if self.before[other] >> dependency & 1), None)
                if over is not None:
                    raise ConfigurationError(
                        f"the flow cannot be a canvas: job {self.ids[index]} depends on {self.ids[dependency]} "
                        f"both directly and through {self.ids[over]}; the edge {self.ids[dependency]} -> "
                        f"{self.ids[index]} prevents it"
                    )

    def signature(self, make: Any) -> Any:
        return self._compose(list(range(len(self.ids))), make)

    def _compose(self, members: list[int], make: Any) -> Any:
        if len(members) == 1:
            return make(self.flow.jobs[self.ids[members[0]]])
        parts = self._parts(members, related=True)
        if len(parts) > 1:
            return group(self._compose(part, make) for part in parts)
        steps = self._parts(members, related=False)
        if len(steps) == 1:
            first, second = self._n_in(members)
            raise ConfigurationError(
                f"the flow cannot be a canvas: the edge {self.ids[first]} -> {self.ids[second]} joins "
                "parts that neither "
                "follow each other as a whole nor run side by side"
            )
        steps.sort(key=lambda part: part[0])
        return chain(*(self._compose(part, make) for part in steps))

    def _parts(self, members: list[int], related: bool) -> list[list[int]]:
        """Connected parts: of jobs that are ordered (to run side by side), or of those that are not (in a row)."""
        inside = 0
        for member in members:
            inside |= 1 << member
        after: dict[int, int] = dict.fromkeys(members, 0)
        for one in members:
            for other in members:
                if self.before[other] >> one & 1:
                    after[one] |= 1 << other
        left, parts = inside, []
        for start in members:
            if not left >> start & 1:
                continue
            part, edge = 0, 1 << start
            while edge:
                part |= edge
                reached = 0
                for one in members:
                    if edge >> one & 1:
                        ordered = (self.before[one] | after[one]) & inside
                        reached |= ordered if related else inside & ~ordered & ~(1 << one)
                edge = reached & ~part
            left &= ~part
            parts.append([one for one in members if part >> one & 1])
        return parts

    def _n_in(self, members: list[int]) -> tuple[int, int]:
        """The middle edge b -> c of an N: a -> c, b -> c, b -> d, with a and d unrelated."""
        for second in members:
            for first in self.direct[second]:
                for third in self.direct[second]:
                    if third == first or first not in members or third not in members:
                        continue
                    for fourth in members:
                        if first in self.direct[fourth] and not self.before[fourth] >> third & 1:
                            return first, second
        return self.direct[members[-1]][0], members[-1]
