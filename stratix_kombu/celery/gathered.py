"""One step of the store for what several threads want of it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from stratix_kombu.errors import Unavailable

Answer = TypeVar("Answer")
Wanted = TypeVar("Wanted")

MOST = 100
"""In one step, at most: others need the store, too."""


@dataclass(slots=True, eq=False)
class _Asked(Generic[Wanted, Answer]):
    """What one thread waits for."""

    job_id: str
    wanted: Wanted
    answers: list[Answer] = field(default_factory=list)
    error: Exception | None = None
    alone: bool = False
    """Whether the step was made for this thread only."""

    @property
    def is_answered(self) -> bool:
        return bool(self.answers) or self.error is not None


Prepare = Callable[[Sequence[Wanted]], Callable[[], Sequence[Answer]]]


@dataclass(slots=True, eq=False)
class _Batch(Generic[Wanted, Answer]):
    asked: list[_Asked[Wanted, Answer]]
    call: Callable[[], Sequence[Answer]] | None = None

    def make(self, prepare: Prepare[Wanted, Answer]) -> None:
        """Make the step, and answer who has asked."""
        try:
            if self.call is None:
                self.call = prepare([one.wanted for one in self.asked])
            for one, answer in zip(self.asked, self.call(), strict=True):
                one.answers.append(answer)
        except Exception as error:
            for one in self.asked:
                one.error, one.alone = error, len(self.asked) == 1


class Gathered(Generic[Wanted, Answer]):
    """The first thread that asks makes the step for itself; those that ask meanwhile are gathered, and one of them
    makes the next one for all. So the fewer steps there are the busier the store is, and nobody waits for company.

    ``prepare`` returns the step for several: a call that answers each one, and may be repeated."""

    def __init__(self, prepare: Prepare[Wanted, Answer]) -> None:
        self._prepare = prepare
        self._changed = threading.Condition(threading.Lock())
        self._waiting: list[_Asked[Wanted, Answer]] = []
        self._left: _Batch[Wanted, Answer] | None = None
        """One whose thread was interrupted, by a time limit of gevent's for example, while it made the step."""
        self._busy = False

    def ask(self, job_id: str, wanted: Wanted) -> Answer:
        """The answer to one of them. Raises what the step raises."""
        if threading.current_thread() is threading.main_thread():
            # The only one that runs tasks in its process, and a signal may raise an error in it anywhere.
            return self._prepare([wanted])()[0]
        mine: _Asked[Wanted, Answer] = _Asked(job_id, wanted)
        with self._changed:
            self._waiting.append(mine)
        while (batch := self._turn(mine)) is not None:
            self._make(batch)
        if mine.error is None:
            return mine.answers[0]
        if mine.alone or isinstance(mine.error, Unavailable):
            raise mine.error
        return self._prepare([wanted])()[0]  # it may have been the fault of another one

    def _turn(self, mine: _Asked[Wanted, Answer]) -> _Batch[Wanted, Answer] | None:
        """Wait for the answer, or until it is this thread's turn to make a step: returns that."""
        with self._changed:
            try:
                while self._busy and not mine.is_answered:
                    self._changed.wait()
            except BaseException:
                if mine in self._waiting:
                    self._waiting.remove(mine)
                raise
            if mine.is_answered:
                return None
            self._busy = True
            batch, self._left = self._left or self._next(), None
            return batch

    def _next(self) -> _Batch[Wanted, Answer]:
        """Two that want something of one job do not go together: what the store answers is told apart by the job."""
        first: dict[str, _Asked[Wanted, Answer]] = {}
        for one in self._waiting:
            if len(first) < MOST:
                first.setdefault(one.job_id, one)
        asked = list(first.values())
        self._waiting = [one for one in self._waiting if first.get(one.job_id) is not one]
        return _Batch(asked)

    def _make(self, batch: _Batch[Wanted, Answer]) -> None:
        try:
            batch.make(self._prepare)
        except BaseException:
            if len(batch.asked) > 1:
                self._left = batch
            raise
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
