"""``jobs``: the jobs of a queue, by state, name, reason and time."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.commands import with_options
from stratix_kombu.cli.intervals import read_interval
from stratix_kombu.cli.logs import say
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.named import chosen_queues
from stratix_kombu.cli.output import age, echo, json_option, print_json, print_table

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.queue import Queue
    from stratix_kombu.types import FindOpts, JobState

PAGE = 500
STATES: tuple[JobState, ...] = ("waiting", "active", "delayed", "blocked", "completed", "failed")
COLUMNS = ("id", "queue", "name", "state", "tries", "age", "about")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The options of ``jobs``."""

    states: tuple[JobState, ...]
    pattern: str | None
    reason: str
    group: str
    worker: str
    since: int | None
    cursor: str
    limit: int
    only_ids: bool
    as_json: bool


@click.command("jobs", short_help="Jobs of one queue or all, by state and name.")
@with_application
@click.argument("names", nargs=-1, metavar="[QUEUE]...")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only in this state; repeatable.")
@click.option("--name", "pattern", metavar="PATTERN", help="Only jobs of this name; * and ? as in a shell.")
@click.option("--reason", default="", metavar="TEXT", help="Only jobs whose reason of failure contains this text.")
@click.option("--group", default="", help="Only jobs of this group.")
@click.option("--worker", default="", metavar="ID", help="Only jobs that this worker runs, or ran last.")
@click.option(
    "--since",
    callback=read_interval,
    metavar="INTERVAL",
    help="Only jobs that finished, or were added if they have not, since then: '1 h'.",
)
@click.option("--cursor", default="", help="Go on where a listing of one queue and one state ended.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(0), help="Maximum number of jobs (0 means no limit)."
)
@click.option("--ids", "only_ids", is_flag=True, help="Only the ids, one per line.")
@json_option
@with_options(Listed)
def jobs(app: Application, names: tuple[str, ...], options: Listed) -> None:
    """Jobs of one queue, or of all, state by state: waiting jobs in their order, finished ones newest first. If there
    are more of one queue and one state than --limit, the cursor for the next ones is printed to stderr.

    \b
    Examples:
      stratix-kombu jobs emails --state failed --reason 'timed out' --since '1 h'
      stratix-kombu jobs --name 'welcome*' --limit 0 --json > jobs.jsonl
      stratix-kombu jobs emails --state failed --ids | xargs stratix-kombu job retry
    """
    if options.cursor and (len(names), len(options.states)) != (1, 1):
        raise click.UsageError("--cursor belongs to a listing of one queue and one --state")
    found = _Found(app, chosen_queues(app, names), options)
    if options.only_ids:
        for job in found:
            echo(job.id)
    elif options.as_json:
        for job in found:
            print_json(as_dict(job))
    else:
        print_table(COLUMNS, map(_row, found), "No such jobs.")
    if found.cursor:
        say(f"there are more: --cursor {shlex.quote(found.cursor)}")


class _Found:
    """The jobs that are listed, read page by page. A job that changes its state meanwhile may be missed; if it is read
    twice, it is shown once."""

    def __init__(self, app: Application, queues: Sequence[Queue], options: Listed) -> None:
        self._queues = queues
        self._options = options
        self._where: FindOpts = {"reason": options.reason, "group": options.group, "worker": options.worker}
        if options.pattern and "[" not in options.pattern:
            self._where["name"] = options.pattern
        if options.since is not None:
            self._where["since"] = app.queue.engine.store.queries.now() - options.since
        self._left: float = options.limit or math.inf
        self.cursor = ""
        """Where one queue and state goes on."""

    def __iter__(self) -> Iterator[Job]:
        states, pattern = self._options.states or STATES, self._options.pattern
        for queue, state in product(self._queues, states):
            seen: set[str] = set()
            cursor = self._options.cursor
            while self._left > 0:
                page = queue.find_jobs(state, cursor, int(min(PAGE, self._left)), **self._where)
                named = [job for job in page.jobs if not pattern or fnmatchcase(job.name, pattern)]
                fresh = [job for job in named if job.id not in seen]
                seen.update(job.id for job in page.jobs)
                self._left -= len(fresh)
                yield from fresh
                cursor = page.cursor
                if not cursor:
                    break
            self.cursor = cursor if len(self._queues) == len(states) == 1 else ""


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
