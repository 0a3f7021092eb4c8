"""``metrics``: what happened in the queues, per minute or hour."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.commands import with_options
from stratix_kombu.cli.logs import say
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.named import chosen_queues
from stratix_kombu.cli.output import echo, json_option, print_json, print_table, span

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.model.metrics import Period

COUNTS = ("completed", "failed", "retried", "stalled", "limited", "cancelled")
LOCAL = "127.0.0.1"
MINUTES = 10
"""How many are shown if nothing is said."""
COLUMNS = (*COUNTS, "wait p50", "wait p95", "run p50", "run p95", "run p99")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The options of ``metrics``."""

    minutes: int | None
    hours: int | None
    by_name: bool
    prometheus: bool
    port: int | None
    host: str


@click.command("metrics", short_help="What happened in the last minutes or hours, and how long it took.")
@with_application
@click.argument("names", nargs=-1, metavar="[QUEUE]...")
@click.option("--minutes", show_default=str(MINUTES), type=click.IntRange(1, 1440), help="Number of minutes.")
@click.option("--hours", type=click.IntRange(1, 744), help="Number of hours, instead of minutes.")
@click.option("--by-name", is_flag=True, help="With --hours (at most 168): one line per name of jobs.")
@click.option("--prometheus", is_flag=True, help="The totals of all queues, in Prometheus's text format.")
@click.option(
    "--serve",
    "port",
    metavar="PORT",
    type=click.IntRange(0, 65_535),
    help="Serve them to Prometheus on this port, until Ctrl-C.",
)
@click.option("--host", default=LOCAL, show_default=True, help="The address to serve it on; 0.0.0.0: to other hosts.")
@json_option
@with_options(Measured)
def metrics(app: Application, names: tuple[str, ...], as_json: bool, options: Measured) -> None:
    """What happened in the last minutes or hours: finished jobs, attempts, how long they waited and ran. Without a
    queue: one line per queue; with one: one line per minute or hour. One process is enough for Prometheus: it reads
    the store, so it reports all workers.

    \b
    Examples:
      stratix-kombu metrics --minutes 60
      stratix-kombu metrics emails --json | jq .total.run.p95_ms
      stratix-kombu metrics --serve 9100 --host 0.0.0.0
    """
    if options.prometheus or options.port is not None:
        if names or as_json:
            raise click.UsageError("--prometheus and --serve report all queues, in Prometheus's format")
        _for_prometheus(app, options.port, options.host)
        return
    if options.minutes and (options.hours or options.by_name):
        raise click.UsageError("--minutes stands alone: give it, or --hours with or without --by-name")
    if options.by_name:
        _by_name(app, names, options.hours, as_json)
        return
    queues = chosen_queues(app, names)
    minutes = None if options.hours else options.minutes or MINUTES
    measured = [queue.get_metrics(minutes, hours=options.hours) for queue in queues]
    if as_json:
        for queue in measured:
            print_json(asdict(queue))
    elif names:
        periods = [(queue.name, period) for queue in measured for period in queue.hours or queue.minutes]
        rows = [[name, _start(period), *_row(period)] for name, period in periods]
        print_table(("queue", "hour" if options.hours else "minute", *COLUMNS), rows, "")
    else:
        print_table(
            ("queue", *COLUMNS), [[queue.name, *_row(queue.total)] for queue in measured], "No queue has had a job yet."
        )


def _by_name(app: Application, names: tuple[str, ...], hours: int | None, as_json: bool) -> None:
    rows: list[list[Any]] = []
    for queue in chosen_queues(app, names):
        for name in queue.get_metric_names():
            total = queue.get_metrics(hours=hours, name=name).total
            if as_json:
                print_json({"queue": queue.name, "name": name, "total": asdict(total)})
            else:
                rows.append([queue.name, name, total.completed, total.failed, *_times(total)])
    if not as_json:
        print_table(("queue", "name", "completed", "failed", *COLUMNS[len(COUNTS) :]), rows, "No job has ended yet.")


def _for_prometheus(app: Application, port: int | None, host: str) -> None:
    from stratix_kombu.metrics import metrics_text, serve

    if port is None:
        echo(metrics_text(app), nl=False)
        return
    with serve(app, port, host) as server:
        if host == LOCAL:
            say("note: only this machine can reach it; for a Prometheus elsewhere: --host 0.0.0.0")
        say(f"serving http://{f'[{host}]' if ':' in host else host}:{server.port}/metrics")
        threading.Event().wait()


def _start(period: Period) -> str:
    from datetime import datetime

    begin = datetime.fromtimestamp(period.start_ms / 1000)
    return begin.strftime("%H:%M" if period.minutes == 1 else "%Y-%m-%d %H:%M")


def _row(period: Period) -> list[Any]:
    return [*(getattr(period, count) for count in COUNTS), *_times(period)]


def _times(period: Period) -> list[str]:
    wait, run = period.wait, period.run
    times = [(wait, wait.p50_ms), (wait, wait.p95_ms), (run, run.p50_ms), (run, run.p95_ms), (run, run.p99_ms)]
    return [span(ms) if kind.count else "-" for kind, ms in times]
