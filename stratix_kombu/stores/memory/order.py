"""The order of a queue's waiting jobs, and the lines of those that are set aside."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stratix_kombu.model.record import Limit, NewJob
from stratix_kombu.model.state import Refusal

if TYPE_CHECKING:
    from stratix_kombu.stores.memory.state import Job

Key = tuple[int, int, str]
"""Where a job stands: its priority, its place and its id."""


@dataclass(slots=True)
class Line:
    """Jobs that one thing keeps from starting, in their order."""

    opens_ms: float = math.inf
    """When they may be looked at again."""
    jobs: list[Key] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Took:
    """What a worker took last, and was answered."""

    request: str
    ids: tuple[str, ...]
    why: Refusal | None
    until_ms: int
    """An instant; 0 = none."""
    left: bool


@dataclass(slots=True)
class Order:
    """Which job is next in one queue."""

    jobs: list[Key] = field(default_factory=list)
    """Those that may be taken, sorted."""
    lines: dict[str, Line] = field(default_factory=dict)
    """Those that are set aside, by what keeps them: ``t:<key of a limit>`` or ``g:<group>``."""
    unsent: dict[str, None] = field(default_factory=dict)
    """Native jobs whose claim the queue refused: their messages were dropped."""
    unsent_lines: dict[str, Line] = field(default_factory=dict)
    """And those that their own limit refused, by its key."""
    last: Counter[int] = field(default_factory=Counter)
    """Per priority: the last place of the jobs without a group."""
    started: dict[int, int] = field(default_factory=dict)
    """Per priority of which there are groups: the last place from which a job started."""
    groups: dict[tuple[int, str], int] = field(default_factory=dict)
    """The last place of each group."""
    active: Counter[str] = field(default_factory=Counter)
    """Active jobs of each group."""
    group_bound: int = 0
    """The bound of active jobs of a group when one was set aside."""
    owed: int = 0
    """Permits that were dropped although jobs wait."""
    crowded: bool = False
    """A bound has refused a job since all that was owed was sent."""
    limit: Limit | None = None
    """The limit and the bound of the program that was refused last."""
    most: int = 0
    opens_ms: float = math.inf
    """When the owed permits must be checked again."""
    short_ms: int | None = None
    """Since when there are fewer messages than there should be."""
    took: dict[str, Took] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.jobs) + sum(len(line.jobs) for line in self.lines.values())

    def new_place(self, new: NewJob) -> int:
        """The place of a job that becomes waiting."""
        if not new.group:
            self.last[new.priority] += 1
            return self.last[new.priority]
        group = (new.priority, new.group)
        if new.priority not in self.started:
            first = self.first_place(new.priority)
            self.started[new.priority] = self.last[new.priority] if first is None else first - 1
        self.groups[group] = max(self.started[new.priority], self.groups.get(group, 0)) + 1
        return self.groups[group]

    def first_place(self, priority: int) -> int | None:
        """Of the jobs of that priority that may be taken."""
        return next((place for one, place, _ in self.jobs if one == priority), None)

    def begun_at(self, place: int, new: NewJob) -> None:
        """A job has started from its place."""
        if new.priority in self.started:
            self.started[new.priority] = max(self.started[new.priority], place)
        if new.group:
            self.active[new.group] += 1
            self.last[new.priority] = max(self.last[new.priority], place)

    def put(self, key: Key) -> None:
        insort(self.jobs, key)

    def put_aside(self, key: Key, name: str, opens_ms: float) -> None:
        line = self.lines.setdefault(name, Line())
        insort(line.jobs, key)
        line.opens_ms = min(line.opens_ms, opens_ms)

    def is_behind(self, key: Key, name: str) -> bool:
        """Whether a job in the line comes first."""
        return name in self.lines and self.lines[name].jobs[0] < key

    def remove(self, key: Key, name: str) -> None:
        """Out of the order, or out of the line of that name."""
        jobs = self.lines[name].jobs if name else self.jobs
        del jobs[bisect_left(jobs, key)]
        if name and not jobs:
            del self.lines[name]

    def leave_unsent(self, job: Job) -> None:
        """Its message is sent again, or not needed any more."""
        self.unsent.pop(job.new.id, None)
        if job.line:
            line = self.unsent_lines[job.line]
            line.jobs.remove(job.key)
            if not line.jobs:
                del self.unsent_lines[job.line]
            job.line = ""

    def next_line_ms(self) -> float:
        """When the first line opens that opens by itself."""
        return min((line.opens_ms for line in self.lines.values()), default=math.inf)

    def opened(self, now: int, *, unsent: bool = False) -> list[str]:
        """The names of lines that may be looked at, the one that opened first before others."""
        lines = self.unsent_lines if unsent else self.lines
        return [
            name for _, name in sorted((line.opens_ms, name) for name, line in lines.items() if line.opens_ms <= now)
        ]

    def opens_after(self, now: int, *, unsent: bool = False) -> float:
        """When the first line opens of those that have not yet."""
        lines = self.unsent_lines if unsent else self.lines
        return min((line.opens_ms for line in lines.values() if line.opens_ms > now), default=math.inf)

    def open_groups(self) -> None:
        """The bound of groups has changed: check their lines."""
        for name, line in self.lines.items():
            line.opens_ms = 0 if name.startswith("g:") else line.opens_ms


def waiting_ids(jobs: Iterable[Job], aside_first: bool = False) -> list[str]:
    """The ids of waiting jobs: those in the order, those that are set aside, and native ones as they were
    dispatched."""
    parts: tuple[list[Job], list[Job], list[Job]] = ([], [], [])
    for job in jobs:
        parts[2 if job.new.native else (0 if job.line else 1) if aside_first else (1 if job.line else 0)].append(job)
    for part in parts[:2]:
        part.sort(key=lambda one: one.key)
    parts[2].sort(key=lambda one: (one.new.priority, one.dispatched_as))
    return [job.new.id for part in parts for job in part]
