"""What ``add_flow`` is given, as the jobs to be added in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from stratix_kombu.errors import ConfigurationError, DependencyCycle
from stratix_kombu.model.given import mapping, snake_keys

MAX_JOBS = 1_000_000
"""A larger flow is most likely a mistake."""
_NODE = ("name", "queue", "queue_name", "data", "opts")


@dataclass(frozen=True, slots=True)
class Step:
    """One job of a flow before it has an id."""

    key: str
    where: str
    """For messages: which node this is."""
    queue: str
    name: Any
    data: Any
    options: Mapping[str, Any]
    after: tuple[str, ...] = ()
    """Keys of the steps it depends on."""
    others: tuple[Any, ...] = ()
    """Jobs or ids outside the flow on which it depends, too."""


class Plan(list[Step]):
    """The steps of a flow, dependencies first."""


def plan(flow: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> Plan:
    """The steps of a tree or graph; a plan is one already. Whatever is a list in a flow may be a generator, and is read
    once.

    Raises ConfigurationError, naming the node, and DependencyCycle.
    """
    if isinstance(flow, Plan):
        return flow
    steps = _tree(flow) if isinstance(flow, Mapping) else _graph(flow)
    if not 1 <= len(steps) <= MAX_JOBS:
        raise ConfigurationError(f"add_flow: a flow has 1 to {MAX_JOBS} jobs, not {len(steps)}")
    try:
        order = list(TopologicalSorter({key: step.after for key, step in steps.items()}).static_order())
    except CycleError as cycle:
        first, second = cycle.args[1][:2]
        raise DependencyCycle(first, second) from None
    return Plan(steps[key] for key in order)


def _tree(root: Mapping[str, Any]) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    pending: list[tuple[str, Any]] = [("root", root)]
    while pending:
        key, node = pending.pop()
        given = _keys(node, (*_NODE, "children"), f"add_flow, {key}")
        children = _listed(given.get("children") or (), f"add_flow, {key}: 'children' must be a list of nodes")
        keys = [f"{key}.children[{number}]" for number in range(len(children))]
        steps[key] = _step(key, f"add_flow, {key}", given, tuple(keys))
        pending += zip(keys, children, strict=True)
        if len(steps) + len(pending) > MAX_JOBS:
            raise ConfigurationError(f"add_flow: a flow has 1 to {MAX_JOBS} jobs, and this one has more")
    return steps


def _graph(nodes: Iterable[Mapping[str, Any]]) -> dict[str, Step]:
    parsed: dict[str, dict[str, Any]] = {}
    for number, node in enumerate(_listed(nodes, "add_flow: a flow is a tree (a mapping) or a graph (a list)")):
        given = _keys(node, (*_NODE, "key", "dependencies"), f"add_flow, node {number}")
        key = given.setdefault("key", f"node {number}")
        if not isinstance(key, str) or key in parsed:
            raise ConfigurationError(f"add_flow, node {number}: 'key' must be a unique name, not {key!r}")
        parsed[key] = given
    steps = {}
    for key, given in parsed.items():
        must_be = f"add_flow, {key}: 'dependencies' must be a list of keys, jobs or ids"
        edges = _listed(given.get("dependencies") or (), must_be)
        inner = tuple(edge for edge in edges if isinstance(edge, str) and edge in parsed)
        others = tuple(edge for edge in edges if not (isinstance(edge, str) and edge in parsed))
        steps[key] = _step(key, f"add_flow, {key}", given, inner, others)
    return steps


def _listed(value: object, must_be: str) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{must_be}, not {value!r}")
    return list(value)


def _keys(node: object, known: Sequence[str], where: str) -> dict[str, Any]:
    given = snake_keys(mapping(node, f"{where}:", "with 'name' and 'queue'"), known, where)
    if given.get("queue") and given.get("queue_name"):
        raise ConfigurationError(f"{where}: 'queue' and 'queue_name' are the same option: give one of them")
    given["queue"] = given.pop("queue_name", None) or given.get("queue")
    if "name" not in given or not given["queue"]:
        raise ConfigurationError(f"{where}: must have 'name' and 'queue'")
    return given


def _step(key: str, where: str, given: Mapping[str, Any], after: tuple[str, ...], others: tuple[Any, ...] = ()) -> Step:
    options = given.get("opts") or {}
    if not isinstance(options, Mapping) or "dependencies" in options:
        raise ConfigurationError(f"{where}: 'opts' must be job options without 'dependencies', not {options!r}")
    return Step(key, where, given["queue"], given["name"], given.get("data"), options, after, others)
