"""``dead-letters``: jobs that failed for good, and sending them back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.commands import Commands, with_options
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.named import queue_named
from stratix_kombu.cli.output import confirm, echo, json_option, print_json, print_table, progress, yes_option

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.queue import Queue

PAGE = 500
WAITING = ("waiting", "paused", "delayed")
COLUMNS = ("id", "queue", "name", "attempts", "reason")


@click.group("dead-letters", cls=Commands, short_help="Jobs that failed for good, and sending them back.")
def dead_letters() -> None:
    """Jobs that failed for good, kept in the queue that their queue's option 'dead_letter' names."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The options that select letters."""

    name: str | None
    queue: str | None
    reason: str | None

    @property
    def is_all(self) -> bool:
        return not (self.name or self.queue or self.reason)

    def has(self, letter: Mapping[str, Any]) -> bool:
        return (
            (self.name is None or fnmatchcase(letter["name"], self.name))
            and (self.queue is None or letter["queue"] == self.queue)
            and (self.reason is None or self.reason in (letter["reason"] or ""))
        )


def _choice(function: Any) -> Any:
    function = with_options(Choice)(function)
    function = click.option("--reason", metavar="TEXT", help="Only letters whose reason contains this text.")(function)
    function = click.option("--from", "queue", metavar="QUEUE", help="Only letters from this queue.")(function)
    return click.option("--name", metavar="PATTERN", help="Only jobs of this name; * and ? as in a shell.")(function)


@dead_letters.command("list", short_help="The letters in a queue, and why their jobs failed.")
@with_application
@click.argument("dead_letter", metavar="QUEUE")
@_choice
@json_option
def list_(app: Application, dead_letter: str, as_json: bool, options: Choice) -> None:
    """The letters in a queue: the job that each describes, its queue, and why it failed.

    \b
    Example:
      stratix-kombu dead-letters list mail-dead --reason Timeout
    """
    letters = filter(options.has, _letters(queue_named(app, dead_letter)))
    if as_json:
        for letter in letters:
            print_json(letter)
    else:
        rows = ([letter[column] for column in COLUMNS] for letter in letters)
        print_table(COLUMNS, rows, "There are no letters.")


def _letters(queue: Queue) -> Iterator[Mapping[str, Any]]:
    counts = queue.get_job_counts()
    for start in range(0, sum(counts[state] for state in WAITING), PAGE):
        yield from queue.get_dead_letters(start, start + PAGE - 1)


@dead_letters.command("redrive")
@with_application
@click.argument("dead_letter", metavar="QUEUE")
@_choice
@click.option("--limit", default=0, type=click.IntRange(0), help="Maximum number of letters (0 means no limit).")
@yes_option
def redrive(app: Application, dead_letter: str, limit: int, yes: bool, options: Choice) -> None:
    """Send letters back to the queues they came from, oldest first. Asks for confirmation if no filter is given.

    \b
    Example:
      stratix-kombu dead-letters redrive mail-dead --reason Timeout --limit 100
    """
    queue = queue_named(app, dead_letter)
    number = sum(queue.get_job_counts()[state] for state in WAITING)
    if not limit and options.is_all:
        confirm(f"Send all {number} letters of {dead_letter} back?", yes)
    with progress(f"redriving {dead_letter}", min(limit, number) if limit else number) as on_progress:
        count = queue.redrive(limit, options.has, on_progress)
    echo(f"sent {count} letters back")
