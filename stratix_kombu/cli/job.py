"""``job``: look at one job, and do something with it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from stratix_kombu.cli.commands import Commands, Failed
from stratix_kombu.cli.jobs import as_dict
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.output import instant, json_option, print_fields, print_json, printable, span
from stratix_kombu.errors import JobError, JobNotFound

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.job import Job

POLL_S = 0.25


@click.group("job", cls=Commands, short_help="Look at one job; retry, remove, promote or cancel it.")
def job() -> None:
    """Look at one job by its id, retry, remove, promote or cancel it."""


def find(app: Application, job_id: str) -> Job:
    """The job with that id, of whatever queue. Raises JobNotFound."""
    found = app.queue.get_job(job_id)
    if found is None:
        raise JobNotFound(job_id)
    return found


@job.command("show")
@with_application
@click.argument("job_id", metavar="ID")
@json_option
def show(app: Application, job_id: str, as_json: bool) -> None:
    """Everything that is known of a job."""
    found = find(app, job_id)
    if as_json:
        print_json({**as_dict(found), "dependencies": found.get_dependency_states()}, indent=2)
        return
    waited = found.processed_on and found.processed_on - found.timestamp
    ran = found.finished_on and found.processed_on and found.finished_on - found.processed_on
    dependencies = [f"{one} {state or 'removed'}" for one, state in found.get_dependency_states().items()]
    print_fields(
        {
            "id": found.id, "queue": found.queue_name, "name": found.name, "state": found.state,
            "cancelled": "yes" if found.was_cancelled else None,
            "data": _json(found.data), "options": _json(dict(found.opts)),
            "attempts": f"{found.attempts_made} of {found.opts['attempts']}",
            "progress": None if found.progress is None else _json(found.progress),
            "added": instant(found.timestamp), "began": instant(found.processed_on),
            "ended": instant(found.finished_on), "waited": waited and span(waited),
            "ran": ran and span(ran), "depends on": "\n".join(dependencies),
            "result": _json(found.return_value) if found.state == "completed" else None,
            "reason": found.failed_reason, "stacktrace": "\n".join(found.stacktrace),
        }
    )  # fmt: skip


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 100 else json.dumps(value, ensure_ascii=False, indent=2)


@job.command("logs")
@with_application
@click.argument("job_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended, or Ctrl-C.")
def logs(app: Application, job_id: str, follow: bool) -> None:
    """The lines that the job's handler has logged with job.log()."""
    found = find(app, job_id)
    shown = 0
    while True:
        ended = not follow or found.refresh().state in ("completed", "failed")
        lines, written = app.queue.engine.store.queries.logs_after(found.id, shown)
        if shown and written - len(lines) > shown:
            click.echo(f"... {written - len(lines) - shown} lines are no longer kept")
        for line in lines:
            click.echo(printable(line))
        shown = written
        if ended:
            return
        time.sleep(POLL_S)


def _each(app: Application, ids: tuple[str, ...], verb: Callable[[Job], None], done: str) -> None:
    """What cannot be done with one job does not keep it from the others."""
    problems = []
    for job_id in ids:
        try:
            verb(find(app, job_id))
            click.echo(f"{done} {job_id}")
        except JobError as problem:
            problems.append(str(problem))
    if problems:
        raise Failed("\n".join(problems))


_ids = click.argument("ids", nargs=-1, required=True, metavar="ID...")


@job.command("retry")
@with_application
@_ids
def retry(app: Application, ids: tuple[str, ...]) -> None:
    """Run failed jobs again."""
    _each(app, ids, lambda one: one.retry(), "will run again:")


@job.command("remove")
@with_application
@_ids
def remove(app: Application, ids: tuple[str, ...]) -> None:
    """Delete jobs that are not active; what depends on them fails."""
    _each(app, ids, lambda one: one.remove(), "removed")


@job.command("promote")
@with_application
@_ids
def promote(app: Application, ids: tuple[str, ...]) -> None:
    """Run delayed jobs now."""
    _each(app, ids, lambda one: one.promote(), "may run now:")


@job.command("cancel")
@with_application
@_ids
@click.option("--reason", default="cancelled", show_default=True, help="What its failure will say.")
def cancel(app: Application, ids: tuple[str, ...], reason: str) -> None:
    """End jobs: those that have not begun fail at once, handlers that run are told."""
    _each(app, ids, lambda one: one.cancel(reason), "cancelled")
