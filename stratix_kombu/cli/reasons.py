"""``reasons``: why jobs of a queue failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stratix_kombu.cli.logs import say
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.named import queue_named
from stratix_kombu.cli.output import age, json_option, print_json, print_table

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.model.finding import ReasonGroup

COLUMNS = ("count", "error", "newest", "job", "reason")


@click.command("reasons", short_help="Why jobs of a queue failed, the most frequent reason first.")
@with_application
@click.argument("name", metavar="QUEUE")
@click.option("--letters", is_flag=True, help="Of the dead letters in the queue, instead of its failed jobs.")
@click.option(
    "--limit",
    default=10_000,
    show_default=True,
    type=click.IntRange(0),
    help="How many jobs are looked at, the newest first (0 means all).",
)
@json_option
def reasons(app: Application, name: str, letters: bool, limit: int, as_json: bool) -> None:
    """Why jobs of a queue failed: grouped by what their reasons have in common, the largest group first. A word with a
    digit in it counts as *.

    \b
    Examples:
      stratix-kombu reasons emails
      stratix-kombu reasons emails --json | jq 'select(.error == "TimeoutError").count'
    """
    from stratix_kombu.model.finding import LOOKED_AT_ONCE, together

    queue, found, cursor, looked = queue_named(app, name), list["ReasonGroup"](), "", 0
    read = queue.get_letter_reasons if letters else queue.get_failure_reasons
    while True:
        page = read(cursor, min(LOOKED_AT_ONCE, limit - looked) if limit else LOOKED_AT_ONCE)
        found, cursor, looked = together([*found, *page.groups]), page.cursor, looked + page.looked
        if not cursor or looked == limit:
            break
    if as_json:
        for group in found:
            print_json(group.to_dict())
    else:
        rows = [[one.count, one.error, age(one.newest_on), one.newest_job_id, one.reason] for one in found]
        print_table(COLUMNS, rows, "No such jobs.")
    if cursor:
        say(f"these are the reasons of {looked} jobs, and there are more: see --limit")
