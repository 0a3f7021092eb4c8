"""``drain``, ``clean`` and ``obliterate``: remove many jobs, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stratix_kombu.cli.intervals import read_interval
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.named import queue_named
from stratix_kombu.cli.output import confirm, echo, progress, span, yes_option

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.types import CleanedState

CLEANED = ("completed", "failed", "waiting", "delayed", "blocked")


@click.command("drain", short_help="Remove the waiting jobs of a queue.")
@with_application
@click.argument("name", metavar="QUEUE")
@click.option("--delayed", is_flag=True, help="Delayed jobs as well.")
@yes_option
def drain(app: Application, name: str, delayed: bool, yes: bool) -> None:
    """Remove all waiting jobs of a queue. Active ones are not affected. Asks for confirmation.

    \b
    Example:
      stratix-kombu drain emails --delayed
    """
    queue = queue_named(app, name)
    counts = queue.get_job_counts()
    number = counts["waiting"] + counts["paused"] + (counts["delayed"] if delayed else 0)
    confirm(f"Remove {number} jobs that {'wait or are delayed' if delayed else 'wait'} from {name}?", yes)
    with progress(f"draining {name}", number) as on_progress:
        removed = queue.drain(delayed=delayed, on_progress=on_progress)
    echo(f"removed {removed} jobs")


@click.command("clean", short_help="Remove jobs that finished some time ago.")
@with_application
@click.argument("name", metavar="QUEUE")
@click.option("--state", default="completed", show_default=True, type=click.Choice(CLEANED), help="Which jobs.")
@click.option(
    "--grace",
    default="0 s",
    callback=read_interval,
    metavar="INTERVAL",
    help="Only jobs that finished at least this long ago: '7 days'.",
)
@click.option("--limit", default=0, type=click.IntRange(0), help="Maximum number of jobs (0 means no limit).")
@yes_option
def clean(app: Application, name: str, state: CleanedState, grace: int, limit: int, yes: bool) -> None:
    """Remove jobs of a state that finished (or were added) some time ago, oldest first. Asks for confirmation.

    \b
    Example, as in a crontab:
      stratix-kombu clean emails --state failed --grace '7 days' --yes
    """
    queue = queue_named(app, name)
    counts = queue.get_job_counts()
    number = counts["waiting"] + counts["paused"] if state == "waiting" else counts[state]
    most = min(number, limit) if limit else number
    older = f" older than {span(grace)}" if grace else ""
    confirm(f"Remove {'at most ' if grace else ''}{most} {state} jobs{older} from {name}?", yes)
    with progress(f"cleaning {name}", most) as on_progress:
        removed = queue.clean(grace, limit, state, on_progress)
    echo(f"removed {len(removed)} {state} jobs")


@click.command("obliterate", short_help="Remove a queue with all its jobs.")
@with_application
@click.argument("name", metavar="QUEUE")
@click.option("--force", is_flag=True, help="Even while jobs are active; their results are then rejected.")
@yes_option
def obliterate(app: Application, name: str, force: bool, yes: bool) -> None:
    """Remove a queue with all its jobs, events and messages. Asks for confirmation. Its repeatable jobs stay.

    \b
    Example:
      stratix-kombu obliterate emails-old --yes
    """
    queue = queue_named(app, name)
    counts = queue.get_job_counts()
    number = sum(counts.values())
    confirm(f"Remove the queue {name} with all of its {number} jobs ({counts['active']} active)?", yes)
    with progress(f"removing {name}", number) as on_progress:
        removed = queue.obliterate(force=force, on_progress=on_progress)
    echo(f"removed {name} with {removed} jobs")
