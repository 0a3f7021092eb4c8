"""What every step of the memory store works with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from stratix_kombu.errors import InvalidJobState, JobNotFound
from stratix_kombu.model.record import ANY_CLAIM, UNCLAIMED, Change
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import PAGE
from stratix_kombu.stores.memory.release import release_page
from stratix_kombu.stores.memory.reopening import let_in
from stratix_kombu.stores.memory.state import Job, Space, is_kept

Method = TypeVar("Method", bound=Callable[..., Any])


def step(method: Method) -> Method:
    @wraps(method)
    def locked(self: Steps, *args: Any, **kwargs: Any) -> Any:
        with self.space.lock:
            self.space.ready.clear()
            self.space.vacated.clear()
            self.space.instead.clear()
            self.space.stand_ins.clear()
            before, self.space.step_ms = self.space.step_ms, self.space.now()
            try:
                return method(self, *args, **kwargs)
            finally:
                self.space.step_ms = before

    return cast(Method, locked)


class Steps:
    """The namespace, and what steps return."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def _release_and_tell(self, queues: Iterable[str], stale: Sequence[str] = ()) -> Change:
        """Dependents first: a queue that gets work by them is not drained."""
        more = release_page(self.space, PAGE)
        for queue in queues:
            self.space.tell_drained(queue)
        return self._change(more, stale)

    def _job(self, job_id: str) -> Job:
        job = self.space.jobs.get(job_id)
        if job is None:
            raise JobNotFound(job_id)
        return job

    def _in_state(self, job_id: str, state: State, operation: str) -> Job:
        job = self._job(job_id)
        if job.state is not state:
            raise InvalidJobState(job_id, job.state.value, operation, [state.value])
        return job

    def _change(self, more: bool = False, stale: Sequence[str] = ()) -> Change:
        let_in(self.space)
        return Change(ready=tuple(self.space.ready), stale=tuple(stale), more=more)

    def _ending(self, job_id: str, token: str) -> Job | None:
        job = self.space.jobs.get(job_id)
        if job is None or job.state.finished:
            return None
        by_hand = token == ANY_CLAIM or (token == UNCLAIMED and job.state is not State.ACTIVE)
        return job if by_hand else self._held(job_id, token)

    def _unless_ended(self, job_id: str, ended: str) -> list[str]:
        """The id, unless it is known that this outcome of the job's last attempt was stored before: then the request is
        a repetition."""
        job = self.space.jobs.get(job_id)
        kept, how = self.space.ended.get(job_id, (None, ""))
        before = job is not None and job.ended == ended
        return [] if before or (kept and is_kept(kept, self.space.now()) and how == ended) else [job_id]

    def _held(self, job_id: str, token: str) -> Job | None:
        job = self.space.jobs.get(job_id)
        return job if job and job.state is State.ACTIVE and job.token == token else None
