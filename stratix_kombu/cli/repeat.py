"""``repeat``: the repeatable jobs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import click

from stratix_kombu.cli.commands import Commands, with_options
from stratix_kombu.cli.intervals import read_interval
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.named import queue_named, queues_named
from stratix_kombu.cli.output import confirm, echo, instant, json_option, print_json, print_table, span, yes_option
from stratix_kombu.errors import RepeatableJobNotFound
from stratix_kombu.model.codec import read_json

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.repeatables import RepeatableJob
    from stratix_kombu.types import RepeatOpts

COLUMNS = ("queue", "key", "name", "times", "next run", "runs", "status")


@click.group("repeat", cls=Commands)
def repeat() -> None:
    """Repeatable jobs."""


@repeat.command("list")
@with_application
@click.argument("names", nargs=-1, metavar="[QUEUE]...")
@json_option
def list_(app: Application, names: tuple[str, ...], as_json: bool) -> None:
    """The repeatable jobs of one queue, or of all.

    \b
    Example:
      stratix-kombu repeat list maintenance
    """
    of_these = [repeatable for queue in queues_named(app, names) for repeatable in queue.get_repeatable_jobs()]
    listed = of_these if names else app.queue.get_repeatable_jobs()
    if as_json:
        for repeatable in listed:
            print_json(asdict(repeatable))
    else:
        print_table(COLUMNS, map(_row, listed), "There are no repeatable jobs.")


def _row(one: RepeatableJob) -> list[Any]:
    times = f"{one.cron} ({one.timezone})" if one.cron else f"every {span(one.every)}"
    next_run = one.next_run.astimezone().isoformat(" ", "seconds") if one.next_run else None
    status = "paused" if one.paused else "ended" if one.next_run is None else "on"
    runs = f"{one.runs} of {one.limit}" if one.limit else one.runs
    return [one.queue_name, one.key, one.name, times, next_run, runs, status]


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """The options of ``repeat add`` that are those of ``add_repeatable_job``."""

    cron: str | None
    timezone: str | None
    key: str | None
    limit: int | None
    immediately: bool | None
    attempts: int | None


@repeat.command("add")
@with_application
@click.argument("queue")
@click.argument("name")
@click.option("--cron", help="Five fields, or six with seconds first: '30 3 * * *'.")
@click.option("--timezone", help="Time zone of --cron, such as Europe/Berlin; by default as configured, otherwise UTC.")
@click.option(
    "--every", metavar="INTERVAL", callback=read_interval, help="'10 minutes', '1 hour', '30 s'; instead of --cron."
)
@click.option("--data", metavar="JSON", default="null", help="The data of each job.")
@click.option("--key", help="Identifies it; adding the same key again replaces it.")
@click.option("--limit", type=click.IntRange(1), help="Most runs.")
@click.option("--immediately", is_flag=True, default=None, help="Run it now for the first time.")
@click.option("--attempts", type=click.IntRange(1), help="Attempts per job.")
@with_options(Repeat)
def add(app: Application, queue: str, name: str, data: str, every: int | None, options: Repeat) -> None:
    """Add a repeatable job, or replace the one with its key.

    \b
    Examples:
      stratix-kombu repeat add maintenance backup --cron '30 3 * * *' --timezone Asia/Shanghai
      stratix-kombu repeat add maintenance check --every '10 minutes' --data '{"deep": true}'
    """
    try:
        value = read_json(data)
    except ValueError as problem:
        is_text = isinstance(problem, json.JSONDecodeError) and data[:1] not in ("{", "[", '"')
        said = f"write '{json.dumps(data)}' for a text" if is_text else f"{problem}"
        raise click.BadParameter(f"{data!r} is not JSON: {said}", param_hint="--data") from problem
    given: dict[str, Any] = {option: value for option, value in asdict(options).items() if value is not None}
    if every is not None:
        given["every"] = every
    made = queue_named(app, queue).add_repeatable_job(name, value, cast("RepeatOpts", given))
    echo(f"{made.key} next runs at {made.next_run.isoformat(' ', 'seconds') if made.next_run else 'no time'}")


@repeat.command("runs", short_help="Its last runs, newest first, and how they ended.")
@with_application
@click.argument("queue")
@click.argument("key")
@json_option
def runs(app: Application, queue: str, key: str, as_json: bool) -> None:
    """The last runs of a repeatable job, newest first, and how they ended.

    \b
    Example:
      stratix-kombu repeat runs maintenance nightly
    """
    found = app.queue.get_queue(queue).get_schedule_runs(key)
    if as_json:
        for run in found:
            print_json(asdict(run))
        return
    rows = [
        [run.job_id, instant(run.added_on), run.state or "removed", instant(run.finished_on), run.failed_reason]
        for run in found
    ]
    print_table(("id", "added", "state", "ended", "reason"), rows, "It has not run yet.")


def _of_one(function: Any) -> Any:
    return click.argument("queue")(click.argument("key")(function))


@repeat.command("remove")
@with_application
@_of_one
@yes_option
def remove(app: Application, queue: str, key: str, yes: bool) -> None:
    """Remove a repeatable job; jobs that were already added stay. Asks for confirmation.

    \b
    Example:
      stratix-kombu repeat remove maintenance nightly
    """
    found = app.queue.get_queue(queue)
    if any(one.key == key for one in found.get_repeatable_jobs()):
        confirm(f"Remove the repeatable job {key} of {queue}?", yes)
    if not found.remove_repeatable_job(key=key):
        raise RepeatableJobNotFound(key, queue)
    echo(f"removed {key}")


@repeat.command("pause")
@with_application
@_of_one
def pause(app: Application, queue: str, key: str) -> None:
    """Add no jobs of it until it is resumed.

    \b
    Example:
      stratix-kombu repeat pause maintenance nightly
    """
    app.queue.get_queue(queue).pause_repeatable_job(key)
    echo(f"paused {key}")


@repeat.command("resume")
@with_application
@_of_one
def resume(app: Application, queue: str, key: str) -> None:
    """Continue with its next time.

    \b
    Example:
      stratix-kombu repeat resume maintenance nightly
    """
    app.queue.get_queue(queue).resume_repeatable_job(key)
    echo(f"resumed {key}")


@repeat.command("run", short_help="Add one job of it now, in addition to its times.")
@with_application
@_of_one
def run(app: Application, queue: str, key: str) -> None:
    """Add one job of it now, in addition to its times, and print the job's id.

    \b
    Example:
      stratix-kombu repeat run maintenance nightly
    """
    echo(app.queue.get_queue(queue).run_repeatable_job(key).id)
