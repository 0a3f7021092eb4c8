"""``worker`` and ``beat``: the programs that run jobs, and that only run the clock."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.commands import Unusable, with_options
from stratix_kombu.cli.logs import configure, logging_options, say
from stratix_kombu.cli.lookup import application_options, bridged, find, is_celery
from stratix_kombu.errors import ConfigurationError, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from stratix_kombu.application import Application
    from stratix_kombu.queue.queue import Queue


@dataclass(frozen=True, kw_only=True)
class WorkerCommand:
    """The options of ``worker``."""

    names: str | None
    concurrency: int | None
    processes: int
    reload: bool
    supervised: bool
    log_level: str | None
    log_format: str


@click.command("worker", short_help="Run the handlers of an application.")
@application_options
@click.option("--queues", "names", metavar="A,B", help="Only these queues; by default all that have a handler.")
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), help="Jobs of each queue that run at the same time in each process."
)
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 256), help="Worker processes.")
@click.option("--reload", is_flag=True, help="For development: restart when a Python file here changes.")
@click.option("--supervised", is_flag=True, hidden=True)
@logging_options
@with_options(WorkerCommand)
@click.pass_context
def worker(context: click.Context, reference: str | None, config: Path | None, options: WorkerCommand) -> None:
    """Run the handlers of an application: those that its module registers with queue.process().

    On SIGTERM or Ctrl-C it takes no more jobs, waits for running ones (shutdown_timeout, 30 s), hands the rest back,
    and exits with 0. A second signal ends it at once. With several processes, one that crashes is restarted.

    \b
    Examples:
      stratix-kombu worker --app shop.jobs:app
      stratix-kombu worker -A shop.jobs --queues emails,reports --concurrency 20 --processes 4
      stratix-kombu worker -A shop.jobs --reload
    """
    if options.log_format == "json":
        configure(options.log_level, "json")  # what is logged before the module is imported is JSON, too
    if options.reload:
        from stratix_kombu.cli.supervisor import reload

        if options.processes > 1:
            raise click.UsageError("--reload is for one process: leave out --processes")
        sys.exit(reload(_child_arguments()))
    app = _of_handlers(find(context, reference, config))
    chosen = _chosen(app, options.names)
    if options.concurrency:
        for queue in chosen.values():
            queue.concurrency = options.concurrency
    if options.processes > 1:
        from stratix_kombu.cli.supervisor import supervise

        if not app.queue.shared:
            raise ConfigurationError(
                f"{app.queue.describe()} is visible to one process only: for --processes use a driver and "
                "a store that processes share, such as redis"
            )
        sys.exit(supervise(_child_arguments(), options.processes))
    configure(options.log_level, options.log_format)
    if options.supervised:
        _end_with_parent()
    said = ", ".join(f"{name} ({queue.concurrency})" for name, queue in chosen.items())
    say(f"worker {os.getpid()} runs jobs of {said} over {app.queue.describe()}")
    app.run(queues=chosen)


@click.command("beat", short_help="Run the clock alone.")
@application_options
@logging_options
@click.pass_context
def beat(
    context: click.Context, reference: str | None, config: Path | None, log_level: str | None, log_format: str
) -> None:
    """Run the clock alone: delayed and repeatable jobs, jobs of dead workers, and the app.schedule of the module. Every
    worker has a clock of its own, so this is for deployments where those are switched off ([worker] clock = false), or
    where repeatable jobs must be added while no worker is running. Any number may run: each run is added once."""
    if log_format == "json":
        configure(log_level, log_format)
    found = find(context, reference, config)
    if is_celery(found):
        raise Unusable("the clock of a Celery project is its beat: run 'celery -A proj beat -S stratix'")
    configure(log_level, log_format)
    say(f"beat {os.getpid()} runs the clock over {found.queue.describe()}")
    found.run(queues=[])


def _of_handlers(found: Any) -> Application:
    if is_celery(found):
        bridged(found)
        raise Unusable("jobs and tasks of a Celery project are run by its workers: run 'celery -A proj worker'")
    app: Application = found
    app.queue.engine  # noqa: B018  # a driver that makes queues of its own has workers of its own, and says so
    if not _handling(app):
        raise ConfigurationError(
            "there is no handler, so there are no jobs to run: name the module that calls "
            "queue.process() with --app module:attr, and make sure that it imports all modules with "
            "handlers"
        )
    return app


def _handling(app: Application) -> dict[str, Queue]:
    return {one.name: one for one in app.queue.get_all_queues() if one.handler_names}


def _chosen(app: Application, names: str | None) -> dict[str, Queue]:
    """The named queues. Raises ConfigurationError for one without a handler."""
    known = _handling(app)
    chosen = [name.strip() for name in names.split(",")] if names is not None else list(known)
    for name in chosen:
        if name not in known:
            raise ConfigurationError(f"no queue {name!r} has a handler in this application{nearest(name, known)}")
    return {name: known[name] for name in chosen}


def _child_arguments() -> list[str]:
    """This command for a child: the same, without the options that start several."""
    arguments, rest = [], sys.argv[1:]
    skip = False
    for one in rest:
        if skip or one == "--reload" or one.startswith("--processes="):
            skip = False
        elif one == "--processes":
            skip = True
        else:
            arguments.append(one)
    return [sys.executable, "-m", "stratix_kombu", *arguments, "--supervised"]


def _end_with_parent() -> None:
    """Stop as on SIGTERM when the parent has died: our stdin is then at its end."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="stratix-parent", daemon=True).start()
