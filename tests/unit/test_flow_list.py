"""The list of flows, on all stores."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job
from stratix_kombu.queue import flow_list
from stratix_kombu.types import FlowSummary
from tests.waiting import until


def tree(name: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": name, "queue": "etl", "children": list(children), **fields}


def counted(flow: FlowSummary) -> dict[str, int]:
    return {state: count for state, count in flow.counts.items() if count}


def test_the_newest_first_with_how_far_they_are(app: Application) -> None:
    queue = app.queue.create_queue("etl", concurrency=2)
    queue.process("a", lambda job: 1)
    queue.process("bad", lambda job: 1 / 0)
    first = app.queue.add_flow(tree("sum", tree("a"), tree("a"), tree("late", queue="nobody")))
    second = app.queue.add_flow(tree("top", tree("middle", tree("bad")), tree("other", queue="nobody")))
    page = app.queue.get_flows()
    assert [flow.job_id for flow in page.flows] == [second.root.id, first.root.id]
    assert page.cursor == ""
    until(lambda: [flow.done for flow in app.queue.get_flows().flows] == [3, 2])
    newest, oldest = app.queue.get_flows().flows
    assert (newest.name, newest.queue, newest.state, newest.total, newest.exact) == ("top", "etl", "failed", 4, True)
    assert newest.created_on == second.root.timestamp
    assert counted(newest) == {"failed": 3, "waiting": 1}
    assert counted(oldest) == {"blocked": 1, "completed": 2, "waiting": 1}
    for job in first:
        if job.name == "a":
            job.remove()
    (_, oldest) = app.queue.get_flows().flows
    assert counted(oldest) == {"blocked": 1, "removed": 2, "waiting": 1}
    assert (oldest.done, oldest.total) == (2, 4)
    second.root.remove()
    assert [flow.job_id for flow in app.queue.get_flows().flows] == [first.root.id]


def test_jobs_that_flows_share_and_jobs_added_one_by_one(app: Application) -> None:
    queue = app.queue.get_queue("etl")
    shared = queue.add("shared")
    roots = [queue.add("root", dependencies=[shared]) for _ in range(3)]
    assert [(flow.job_id, flow.total) for flow in app.queue.get_flows().flows] == [(job.id, 2) for job in roots[::-1]]


def test_page_by_page(app: Application) -> None:
    roots = [app.queue.add_flow(tree("root", tree("leaf"))).root.id for _ in range(5)]
    found, cursor = list[str](), ""
    while True:
        page = asyncio.run(app.queue.aio.get_flows(cursor, limit=2))
        found += [flow.job_id for flow in page.flows]
        cursor = page.cursor
        if not cursor:
            break
    assert found == roots[::-1]
    for wrong in (
        {"limit": 0},
        {"limit": 101},
        {"cursor": "x"},
        *({"cursor": odd} for odd in ("9" * 20, "9" * 5_000, "٣")),
    ):
        with pytest.raises(ConfigurationError):
            app.queue.get_flows(**wrong)


@pytest.mark.parametrize(("most", "at_once", "total"), [(4, 100, 4), (100, 5, 8)])
def test_large_ones_are_counted_in_part(
    app: Application, monkeypatch: pytest.MonkeyPatch, most: int, at_once: int, total: int
) -> None:
    monkeypatch.setattr(flow_list, "COUNTED", most)
    monkeypatch.setattr(flow_list, "COUNTED_AT_ONCE", at_once)
    app.queue.add_flow(tree("root", *(tree("part", *(tree("leaf") for _ in range(2))) for _ in range(7))))
    (flow,) = app.queue.get_flows().flows
    assert not flow.exact
    assert total <= flow.total < 22
    assert sum(flow.counts.values()) == flow.total


def test_a_large_flow_behind_a_gate(app: Application) -> None:
    flow = app.queue.add_flow(tree("root", *(tree("leaf") for _ in range(600))))
    alone: list[Job] = app.queue.get_queue("etl").add_bulk([{"name": "n"} for _ in range(1_100)])
    (only,) = app.queue.get_flows().flows
    assert (only.job_id, only.total, only.exact) == (flow.root.id, 601, True)
    assert alone
