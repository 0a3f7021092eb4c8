"""Rules that only look at the stores: what they show of a queue, and what they find, is alike."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from stratix_kombu.model.finding import ALL_JOBS, JobFilter
from stratix_kombu.model.state import State
from tests.conformance.seen import found, overview

QUEUES = ("x", "y")

queues = st.sampled_from(QUEUES)


class Looks(RuleBasedStateMachine):
    @abstractmethod
    def alike(self, step: Any) -> Any:
        """The answer all stores give; a refusal counts as one."""

    @rule(
        queue=queues,
        state=st.sampled_from(State),
        where=st.sampled_from([ALL_JOBS, JobFilter(name="n*"), JobFilter(id_prefix="c"), JobFilter(reason="d*nd")]),
        limit=st.integers(1, 3),
    )
    def look_for(self, queue: str, state: State, where: JobFilter, limit: int) -> None:
        order = sorted if state in (State.ACTIVE, State.DELAYED) else list
        self.alike(lambda store: order(found(store, queue, state, where, limit)))

    @rule()
    def look_at_all(self) -> None:
        self.alike(lambda store: sorted(overview(one) for one in store.queries.overview()[0]))
        self.alike(lambda store: sorted(store.queries.processes()[0], key=lambda one: one.id))
