"""``store``: making the tables of a store, and copying its jobs to another one."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import click

from stratix_kombu.cli.commands import Commands, Failed
from stratix_kombu.cli.lookup import url_of, with_application
from stratix_kombu.cli.output import confirm, echo, progress, yes_option
from stratix_kombu.config.embedded import STORE_AS_DRIVER
from stratix_kombu.errors import ConfigurationError

if TYPE_CHECKING:
    from stratix_kombu.application import Application


@click.group("store", cls=Commands)
def store() -> None:
    """Stores of jobs."""


@store.command("copy", short_help="Copy all jobs to another store, while nothing runs.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--namespace", default="stratix", show_default=True, help="Which jobs; as in the settings.")
@yes_option
def copy(source: str, target: str, namespace: str, yes: bool) -> None:
    """Copy the jobs of a store to an empty one: of all states, with their dependencies, results, logs and dead letters,
    schedules, and what was set for queues (pause, limit, concurrency). Stores are files (SQLite) or URLs.

    Stop all workers and the programs that add jobs first; the command refuses while workers run. FROM stays as it is:
    from then on use only TO, or jobs run twice. Interrupted, it goes on when it is called again.

    \b
    Example:
      stratix-kombu store copy jobs.db redis://localhost:6379/0

    Events and metrics of the past are not copied, and starts do not count against limits in the new store.
    """
    from stratix_kombu.lifecycle.copying import Copy, StoreChanged
    from stratix_kombu.stores.registry import open_store

    _check_exists(url_of(source))
    with (
        closing(open_store(url_of(source), namespace=namespace)) as old,
        closing(open_store(url_of(target), namespace=namespace)) as new,
    ):
        counts = [old.queries.status(queue).counts for queue in old.queries.queues()]
        total = sum(count for one in counts for count in one.values())
        confirm(f"Copy {total} jobs from {old.address} to {new.address}?", yes)
        try:
            with progress("copying jobs", total) as on_progress:
                copied = Copy(old, new, f"{old.address} {namespace}", on_progress).run()
        except StoreChanged as problem:
            raise Failed(f"{problem}; nothing is lost, and the jobs are still in {old.address}") from problem
        except KeyboardInterrupt:
            click.echo("interrupted; call it again to go on", err=True)
            raise
    states = ", ".join(f"{count} {state.value}" for state, count in copied.jobs.items() if count)
    echo(f"copied {copied.jobs.total()} jobs{f' ({states})' if states else ''} of {copied.queues} queues")
    echo(f"with {copied.edges} dependencies, {copied.log_lines} lines of logs and {copied.letters} dead letters")
    echo(f"and {copied.schedules} schedules")
    echo(f"from {old.address} to {new.address}; use only {new.address} from now on")


@store.command("migrate", short_help="Make the tables of a PostgreSQL store, or bring them up to date.")
@with_application
@click.option("--sql", is_flag=True, help="Print the statements, for another tool, and do nothing.")
@click.option(
    "--after", type=click.IntRange(0), help="With --sql: those after this version, without asking the database."
)
def migrate(app: Application, sql: bool, after: int | None) -> None:
    """Make the tables of the application's PostgreSQL store, or bring those of an earlier release up to date. Call it
    before the new release starts; processes of the release before it go on. Other stores need no call.

    \b
    Examples:
      stratix-kombu store migrate --app shop.jobs:app
      stratix-kombu store migrate --store postgresql://shop@db/shop
      stratix-kombu store migrate --sql --after 0 > jobs.sql      then: psql -1 -f jobs.sql
    """
    store = app.queue.engine.store
    if store.migrations is None:
        echo(f"{store.address} makes its tables itself; there is nothing to do")
    elif sql:
        echo(store.migrations.script(after))
    elif pending := store.migrations.pending():
        before, now = store.migrations.migrate()
        echo(f"{store.address}: version {before} -> {now} ({', '.join(pending)})")
    else:
        echo(f"{store.address} is up to date")


def _check_exists(url: str) -> None:
    """Raises ConfigurationError for a file that is not there: opening it would create an empty store."""
    from stratix_kombu.stores.sqlite.options import read_options

    if url.startswith(f"{STORE_AS_DRIVER}:") and not os.path.exists(path := read_options({"url": url}).path):
        raise ConfigurationError(f"there is no file {path} to copy from")
