"""``bulk``: the same done to all jobs of a queue that are meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.commands import with_options
from stratix_kombu.cli.intervals import read_interval
from stratix_kombu.cli.jobs import STATES
from stratix_kombu.cli.logs import say
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.named import queue_named
from stratix_kombu.cli.output import confirm, echo, progress, yes_option

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.queue import Queue
    from stratix_kombu.types import FindOpts, JobState

DONE = {"retry": "will run again:", "promote": "may run now:", "remove": "removed", "cancel": "cancelled"}
ONLY: dict[str, JobState] = {"retry": "failed", "promote": "delayed"}
"""Actions that are for jobs of one state."""


@dataclass(frozen=True, kw_only=True)
class Meant:
    """The options that say which jobs are meant."""

    state: JobState | None
    name: str
    id_prefix: str
    reason: str
    group: str
    worker: str
    since: int | None

    def of(self, app: Application) -> FindOpts:
        """The options of ``find_jobs``."""
        texts = {"id": self.id_prefix, **{one: getattr(self, one) for one in ("name", "reason", "group", "worker")}}
        found: Any = {name: text for name, text in texts.items() if text}
        if self.since is not None:
            found["since"] = app.queue.engine.store.queries.now() - self.since
        return found  # type: ignore[no-any-return]


@click.command("bulk", short_help="Retry, promote, remove or cancel all jobs of a queue that are meant.")
@with_application
@click.argument("action", type=click.Choice(tuple(DONE)))
@click.argument("queue")
@click.option("--state", type=click.Choice(STATES), help="Only in this state; retry: failed, promote: delayed.")
@click.option("--name", default="", metavar="PATTERN", help="Only jobs of this name; * and ? as in a shell.")
@click.option("--id", "id_prefix", default="", metavar="PREFIX", help="Only jobs whose id begins so.")
@click.option("--reason", default="", metavar="TEXT", help="Only jobs whose reason of failure contains this text.")
@click.option("--group", default="", help="Only jobs of this group.")
@click.option("--worker", default="", metavar="ID", help="Only jobs that this worker runs, or ran last.")
@click.option(
    "--since",
    callback=read_interval,
    metavar="INTERVAL",
    help="Only jobs that finished, or were added if they have not, since then: '1 h'.",
)
@click.option("--limit", default=0, type=click.IntRange(0), help="Maximum number of jobs (0 means no limit).")
@yes_option
@with_options(Meant)
def bulk(app: Application, action: str, queue: str, limit: int, yes: bool, options: Meant) -> None:
    """Do the same to all jobs of a queue that are in a state and fit the options, page by page. It says how many there
    are, and asks for confirmation.

    \b
    Examples:
      stratix-kombu bulk retry emails --reason 'timed out' --since '1 h'
      stratix-kombu bulk cancel imports --state waiting --name 'nightly*' --yes
    """
    state = options.state or ONLY.get(action)
    if state is None or state != ONLY.get(action, state):
        wanted = f"jobs that are {ONLY[action]}" if action in ONLY else "a state: give --state"
        raise click.UsageError(f"{action} is for {wanted}")
    found, where = queue_named(app, queue), options.of(app)
    counted = found.count_jobs(state, **where)
    about = f"{counted.count}" if counted.exact else f"at least {counted.count}"
    confirm(f"{action.capitalize()} {f'at most {limit} of ' if limit else ''}{about} {state} jobs of {queue}?", yes)
    total = min(counted.count, limit or counted.count) if counted.exact else limit or None
    _act(_action(found, action, state, limit, where), DONE[action], total)


def _action(queue: Queue, action: str, state: JobState, limit: int, where: FindOpts) -> Callable[..., int]:
    if action == "retry":
        return partial(queue.retry_jobs, count=limit, **where)
    if action == "promote":
        return partial(queue.promote_jobs, count=limit, **where)
    return partial(queue.remove_jobs if action == "remove" else queue.cancel_jobs, state, limit, **where)


def _act(action: Callable[..., int], done: str, total: int | None) -> None:
    """What was done before Ctrl-C stays done."""
    so_far = 0

    def tell(count: int) -> None:
        nonlocal so_far
        so_far = count
        on_progress(count)

    try:
        with progress("working", total) as on_progress:
            so_far = action(on_progress=tell)
    except KeyboardInterrupt:
        say(f"interrupted; {done} at least {_jobs(so_far)}")
        raise
    echo(f"{done} {_jobs(so_far)}")


def _jobs(count: int) -> str:
    return f"{count} job{'s' if count != 1 else ''}"
