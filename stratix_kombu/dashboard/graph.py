"""The graph of a flow as SVG: what runs first stands at the left; each job is a link."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from html import escape

from stratix_kombu.dashboard.jinja import Markup
from stratix_kombu.dashboard.reading import JobRow
from stratix_kombu.dashboard.texts import one_line

MOST = 500
"""Jobs that are drawn; a larger flow is a table."""
WIDE, TALL, GAP_X, GAP_Y, EDGE = 190, 44, 60, 14, 16


def draw(jobs: Mapping[str, JobRow], dependencies: Mapping[str, Sequence[str]], url: Callable[[str], str]) -> Markup:
    """The jobs and their edges."""
    columns = _columns(dependencies)
    tallest = max(map(len, columns))
    places = {
        job_id: (EDGE + column * (WIDE + GAP_X), EDGE + round((row + (tallest - len(ids)) / 2) * (TALL + GAP_Y)))
        for column, ids in enumerate(columns)
        for row, job_id in enumerate(ids)
    }
    width = 2 * EDGE + len(columns) * (WIDE + GAP_X) - GAP_X
    height = 2 * EDGE + tallest * (TALL + GAP_Y) - GAP_Y
    edges = [
        _edge(places[before], places[job_id], jobs[before].state)
        for job_id, ids in dependencies.items()
        for before in ids
    ]
    nodes = [_node(jobs[job_id], *place, url(job_id)) for job_id, place in places.items()]
    return Markup(  # every text in it was escaped
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group" '
        f'aria-label="Graph of {len(jobs)} jobs">{"".join(edges)}{"".join(nodes)}</svg>'
    )


def _columns(dependencies: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Each job right of all that it depends on, and in the height of them."""
    order = list(TopologicalSorter(dependencies).static_order())
    dependents: dict[str, list[str]] = {job_id: [] for job_id in order}
    for job_id, ids in dependencies.items():
        for before in ids:
            dependents[before].append(job_id)
    column: dict[str, int] = {}
    for job_id in order:
        column[job_id] = 1 + max((column[before] for before in dependencies.get(job_id, ())), default=-1)
    # As near to what waits for it as it can be, so that edges are short.
    for job_id in reversed(order):
        after = [column[one] for one in dependents[job_id]]
        column[job_id] = min(after) - 1 if after else column[job_id]
    columns: list[list[str]] = [[] for _ in range(max(column.values()) + 1)]
    row: dict[str, float] = {}
    for job_id in order:
        columns[column[job_id]].append(job_id)
    for ids in columns:
        weights = {
            job_id: sum(row[before] for before in before_it) / len(before_it) if before_it else float(number)
            for number, job_id in enumerate(ids)
            for before_it in [dependencies.get(job_id, ())]
        }
        ids.sort(key=lambda job_id: weights[job_id])
        row.update({job_id: float(number) for number, job_id in enumerate(ids)})
    return columns


def _edge(source: tuple[int, int], target: tuple[int, int], state: str) -> str:
    x1, y1, x2, y2 = source[0] + WIDE, source[1] + TALL / 2, target[0], target[1] + TALL / 2
    middle = (x1 + x2) / 2
    return f'<path class="edge {escape(state)}" d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"/>'


def _node(job: JobRow, x: int, y: int, url: str) -> str:
    name, state = escape(_short(job.name)), escape(job.state)
    title = f"{escape(one_line(job.name))}: {state} ({escape(job.id)})"
    return (
        f'<a href="{escape(url)}" class="node {state}"><title>{title}</title>'
        f'<rect x="{x}" y="{y}" width="{WIDE}" height="{TALL}" rx="6"/>'
        f'<text x="{x + 12}" y="{y + 18}">{name}</text>'
        f'<text class="state" x="{x + 12}" y="{y + 35}">{state} · {escape(job.queue[:16])}</text></a>'
    )


def _short(name: str) -> str:
    said = one_line(name)
    return said if len(said) <= 22 else f"{said[:21]}…"
