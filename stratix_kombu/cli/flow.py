"""``flow``: jobs that depend on each other, as a tree, and their progress."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.commands import Commands, with_options
from stratix_kombu.cli.logs import say
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.output import (
    STATE_COLOURS,
    age,
    echo,
    is_terminal,
    json_option,
    print_json,
    print_table,
    rich_table,
    screen_lines,
)
from stratix_kombu.cli.streams import can_show
from stratix_kombu.errors import JobNotFound
from stratix_kombu.model.text import printable

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.flow import Flow
    from stratix_kombu.types import FlowSummary

LINES, ASCII_LINES = ("├── ", "└── ", "│   "), ("|-- ", "`-- ", "|   ")
STATES = ("waiting", "active", "delayed", "blocked", "completed", "failed", "removed")
UNFINISHED = ("waiting", "active", "delayed", "blocked")
COLUMNS = ("name", "queue", *STATES, "jobs")
LISTED = ("id", "queue", "name", "state", "age", "done", "failed")
PAGE = 1_000


@click.group("flow", cls=Commands)
def flow() -> None:
    """Jobs that depend on each other."""


@flow.command("list", short_help="The newest flows, and how far they are.")
@with_application
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100), help="Maximum number of flows.")
@click.option("--cursor", default="", help="Go on where a listing ended.")
@json_option
def list_(app: Application, limit: int, cursor: str, as_json: bool) -> None:
    """Flows, the newest first: the job at the root of each, and how many of its jobs are in each state. If there are
    more than --limit, the cursor for the next ones is printed to stderr.

    \b
    Example:
      stratix-kombu flow list --limit 10
    """
    page = app.queue.get_flows(cursor, limit)
    if as_json:
        for one in page.flows:
            print_json(asdict(one))
    else:
        print_table(LISTED, map(_flow_row, page.flows), "There are no flows.")
    if page.cursor:
        say(f"there are more: --cursor {page.cursor}")


def _flow_row(one: FlowSummary) -> list[Any]:
    done = f"{one.done} of {one.total}{'' if one.exact else ' or more'}"
    return [one.job_id, one.queue, one.name, one.state, age(one.created_on), done, one.counts["failed"]]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The options of ``flow show``."""

    summary: bool
    watch: bool
    interval: float
    whole: bool
    as_json: bool


@flow.command("show")
@with_application
@click.argument("job_id", metavar="ID")
@click.option("--summary", is_flag=True, help="The number of jobs in each state, by name, instead of the tree.")
@click.option("--watch", is_flag=True, help="With --summary: refresh until all have finished, or Ctrl-C.")
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(0.1), help="Seconds, for --watch.")
@click.option("--all", "whole", is_flag=True, help="The whole tree, even if it is longer than the screen.")
@json_option
@with_options(Shown)
def show(app: Application, job_id: str, options: Shown) -> None:
    """The whole flow that a job belongs to, with the state of each job. Below a job are its dependencies.

    \b
    Examples:
      stratix-kombu flow show 4711 --summary --watch
      stratix-kombu flow show 4711 --summary --json | jq .counts.failed
    """
    graph = app.queue.get_flow(job_id)
    if graph is None:
        raise JobNotFound(job_id)
    if options.watch and not options.summary:
        raise click.UsageError("--watch needs --summary")
    if options.summary:
        _summary(app, graph, job_id, options.as_json, options.interval if options.watch else None)
    elif options.as_json:
        for job in graph:
            edges = list(graph.dependencies.get(job.id, ()))
            print_json(
                {"id": job.id, "queue": job.queue_name, "name": job.name, "state": job.state, "dependencies": edges}
            )
    else:
        _tree(graph, job_id, sys.maxsize if options.whole else screen_lines())


def _tree(found: Flow, job_id: str, most: int) -> None:
    lines = list(tree(found))
    kept = len(lines) if len(lines) <= most else most - 1
    for line in islice(lines, kept):
        echo(line)
    if kept < len(lines):
        echo(f"... {len(lines) - kept} more lines: flow show {job_id} --all, or --summary")


def tree(found: Flow) -> Iterator[str]:
    """Lines of the tree. A dependency of several jobs is expanded once."""
    between, end, along = LINES if can_show(sys.stdout, LINES[0]) else ASCII_LINES
    seen: set[str] = set()
    stack = [(root.id, "", "") for root in reversed(found.roots)]
    while stack:
        job_id, before, below = stack.pop()
        job = found.jobs[job_id]
        again = " (see above)" if job_id in seen and found.dependencies.get(job_id) else ""
        state = click.style(job.state, fg=STATE_COLOURS.get(job.state))
        reason = f" {printable(job.failed_reason or '').partition(chr(10))[0]}" if job.state == "failed" else ""
        yield f"{before}{printable(job.name)} {state} {job.id} ({job.queue_name}){again}{reason}"
        if job_id in seen:
            continue
        seen.add(job_id)
        needed = found.dependencies.get(job_id, ())
        for number, one in enumerate(reversed(needed)):
            last = number == 0
            stack.append((one, f"{below}{end if last else between}", f"{below}{'    ' if last else along}"))


# -- how far it is --------------------------------------------------------------------------------


def _summary(app: Application, found: Flow, job_id: str, as_json: bool, interval: float | None) -> None:
    if interval is not None and is_terminal() and not as_json:
        _watch(app, found, interval)
        return
    while True:
        rows = _progress(app, found)
        total = rows[-1]
        if as_json:
            named = [{"name": name, "queue": queue, "counts": counts} for name, queue, counts in rows[:-1]]
            print_json({"id": job_id, "jobs": len(found), "counts": total[2], "names": named})
        else:
            print_table(COLUMNS, map(_row, rows), "")
        if interval is None or not _unfinished(total[2]):
            return
        time.sleep(interval)


def _watch(app: Application, found: Flow, interval: float) -> None:
    from rich.live import Live

    with Live(auto_refresh=False, screen=False) as live:
        while True:
            rows = _progress(app, found)
            live.update(rich_table(COLUMNS, map(_row, rows)), refresh=True)
            if not _unfinished(rows[-1][2]):
                return
            time.sleep(interval)


def _progress(app: Application, found: Flow) -> list[tuple[str, str, dict[str, int]]]:
    """The number of jobs in each state now, by name and queue; the last row is the total."""
    jobs = list(found)
    counts: dict[tuple[str, str], Counter[str]] = {(job.name, job.queue_name): Counter() for job in jobs}
    for start in range(0, len(jobs), PAGE):
        page = jobs[start : start + PAGE]
        for job, state in zip(page, app.queue.engine.store.queries.states([job.id for job in page]), strict=True):
            counts[job.name, job.queue_name][state.value if state else "removed"] += 1
    rows = [(name, queue, {state: count[state] for state in STATES}) for (name, queue), count in counts.items()]
    return [*rows, ("all", "", {state: sum(count[state] for count in counts.values()) for state in STATES})]


def _row(row: tuple[str, str, dict[str, int]]) -> list[Any]:
    name, queue, counts = row
    return [name, queue, *counts.values(), sum(counts.values())]


def _unfinished(counts: dict[str, int]) -> int:
    return sum(counts[state] for state in UNFINISHED)
