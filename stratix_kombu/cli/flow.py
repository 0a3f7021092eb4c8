"""``flow``: jobs that depend on each other, as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from stratix_kombu.cli.commands import Commands
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.output import STATE_COLOURS, json_option, print_json, printable
from stratix_kombu.errors import JobNotFound

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.flow import Flow


@click.group("flow", cls=Commands)
def flow() -> None:
    """Jobs that depend on each other."""


@flow.command("show")
@with_application
@click.argument("job_id", metavar="ID")
@json_option
def show(app: Application, job_id: str, as_json: bool) -> None:
    """The whole flow that a job belongs to, with the state of each: below a job is what it waits for."""
    found = app.queue.get_flow(job_id)
    if found is None:
        raise JobNotFound(job_id)
    if as_json:
        for job in found:
            edges = list(found.dependencies.get(job.id, ()))
            print_json(
                {"id": job.id, "queue": job.queue_name, "name": job.name, "state": job.state, "dependencies": edges}
            )
        return
    for line in tree(found):
        click.echo(line)


def tree(found: Flow) -> Iterator[str]:
    """Lines of the tree. What several jobs wait for is unfolded once."""
    seen: set[str] = set()
    stack = [(one.id, "", "") for one in reversed(found.roots)]
    while stack:
        job_id, before, below = stack.pop()
        job = found.jobs[job_id]
        again = " (see above)" if job_id in seen and found.dependencies.get(job_id) else ""
        state = click.style(job.state, fg=STATE_COLOURS.get(job.state))
        reason = f" {printable(job.failed_reason or '').partition(chr(10))[0]}" if job.state == "failed" else ""
        yield f"{before}{job.name} {state} {job.id} ({job.queue_name}){again}{reason}"
        if job_id in seen:
            continue
        seen.add(job_id)
        needed = found.dependencies.get(job_id, ())
        for number, one in enumerate(reversed(needed)):
            last = number == 0
            stack.append((one, f"{below}{'└── ' if last else '├── '}", f"{below}{'    ' if last else '│   '}"))
