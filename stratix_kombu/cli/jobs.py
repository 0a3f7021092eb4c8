"""``jobs``: the jobs of a queue, by state and name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.commands import with_options
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.output import age, echo, json_option, print_json, print_table

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.queue import Queue
    from stratix_kombu.types import JobState

PAGE = 500
STATES: tuple[JobState, ...] = ("waiting", "active", "delayed", "blocked", "completed", "failed")
COLUMNS = ("id", "queue", "name", "state", "tries", "age", "about")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The options of ``jobs``."""

    states: tuple[JobState, ...]
    pattern: str | None
    limit: int
    only_ids: bool
    as_json: bool


@click.command("jobs", short_help="Jobs of one queue or all, by state and name.")
@with_application
@click.argument("names", nargs=-1, metavar="[QUEUE]...")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only in this state; repeatable.")
@click.option("--name", "pattern", metavar="PATTERN", help="Only jobs of this name; * and ? as in a shell.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(0), help="Maximum number of jobs (0 means no limit)."
)
@click.option("--ids", "only_ids", is_flag=True, help="Only the ids, one per line.")
@json_option
@with_options(Listed)
def jobs(app: Application, names: tuple[str, ...], options: Listed) -> None:
    """Jobs of one queue, or of all, state by state: waiting jobs in their order, finished ones newest first.

    \b
    Examples:
      stratix-kombu jobs emails --state failed
      stratix-kombu jobs --name 'welcome*' --limit 0 --json > jobs.jsonl
      stratix-kombu jobs emails --state failed --ids | xargs stratix-kombu job retry
    """
    queues = [app.queue.get_queue(name) for name in names or app.queue.get_queue_names()]
    listed = (job for queue in queues for job in _jobs(queue, options.states))
    named = (job for job in listed if not options.pattern or fnmatchcase(job.name, options.pattern))
    wanted = islice(named, options.limit or None)
    if options.only_ids:
        for job in wanted:
            echo(job.id)
    elif options.as_json:
        for job in wanted:
            print_json(as_dict(job))
    else:
        print_table(COLUMNS, map(_row, wanted), "No such jobs.")


def _jobs(queue: Queue, states: tuple[JobState, ...]) -> Iterator[Job]:
    """Page by page. A job that changes its state meanwhile may be missed; if it is read twice, it is shown once."""
    for state in states or STATES:
        seen: set[str] = set()
        start = 0
        while page := queue.get_jobs(state, start, start + PAGE - 1):
            yield from (job for job in page if job.id not in seen)
            seen = {job.id for job in page}
            start += PAGE


def as_dict(job: Job) -> dict[str, Any]:
    """A job as JSON shows it; instants are milliseconds since the epoch."""
    return {
        "id": job.id,
        "queue": job.queue_name,
        "name": job.name,
        "state": job.state,
        "data": job.data,
        "opts": dict(job.opts),
        "progress": job.progress,
        "attempts_made": job.attempts_made,
        "return_value": job.return_value,
        "failed_reason": job.failed_reason,
        "was_cancelled": job.was_cancelled,
        "stacktrace": job.stacktrace,
        "timestamp": job.timestamp,
        "processed_on": job.processed_on,
        "finished_on": job.finished_on,
    }


def _row(job: Job) -> list[Any]:
    about = job.failed_reason or ("" if job.progress is None else f"progress {job.progress}")
    attempts = f"{job.attempts_made}/{job.opts['attempts']}"
    return [job.id, job.queue_name, job.name, job.state, attempts, age(job.timestamp), about]
