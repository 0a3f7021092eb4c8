"""``workers``: the processes that run jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.output import age, json_option, print_json, print_table

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.model.workers import WorkerProcess

COLUMNS = ("id", "slots", "stuck", "up", "last take", "clock", "version", "queues")


@click.command("workers", short_help="The processes that run jobs.")
@with_application
@json_option
def workers(app: Application, as_json: bool) -> None:
    """The processes that run jobs: how many at a time, of which queues, and when each last took one; 'clock' says which
    one promotes and recovers the jobs of all. What one runs: jobs --state active --worker ID.

    \b
    Examples:
      stratix-kombu workers
      stratix-kombu workers --json | jq 'select(.stuck > 0).host'
    """
    found = app.queue.get_workers()
    if as_json:
        for one in found:
            print_json(one.to_dict())
    else:
        print_table(COLUMNS, map(_row, found), "No worker is present.")


def _row(one: WorkerProcess) -> list[Any]:
    clock = "leads" if one.leads_clock else ""
    queues = " ".join(sorted(one.queues))
    return [one.id, one.slots, one.stuck, age(one.started_on), age(one.last_take_on), clock, one.version, queues]
