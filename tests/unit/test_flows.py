"""Whole graphs of jobs, on both stores."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, DependencyCycle, DependencyNotFound, Flow, Job, JobFailed
from stratix_kombu.lifecycle import add as adding
from stratix_kombu.lifecycle.recover import recover
from stratix_kombu.model import flow_plan
from stratix_kombu.types import TreeNode


def node(name: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": name, "queue": "etl", "children": list(children), **fields}


def work(job: Job) -> Any:
    return [job.name, *sorted(job.get_dependency_results().values(), key=str)]


def test_a_tree_runs_from_its_leaves_to_its_root(app: Application) -> None:
    for name in ("etl", "other"):
        app.queue.create_queue(name, concurrency=3).process(work)
    flow = app.queue.add_flow(
        node("sum", node("left", node("a"), node("b")), node("right", queueName="other", queue=None), data={"x": 1})
    )
    assert [job.name for job in flow][-1] == "sum"
    assert (len(flow), flow.root.name, flow.root.data) == (5, "sum", {"x": 1})
    assert flow.root.wait_until_finished(timeout=20) == ["sum", ["left", ["a"], ["b"]], ["right"]]
    again = app.queue.get_flow(flow.root)
    assert again is not None
    assert set(again.states().values()) == {"completed"}
    assert {one.queue_name for one in again} == {"etl", "other"}


def test_a_graph_is_read_back_from_any_of_its_jobs(app: Application) -> None:
    before = app.queue.get_queue("etl").add("before")
    flow = app.queue.add_flow(
        [
            {"key": "end", "name": "end", "queue": "etl", "dependencies": ["left", "right"]},
            {"key": "left", "name": "left", "queue": "etl", "dependencies": ["start"]},
            {"key": "right", "name": "right", "queue": "etl", "dependencies": ["start", before]},
            {"key": "start", "name": "start", "queue": "etl", "opts": {"attempts": 2, "jobId": "mine"}},
        ]
    )
    by_name = {job.name: job for job in flow}
    assert [job.name for job in flow.roots] == ["end"]
    assert by_name["start"].id == "mine"
    for job in (*flow, before):
        found = app.queue.get_flow(job.id)
        assert found is not None
        assert set(found.jobs) == {*flow.jobs, before.id}
        assert found.dependencies[by_name["end"].id] == (by_name["left"].id, by_name["right"].id)
        assert found.states()[by_name["end"].id] == "blocked"
    before.remove()
    found = app.queue.get_flow("mine")
    assert found is not None
    assert found.states()[by_name["right"].id] == "failed"
    assert before.id not in found.jobs
    assert app.queue.get_flow("nobody") is None


def test_a_tree_whose_children_are_generators(app: Application) -> None:
    def part(name: str, depth: int) -> dict[str, Any]:
        return {
            "name": name,
            "queue": "etl",
            "children": (part(f"{name}{n}", depth - 1) for n in range(2 * (depth > 0))),
        }

    flow = app.queue.add_flow(part("n", 2))
    assert sorted(job.name for job in flow) == ["n", "n0", "n00", "n01", "n1", "n10", "n11"]
    assert [flow.jobs[one].name for one in flow.dependencies[flow.root.id]] == ["n0", "n1"]


def test_a_graph_whose_lists_are_generators(app: Application) -> None:
    before = app.queue.get_queue("etl").add("before")
    edges: dict[str, Any] = {"end": ["left", "right", before], "left": ["start"], "right": ["start"], "start": []}
    flow = app.queue.add_flow(
        {"key": key, "name": key, "queue": "etl", "dependencies": iter(needed)} for key, needed in edges.items()
    )
    needs = [flow.jobs[one].name if one in flow.jobs else one for one in flow.dependencies[flow.root.id]]
    assert (len(flow), flow.root.name, needs) == (4, "end", ["left", "right", before.id])


def test_generators_of_a_flow_are_read_by_the_thread_that_calls(app: Application) -> None:
    threads: set[int] = set()

    def parts() -> Iterator[TreeNode]:
        for _ in range(3):
            threads.add(threading.get_ident())
            yield {"name": "part", "queue": "etl"}

    async def adds() -> Flow:
        return await app.queue.aio.add_flow({"name": "sum", "queue": "etl", "children": parts()})

    assert len(asyncio.run(adds())) == 4
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        (node("a", node("b", nmae=1)), r"add_flow, root.children\[0\]: unknown option 'nmae'"),
        (node("a", {"name": "b"}), r"root.children\[0\]: must have 'name' and 'queue'"),
        (node("a", 5), r"root.children\[0\]: must be a mapping"),  # type: ignore[arg-type]
        ({"name": "a", "queue": "etl", "children": "b"}, "'children' must be a list"),
        ({"name": "a", "queue": "etl", "children": node("b")}, "'children' must be a list of nodes, not {"),
        ({"name": "a", "queue": "etl", "children": 5}, "'children' must be a list of nodes, not 5"),
        (frozenset(), "a flow has 1 to 1000000 jobs, not 0"),
        ({5}, r"add_flow, node 0: must be a mapping"),
        (5, "a flow is a tree"),
        (node("a", node("b", opts={"atempts": 2})), r"root.children\[0\]: .*unknown option 'atempts'"),
        (node("a", opts={"dependencies": ["x"]}), "'opts' must be job options without 'dependencies'"),
        (node("a", node("b", data=object())), r"root.children\[0\]: .*not a JSON value"),
        (node("a", node("b", queue="no good")), r"root.children\[0\]: .*cannot name a queue"),
        ([], "a flow has 1 to 1000000 jobs, not 0"),
        ("text", "a flow is a tree"),
        ([{"key": "a", "name": "a", "queue": "etl"}] * 2, "'key' must be a unique name"),
        ([{"name": "a", "queue": "etl", "dependencies": "b"}], "must be a list of keys"),
    ],
)
def test_flows_that_are_refused_leave_nothing(app: Application, flow: Any, words: str) -> None:
    with pytest.raises((ConfigurationError, ValueError), match=words):
        app.queue.add_flow(flow)
    assert app.queue.get_queue("etl").get_jobs() == []


def test_cycles_and_unknown_ids_leave_nothing(app: Application) -> None:
    nodes = [
        {"key": "a", "name": "a", "queue": "etl", "dependencies": ["b"]},
        {"key": "b", "name": "b", "queue": "etl", "dependencies": ["a"]},
    ]
    with pytest.raises(DependencyCycle):
        app.queue.add_flow(nodes)
    with pytest.raises(DependencyNotFound, match="nobody"):
        app.queue.add_flow([{"name": "ok", "queue": "etl"}, {"name": "a", "queue": "etl", "dependencies": ["nobody"]}])
    assert app.queue.get_queue("etl").get_jobs() == []


def test_a_flow_too_large_to_be_meant(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_plan, "MAX_JOBS", 3)
    with pytest.raises(ConfigurationError, match="1 to 3 jobs, and this one has more"):
        app.queue.add_flow(node("a", node("b"), node("c"), node("d")))
    with pytest.raises(ConfigurationError, match="1 to 3 jobs, not 4"):
        app.queue.add_flow([{"name": "a", "queue": "etl"}] * 4)


@pytest.mark.parametrize("one_step", [adding.ONE_STEP, 3])
def test_a_child_that_is_deduplicated_is_the_job_that_is_there(
    app: Application, monkeypatch: pytest.MonkeyPatch, one_step: int
) -> None:
    monkeypatch.setattr(adding, "ONE_STEP", one_step)
    queue = app.queue.create_queue("etl", concurrency=3)
    queue.process(lambda job: [job.data, *job.get_dependency_results().values()])
    once: Any = {"deduplication": {"id": "url-1"}}
    first = queue.add("fetch", "first", delay=60_000, **once)
    tree = app.queue.add_flow(
        node("sum", node("fetch", node("below"), data="second", opts=once), *(node("more") for _ in range(5)))
    )
    graph = app.queue.add_flow(
        [
            *({"name": "more", "queue": "etl"} for _ in range(5)),
            {"key": "child", "name": "fetch", "queue": "etl", "opts": once},
            {"name": "sum", "queue": "etl", "dependencies": ["child"]},
        ]
    )
    (of_tree,), (of_graph,) = ([job for job in flow if job.name == "sum"] for flow in (tree, graph))
    assert (len(tree), len(graph)) == (8, 7)
    assert [job.name for job in tree.roots] == ["below", "sum"], "the job that is there does not wait for it"
    assert graph.dependencies[of_graph.id] == (first.id,)
    assert [one.id for one in of_graph.get_dependencies()] == [first.id]
    assert first.id in [one.id for one in of_tree.get_dependencies()]
    first.promote()
    assert of_graph.wait_until_finished(timeout=20) == [None, ["first"]]
    assert ["first"] in of_tree.wait_until_finished(timeout=20)


def test_a_large_flow_is_added_in_pages_behind_a_gate(app: Application) -> None:
    size = adding.ONE_STEP * 2 + 10
    flow = app.queue.add_flow(node("all", *(node(f"part {number}") for number in range(size - 1))))
    assert len(flow) == size
    counts = app.queue.get_queue("etl").get_job_counts()
    assert (counts["waiting"], counts["blocked"], counts["completed"]) == (size - 1, 1, 0)
    part = next(iter(flow))
    assert (part.get_dependencies(), part.get_dependency_results()) == ([], {})
    found = app.queue.get_flow(flow.root)
    assert found is not None
    assert set(found.jobs) == set(flow.jobs)


def test_a_large_flow_that_cannot_be_added_leaves_nothing(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "ONE_STEP", 3)
    nodes: list[dict[str, Any]] = [{"key": f"{n}", "name": "n", "queue": "etl"} for n in range(8)]
    with pytest.raises(DependencyNotFound):
        app.queue.add_flow([*nodes, {"name": "last", "queue": "etl", "dependencies": ["nobody", "1"]}])
    assert app.queue.get_queue("etl").get_jobs() == []


def test_a_process_that_dies_while_it_adds_a_large_flow(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it runs: the gate fails when its time is over, and all that is behind it."""
    monkeypatch.setattr(adding, "ONE_STEP", 3)
    monkeypatch.setattr(adding, "GATE_MS", 300)
    engine = app.queue.engine
    pages: list[int] = []

    def dying(engine: Any, jobs: Any) -> Any:
        pages.append(len(jobs))
        if len(pages) == 3:
            raise SystemExit
        return real(engine, jobs)

    real = adding._add
    monkeypatch.setattr(adding, "_add", dying)
    ran: list[str] = []
    app.queue.get_queue("etl").process(lambda job: ran.append(job.id))
    with pytest.raises(SystemExit):
        app.queue.add_flow([{"name": "n", "queue": "etl"} for _ in range(8)])
    jobs = app.queue.get_queue("etl").get_jobs(["blocked"])
    assert len(jobs) == 3
    for job in jobs:
        with pytest.raises(JobFailed, match=r"dependency .*gate failed: what it waited for ended without sending it"):
            job.wait_until_finished(timeout=20)
    recover(engine, 1)
    assert ran == []


def test_a_flow_is_no_canvas_without_a_bridge(app: Application) -> None:
    flow = app.queue.add_flow(node("a"))
    with pytest.raises(ConfigurationError, match="install the bridge"):
        flow.to_canvas()
    with pytest.raises(ConfigurationError, match="install the bridge"):
        app.queue.add_canvas(None)
