"""Add and take within the middleware of the application: its faults are reported, and lose nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.claims import Taken
from stratix_kombu.model.headers import headers_of, with_headers
from stratix_kombu.model.middleware import JobHead, Taking, within
from stratix_kombu.model.record import LETTER, Added, NewJob

FAILED = "middleware_failed"
Answer = TypeVar("Answer", Added, Taken)


def add_within(engine: Engine, jobs: Sequence[NewJob], step: Callable[[], Added]) -> Added:
    """Add, with the headers that middleware has set. What it raises before that is raised, and nothing was added. It
    does not see tasks of Celery, which have headers and signals of their own, nor what the package adds for itself."""
    seen = [job for job in jobs if not job.native and not job.vacant and job.kind in ("", LETTER)]
    if not seen:
        return step()
    heads = [JobHead(id=job.id, name=job.name, queue_name=job.queue, headers=headers_of(job.options)) for job in seen]

    def add() -> Added:
        for job, head in zip(seen, heads, strict=True):
            if head.headers:
                job.options = with_headers(job.options, head.headers)
        return step()

    once = _Once(add)
    try:
        within(engine.middleware.add, heads, once)
    except Exception as problem:
        if problem is once.problem or once.answer is None:
            raise
        engine.report(seen[0].queue, problem, FAILED)
    return once.result()


def take_within(engine: Engine, queue: str, want: int, step: Callable[[], Taken]) -> Taken:
    """Take. What middleware raises is reported, and the jobs are taken nevertheless."""
    taking = Taking(queue_name=queue, want=want)

    def take() -> Taken:
        taken = step()
        taking.jobs = [
            JobHead(
                id=claim.record.id,
                name=claim.record.name,
                queue_name=queue,
                headers=headers_of(claim.record.options),
                attempts_made=claim.record.attempts_made,
            )
            for claim in taken.claims
        ]
        return taken

    once = _Once(take)
    try:
        within(engine.middleware.take, taking, once)
    except Exception as problem:
        if problem is not once.problem:
            engine.report(queue, problem, FAILED)
    return once.result() if once.tried else step()


class _Once(Generic[Answer]):
    """A step that middleware is around: what came of it, whatever they make of that."""

    def __init__(self, step: Callable[[], Answer]) -> None:
        self._step: Callable[[], Answer] = step
        self.tried = False
        self.answer: Answer | None = None
        self.problem: Exception | None = None

    def __call__(self) -> Answer:
        self.tried = True
        try:
            self.answer = self._step()
        except Exception as problem:
            self.problem = problem
            raise
        return self.answer

    def result(self) -> Answer:
        """What it answered. Raises what it raised, though middleware has swallowed that."""
        if self.answer is None:
            raise self.problem or ConfigurationError("middleware around add has swallowed an exception of its own")
        return self.answer
