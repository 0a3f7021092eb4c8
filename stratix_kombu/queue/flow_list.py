"""The flows of a namespace, and how far each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stratix_kombu.answer_types import FlowPage, FlowSummary
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.queue.flow import READ_PAGE, REMOVED

COUNTED = 1_000
"""Jobs of one flow that are counted at most."""
COUNTED_AT_ONCE = 10_000
"""And of all flows of a page."""
FLOWS_AT_ONCE = 100


def flow_page(engine: Engine, cursor: str, limit: int) -> FlowPage:
    """See ``Inspection.get_flows``."""
    roots, cursor = engine.store.queries.roots(cursor, limit)
    members, cut = _members(engine, [root.id for root in roots])
    states = _states(engine, members)
    return FlowPage([_summary(root, members[root.id], states, root.id in cut) for root in roots], cursor)


def _members(engine: Engine, roots: Sequence[str]) -> tuple[dict[str, dict[str, None]], set[str]]:
    """By root what it depends on, directly or not, and itself; and the roots of which not all was read. What several
    flows have in common is read once, a level of all flows together."""
    members, cut = {root: {root: None} for root in roots}, set[str]()
    before: dict[str, Sequence[str]] = {}
    levels: dict[str, Sequence[str]] = {root: [root] for root in roots}
    while levels:
        ids = dict.fromkeys(one for level in levels.values() for one in level if one not in before)
        wanted = list(ids)[: max(COUNTED_AT_ONCE - len(before), 0)]
        for start in range(0, len(wanted), READ_PAGE):
            page = wanted[start : start + READ_PAGE]
            edges = engine.store.queries.edges(page)
            before.update((one, found) for one, (found, _) in zip(page, edges, strict=True))
        following: dict[str, Sequence[str]] = {}
        for root, level in levels.items():
            known = members[root]
            new = dict.fromkeys(one for job in level for one in before.get(job, ()) if one not in known)
            room = COUNTED - len(known)
            if len(new) > room or any(job not in before for job in level):
                cut.add(root)
            known.update(dict.fromkeys(list(new)[:room]))
            if new and room > 0:
                following[root] = list(new)[:room]
        levels = following
    return members, cut


def _states(engine: Engine, members: Mapping[str, Mapping[str, None]]) -> dict[str, State | None]:
    ids = list(dict.fromkeys(one for jobs in members.values() for one in jobs))
    states: dict[str, State | None] = {}
    for start in range(0, len(ids), READ_PAGE):
        page = ids[start : start + READ_PAGE]
        states.update(zip(page, engine.store.queries.states(page), strict=True))
    return states


def _summary(
    root: JobRecord, members: Mapping[str, None], states: Mapping[str, State | None], is_cut: bool
) -> FlowSummary:
    counts = {**dict.fromkeys((state.value for state in State), 0), REMOVED: 0}
    for one in members:
        state = states[one]
        counts[state.value if state else REMOVED] += 1
    done = counts["completed"] + counts["failed"] + counts[REMOVED]
    return FlowSummary(
        job_id=root.id,
        name=root.name,
        queue=root.queue,
        created_on=root.created_ms,
        state=root.state.value,
        counts=counts,
        total=len(members),
        done=done,
        exact=not is_cut,
    )
