"""``job``: look at one job, and do something with it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from stratix_kombu.cli.commands import Commands, Failed
from stratix_kombu.cli.jobs import as_dict
from stratix_kombu.cli.logs import say
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.named import chosen_queues
from stratix_kombu.cli.output import (
    confirm,
    echo,
    instant,
    json_option,
    print_fields,
    print_json,
    progress,
    span,
    yes_option,
)
from stratix_kombu.cli.streams import to_the_end
from stratix_kombu.errors import JobError, JobNotFound
from stratix_kombu.model.text import printable

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.model.attempts import Attempt
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.queue import Queue

POLL_S = 0.25


@click.group("job", cls=Commands, short_help="Look at one job; retry, rerun, remove, promote, prioritise or cancel it.")
def job() -> None:
    """Look at one job by its id, retry, rerun, remove, promote, prioritise or cancel it."""


def find(app: Application, job_id: str) -> Job:
    """The job with that id, of any queue. Raises JobNotFound."""
    job = app.queue.get_job(job_id)
    if job is None:
        raise JobNotFound(job_id)
    return job


@job.command("show")
@with_application
@click.argument("job_id", metavar="ID")
@click.option("--all", "whole", is_flag=True, help="All of it, even if it is longer than the screen.")
@json_option
def show(app: Application, job_id: str, whole: bool, as_json: bool) -> None:
    """Everything that is known about a job. On a terminal, long values are truncated to fit: see --all.

    \b
    Example:
      stratix-kombu job show 4711 --json
    """
    found = find(app, job_id)
    if as_json:
        more = {
            "attempts": [one.to_dict() for one in found.get_attempts()],
            "dependencies": found.get_dependency_states(),
        }
        print_json({**as_dict(found), **more}, indent=2)
        return
    waited = found.processed_on and found.processed_on - found.timestamp
    ran = found.finished_on and found.processed_on and found.finished_on - found.processed_on
    dependencies = [f"{job_id} {state or 'removed'}" for job_id, state in found.get_dependency_states().items()]
    print_fields(
        {
            "id": found.id,
            "queue": found.queue_name,
            "name": found.name,
            "state": found.state,
            "cancelled": "yes" if found.was_cancelled else None,
            "data": _json(found.data),
            "options": _json(dict(found.opts)),
            "attempts": f"{found.attempts_made} of {found.opts['attempts']}",
            "before": "\n".join(map(_attempt, found.get_attempts()[:-1])),
            "progress": None if found.progress is None else _json(found.progress),
            "added": instant(found.timestamp),
            "began": instant(found.processed_on),
            "ended": instant(found.finished_on),
            "waited": waited and span(waited),
            "ran": ran and span(ran),
            "depends on": "\n".join(dependencies),
            "result": _json(found.return_value) if found.state == "completed" else None,
            "reason": found.failed_reason,
            "stacktrace": "\n".join(found.stacktrace),
        },
        None if whole else f"job show {found.id} --all",
    )


def _attempt(one: Attempt) -> str:
    """An attempt before the last one, in a line."""
    ran = span((one.finished_on or 0) - one.started_on)
    reason = (one.reason or "").partition("\n")[0]
    said = f"{one.number}. {one.outcome} at {instant(one.finished_on)} after {ran} on {one.worker}"
    return f"{said}: {reason}" if reason else said


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 100 else json.dumps(value, ensure_ascii=False, indent=2)


@job.command("logs")
@with_application
@click.argument("job_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Continue until the job has finished, or Ctrl-C.")
def logs(app: Application, job_id: str, follow: bool) -> None:
    """The lines that the job's handler has logged with job.log().

    \b
    Example:
      stratix-kombu job logs 4711 --follow
    """
    found = find(app, job_id)
    shown = 0
    while True:
        ended = not follow or found.refresh().state in ("completed", "failed")
        lines, written = app.queue.engine.store.queries.logs_after(found.id, shown)
        if shown and written - len(lines) > shown:
            echo(f"... {written - len(lines) - shown} lines are no longer kept")
        for line in lines:
            echo(printable(line))
        shown = written
        if ended:
            return
        time.sleep(POLL_S)


def _chosen(ids: tuple[str, ...]) -> list[str]:
    """Without ids there is nothing to do: that is how ``xargs`` passes an empty list."""
    chosen = [part for given in ids for part in (sys.stdin.read().split() if given == "-" else [given])]
    if not chosen:
        say("no ids were given: nothing to do")
    return chosen


def _each(app: Application, ids: Sequence[str], verb: Callable[[Job], None], done: str) -> None:
    """A failure for one job does not affect the others."""
    problems = []
    with to_the_end():
        for job_id in ids:
            try:
                verb(find(app, job_id))
                echo(f"{done} {job_id}")
            except JobError as problem:
                problems.append(str(problem))
    if problems:
        raise Failed("\n".join(problems))


_ids = click.argument("ids", nargs=-1, metavar="ID...")


@job.command("retry", short_help="Run failed jobs again, by id or all of them.")
@with_application
@_ids
@click.option("--state", type=click.Choice(("failed",)), help="All jobs in this state, instead of ids.")
@click.option("--queue", "queues", multiple=True, metavar="QUEUE", help="With --state: only this queue; repeatable.")
def retry(app: Application, ids: tuple[str, ...], state: str | None, queues: tuple[str, ...]) -> None:
    """Run failed jobs again: those with these ids (- reads them from stdin), or all of them.

    \b
    Examples:
      stratix-kombu jobs --name 'welcome*' --state failed --ids | stratix-kombu job retry -
      stratix-kombu job retry --state failed --queue emails
    """
    if state is None and not queues:
        _each(app, _chosen(ids), lambda job: job.retry(), "will run again:")
        return
    if ids or state is None:
        raise click.UsageError("give either ids, or --state with or without --queue")
    _retry_all(chosen_queues(app, queues))


def _retry_all(queues: Sequence[Queue]) -> None:
    """Page by page; what was done before Ctrl-C stays done."""
    total = sum(queue.get_job_counts()["failed"] for queue in queues)
    done = of_others = 0

    def tell(of_queue: int) -> None:
        nonlocal done
        done = of_others + of_queue
        on_progress(done)

    try:
        with progress("retrying", total) as on_progress:
            for queue in queues:
                of_others += queue.retry_jobs(on_progress=tell)
    except KeyboardInterrupt:
        say(f"interrupted: at least {done} of {total} failed jobs will run again")
        raise
    echo(f"{done} failed job{'s' if done != 1 else ''} will run again")


@job.command("rerun")
@with_application
@_ids
@click.option("--dependents", is_flag=True, help="Their dependents run again too, after them.")
def rerun(app: Application, ids: tuple[str, ...], dependents: bool) -> None:
    """Run completed jobs again; their results are discarded. With --dependents, everything that depends on them waits
    for them again: completed and failed jobs run again, active ones are left alone.

    \b
    Example:
      stratix-kombu job rerun 4711 --dependents
    """
    _each(app, _chosen(ids), lambda job: job.rerun(dependents), "will run again:")


@job.command("remove")
@with_application
@_ids
@yes_option
def remove(app: Application, ids: tuple[str, ...], yes: bool) -> None:
    """Delete jobs that are not active; their dependents fail. Asks for confirmation.

    \b
    Examples:
      stratix-kombu job remove 4711 4712
      stratix-kombu jobs emails --state failed --ids | stratix-kombu job remove - --yes
    """
    chosen = _chosen(ids)
    if chosen:
        confirm(f"Remove {len(chosen)} job{'s' if len(chosen) != 1 else ''}, and fail what depends on them?", yes)
    _each(app, chosen, lambda job: job.remove(), "removed")


@job.command("promote")
@with_application
@_ids
def promote(app: Application, ids: tuple[str, ...]) -> None:
    """Run delayed jobs now.

    \b
    Example:
      stratix-kombu job promote 4711
    """
    _each(app, _chosen(ids), lambda job: job.promote(), "may run now:")


@job.command("priority", short_help="Give jobs that have not begun another priority.")
@with_application
@click.argument("priority", type=click.IntRange(0, 9))
@_ids
def priority(app: Application, priority: int, ids: tuple[str, ...]) -> None:
    """Give jobs that have not begun another priority: 0 (first) to 9 (last).

    \b
    Example:
      stratix-kombu jobs emails --state waiting --name invoice --ids | stratix-kombu job priority 0 -
    """
    _each(app, _chosen(ids), lambda job: job.change_priority(priority), f"priority {priority}:")


@job.command("cancel", short_help="End jobs that have not begun, and running ones.")
@with_application
@_ids
@click.option("--reason", default="cancelled", show_default=True, help="The reason of the failure.")
def cancel(app: Application, ids: tuple[str, ...], reason: str) -> None:
    """Cancel jobs: those that have not begun fail at once, running handlers are notified.

    \b
    Example:
      stratix-kombu job cancel 4711 --reason 'ordered twice'
    """
    _each(app, _chosen(ids), lambda job: job.cancel(reason), "cancelled")
