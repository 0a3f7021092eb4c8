"""``health``: whether jobs are consumed, for people and for probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stratix_kombu.cli.commands import FAILED
from stratix_kombu.cli.intervals import read_interval
from stratix_kombu.cli.logs import say
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.output import json_option, print_fields, print_json, print_table, span
from stratix_kombu.cli.streams import to_the_end

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.health import Health
    from stratix_kombu.types import HealthScope

SCOPES: dict[str, HealthScope] = {"all": "all", "host": "host", "none": "process"}
"""Which workers, and the word for it in ``check_health``: this process has none of its own."""


@click.command("health", short_help="Whether broker, store, workers and clock do their work.")
@with_application
@click.option(
    "--workers", default="all", show_default=True, type=click.Choice([*SCOPES]), help="Workers that must be running."
)
@click.option(
    "--within",
    default="30 s",
    show_default=True,
    metavar="INTERVAL",
    callback=read_interval,
    help="How long ago they may have been active.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; only the exit code.")
@json_option
@click.pass_context
def health(context: click.Context, /, app: Application, workers: str, within: int, quiet: bool, as_json: bool) -> None:
    """Whether broker and store answer, workers take messages, and a clock promotes delayed jobs. Exits with 1 if not.
    As a probe of a container that runs a worker, check the workers of this host:

    \b
      stratix-kombu health --workers host --quiet
    """
    health = app.check_health(within, SCOPES[workers])
    with to_the_end():
        if as_json:
            print_json(health.to_dict(), indent=2)
        elif not quiet:
            _print(health)
    if not health:
        context.exit(FAILED)


def _print(health: Health) -> None:
    said = {"driver": health.driver, "store": health.store, "workers": health.consuming, "clock": health.clock}
    print_fields({what: "healthy" if fine else "not healthy" for what, fine in said.items()})
    rows = [
        [worker.queue, worker.id, worker.concurrency, worker.stuck, span(worker.idle_ms)] for worker in health.workers
    ]
    if rows:
        print_table(("queue", "worker", "concurrency", "stuck", "took messages ago"), rows, "")
    for problem in health.problems:
        say(problem)
