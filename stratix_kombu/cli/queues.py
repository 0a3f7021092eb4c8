"""``queues``, ``pause`` and ``resume``: all queues at a glance, and whether their jobs may start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.named import queues_named
from stratix_kombu.cli.output import echo, is_terminal, json_option, print_json, print_table, rich_table, span
from stratix_kombu.cli.streams import to_the_end

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.queue import Queue

STATES = ("waiting", "active", "delayed", "blocked", "completed", "failed")
COLUMNS = ("queue", "paused", *STATES, "workers", "oldest")


@click.command("queues", short_help="All queues: jobs in each state, workers, waiting time.")
@with_application
@click.argument("names", nargs=-1, metavar="[QUEUE]...")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(0.1), help="Seconds, for --watch.")
@json_option
def queues(app: Application, names: tuple[str, ...], watch: bool, interval: float, as_json: bool) -> None:
    """All queues: the number of jobs in each state, the number of workers, and the age of the oldest waiting job.

    \b
    Examples:
      stratix-kombu -A shop.jobs:app queues
      stratix-kombu queues --watch
      stratix-kombu queues --json | jq 'select(.counts.failed > 0).name'
    """
    chosen = queues_named(app, names)
    if watch and is_terminal() and not as_json:
        _watch(app, chosen, interval)
    while True:
        if as_json:
            for queue in _found(app, chosen):
                print_json(queue)
        else:
            print_table(COLUMNS, map(_row, _found(app, chosen)), "No queue has had a job yet.")
        if not watch:
            return
        time.sleep(interval)


def _watch(app: Application, chosen: list[Queue], interval: float) -> None:
    from rich.live import Live

    with Live(auto_refresh=False, screen=False) as live:
        while True:
            live.update(rich_table(COLUMNS, map(_row, _found(app, chosen))), refresh=True)
            time.sleep(interval)


def _found(app: Application, chosen: list[Queue]) -> Iterator[dict[str, Any]]:
    for status in [queue.get_status() for queue in chosen] if chosen else app.queue.get_overview(minutes=1):
        yield {
            "name": status.name,
            "paused": status.paused,
            "counts": status.counts,
            "workers": status.workers,
            "oldest_waiting_ms": status.oldest_waiting_ms,
        }


def _row(queue: dict[str, Any]) -> list[Any]:
    counts = dict(queue["counts"])
    counts["waiting"] = counts.get("waiting", 0) + counts.get("paused", 0)
    paused, oldest = "yes" if queue["paused"] else "no", span(queue["oldest_waiting_ms"])
    return [queue["name"], paused, *(counts[state] for state in STATES), queue["workers"], oldest]


@click.command("pause", short_help="Start no further job of a queue.")
@with_application
@click.argument("names", nargs=-1, required=True, metavar="QUEUE...")
def pause(app: Application, names: tuple[str, ...]) -> None:
    """Start no further job of a queue, in any process. Running jobs are not affected.

    \b
    Example:
      stratix-kombu pause emails reports
    """
    with to_the_end():
        for queue in queues_named(app, names):
            queue.pause()
            echo(f"paused {queue.name}")


@click.command("resume", short_help="Let the jobs of a paused queue start again.")
@with_application
@click.argument("names", nargs=-1, required=True, metavar="QUEUE...")
def resume(app: Application, names: tuple[str, ...]) -> None:
    """Let the jobs of a paused queue start again.

    \b
    Example:
      stratix-kombu resume emails reports
    """
    with to_the_end():
        for queue in queues_named(app, names):
            queue.resume()
            echo(f"resumed {queue.name}")
