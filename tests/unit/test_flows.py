"""Whole graphs of jobs, on both stores."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, DependencyCycle, DependencyNotFound, Job, create_app
from stratix_kombu.flow import MAX_JOBS


@pytest.fixture(params=["memory", "redis"])
def app(request: pytest.FixtureRequest) -> Iterator[Application]:
    settings: dict[str, Any] = {"driver": request.param, "namespace": f"flow{uuid.uuid4().hex[:8]}"}
    if request.param == "redis":
        settings["redis"] = {"url": request.getfixturevalue("redis_url")}
    with create_app(settings) as app:
        yield app


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


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        (node("a", node("b", nmae=1)), r"add_flow, root.children\[0\]: unknown option 'nmae'"),
        (node("a", {"name": "b"}), r"root.children\[0\]: must have 'name' and 'queue'"),
        (node("a", 5), r"root.children\[0\]: must be a mapping"),  # type: ignore[arg-type]
        ({"name": "a", "queue": "etl", "children": "b"}, "'children' must be a list"),
        (node("a", node("b", opts={"atempts": 2})), r"root.children\[0\]: .*unknown option 'atempts'"),
        (node("a", opts={"dependencies": ["x"]}), "'opts' must be job options without 'dependencies'"),
        (node("a", node("b", data=object())), r"root.children\[0\]: .*not a JSON value"),
        (node("a", node("b", queue="no good")), r"root.children\[0\]: .*cannot name a queue"),
        ([], "a flow has 1 to 10000 jobs, not 0"),
        ("text", "a flow is a tree"),
        ([{"key": "a", "name": "a", "queue": "etl"}] * 2, "'key' must be a name of its own"),
        ([{"name": "a", "queue": "etl", "dependencies": "b"}], "must be a list of keys"),
        (node("a", *(node("b") for _ in range(MAX_JOBS))), "a flow has 1 to 10000 jobs, and this one more"),
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


def test_a_flow_of_ten_thousand_jobs_is_one_step(app: Application) -> None:
    flow = app.queue.add_flow(node("all", *(node(f"part {number}") for number in range(MAX_JOBS - 1))))
    assert len(flow) == MAX_JOBS
    counts = app.queue.get_queue("etl").get_job_counts()
    assert (counts["waiting"], counts["blocked"]) == (MAX_JOBS - 1, 1)
