"""``worker`` and ``beat``: the programs that run jobs, and that only run the clock."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.commands import Failed, Unusable, with_options
from stratix_kombu.cli.logs import configure, logging_options, say
from stratix_kombu.cli.lookup import application_options, bridged, find, import_tasks, is_celery
from stratix_kombu.cli.supervisor import REPLACED
from stratix_kombu.cli.worker_signals import WorkerSignals, hurry_after, restart, say_stacks
from stratix_kombu.errors import ConfigurationError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stratix_kombu.application import Application
    from stratix_kombu.celery.program import TaskWorker
    from stratix_kombu.queue.queue import Queue

MAX_PROCESSES = 256


@dataclass(frozen=True, kw_only=True)
class WorkerCommand:
    """The options of ``worker``."""

    names: str | None
    concurrency: int | None
    processes: tuple[int, int]
    hostname: str | None
    max_tasks_per_child: int | None
    max_memory_per_child: int | None
    """0: no limit, whatever Celery's settings say."""
    reload: bool
    supervised: int
    """Which of a supervisor's processes it is; 0 = it has no supervisor."""
    log_level: str | None
    log_format: str

    @property
    def needs_supervisor(self) -> bool:
        """Whether there are several processes, or they end by themselves, to be replaced."""
        return self.processes != (1, 1) or bool(self.max_tasks_per_child or self.max_memory_per_child)


def _read_processes(context: click.Context, parameter: click.Parameter, given: str) -> tuple[int, int]:
    """How many there are at least and at most."""
    first, _, last = given.partition("-")
    try:
        least, most = int(first), int(last or first)
    except ValueError:
        raise click.BadParameter(f"must be a number, or two as in 2-8, not {given!r}") from None
    if not 1 <= least <= most <= MAX_PROCESSES:
        raise click.BadParameter(f"must be between 1 and {MAX_PROCESSES}, the smaller one first")
    return least, most


def _celery_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Those that are about the tasks of a Celery project, named as Celery names them."""
    of_tasks, of_memory = (
        "replace a process after this many tasks; 0: never.",
        "replace a process that has used this much memory; 0: never.",
    )
    function = click.option(
        "--max-memory-per-child", type=click.IntRange(0), metavar="KB", help=f"Celery: {of_memory}"
    )(function)
    function = click.option("--max-tasks-per-child", type=click.IntRange(0), metavar="N", help=f"Celery: {of_tasks}")(
        function
    )
    return click.option("-n", "--hostname", help="Celery: the worker's name, as tasks and monitors see it.")(function)


@click.command("worker", short_help="Run the handlers or Celery tasks of an application.")
@application_options
@click.option("-Q", "--queues", "names", metavar="A,B", help="Only these queues; by default all that have a handler.")
@click.option(
    "-c", "--concurrency", type=click.IntRange(1, 1000), help="Jobs of each queue that run together in each process."
)
@click.option(
    "--processes",
    default="1",
    show_default=True,
    metavar="N|A-B",
    callback=_read_processes,
    help="Worker processes; A-B: as many as the backlog needs.",
)
@_celery_options
@click.option("--reload", is_flag=True, help="For development: restart when a Python file here changes.")
@click.option("--supervised", type=int, default=0, hidden=True)
@logging_options
@with_options(WorkerCommand)
@click.pass_context
def worker(context: click.Context, reference: str | None, config: Path | None, options: WorkerCommand) -> None:
    """Run the handlers of an application, those that its module registers with queue.process(), or the tasks of a
    Celery project with the bridge.

    On SIGTERM or Ctrl-C it takes no more jobs, waits for running ones (shutdown_timeout, 30 s), hands the rest back,
    and exits with 0. A second signal ends it at once. On SIGQUIT it waits for nothing, on SIGHUP it starts again, on
    SIGUSR1 it tells what it executes. With several processes, one that crashes is restarted.

    \b
    Examples:
      stratix-kombu worker --app shop.jobs:app
      stratix-kombu worker -A shop.jobs --queues emails,reports --concurrency 20 --processes 4
      stratix-kombu worker -A shop.jobs --reload
      stratix-kombu worker -A proj -Q celery,mail -c 10 --processes 2-8 --max-tasks-per-child 10000
    """
    if options.log_format == "json":
        configure(options.log_level, "json")  # what is logged before the module is imported is JSON, too
    if options.reload:
        from stratix_kombu.cli.supervisor import reload

        if options.processes != (1, 1):
            raise click.UsageError("--reload is for one process: leave out --processes")
        sys.exit(reload(_child_arguments()))
    target = find(context, reference, config)
    program = None
    if is_celery(target):
        program = _program_of(target, options)
        options = _as_configured(options, target.conf)
    supervises = options.needs_supervisor and not options.supervised
    if program is not None and (supervises or not options.needs_supervisor) and (why := program.refusal()):
        raise Failed(why)  # once for all processes
    app = program.application if program is not None else _of_handlers(target)
    chosen = program.queues if program is not None else _chosen(app, options.names)
    if options.concurrency:
        for queue in chosen.values():
            queue.concurrency = options.concurrency
    code = _supervise(app, chosen, options) if supervises else _run(app, chosen, program, options)
    if code == REPLACED and not options.supervised:
        restart()
    sys.exit(code)


def _run(app: Application, chosen: dict[str, Queue], program: TaskWorker | None, options: WorkerCommand) -> int:
    """Run the jobs in this process until a signal; return the exit code."""
    set_up = partial(configure, options.log_level, options.log_format)
    if program is None:
        set_up()
    else:
        program.set_up_logging(options.log_level, set_up)
    patience_s = program.soft_shutdown_s if program is not None else 0.0
    cold = partial(hurry_after, patience_s, app.queue.hurry)
    signals = WorkerSignals(cold, say_stacks, lambda number: os._exit(128 + number), bool(options.supervised))
    with signals:
        if options.supervised:
            _end_with_parent()
        said = ", ".join(f"{name} ({queue.concurrency})" for name, queue in chosen.items())
        say(f"worker {os.getpid()} runs jobs of {said} over {app.queue.describe()}")
        gc.collect()
        gc.freeze()  # what is loaded stays: no collection need go through it again
        if program is None:
            app.run(queues=chosen)
            is_full = False
        else:
            from stratix_kombu.celery.program import Quota

            quota = Quota(options.max_tasks_per_child or 0, options.max_memory_per_child or 0)
            program.run(quota, signals, bool(options.supervised))
            is_full = quota.reached
    return REPLACED if is_full or signals.restarts else 0


def _program_of(app: Any, options: WorkerCommand) -> TaskWorker:
    """The program for a Celery application with the bridge."""
    bridged(app)
    import_tasks(app)
    from stratix_kombu.celery.program import TaskWorker

    names = [name.strip() for name in options.names.split(",")] if options.names is not None else None
    number = options.supervised if options.processes[1] > 1 else 0
    return TaskWorker(app, names, options.concurrency, options.hostname, number)


def _as_configured(options: WorkerCommand, conf: Any) -> WorkerCommand:
    """What the command line leaves open is as Celery's settings say."""
    tasks, memory = options.max_tasks_per_child, options.max_memory_per_child
    return replace(
        options,
        max_tasks_per_child=conf.worker_max_tasks_per_child if tasks is None else tasks,
        max_memory_per_child=conf.worker_max_memory_per_child if memory is None else memory,
    )


def _supervise(app: Application, chosen: dict[str, Queue], options: WorkerCommand) -> int:
    from stratix_kombu.cli.supervisor import Scaling, supervise

    if not app.queue.shared:
        raise ConfigurationError(
            f"{app.queue.describe()} is visible to one process only: for --processes use a driver and a "
            "store that processes share, such as redis"
        )
    least, most = options.processes
    slots = sum(queue.concurrency for queue in chosen.values())
    return supervise(
        _child_arguments(), least, Scaling(least, most, slots, lambda: _load(chosen)) if most > least else None
    )


def _load(queues: dict[str, Queue]) -> tuple[int, int]:
    """Jobs that wait and that run. Raises Unavailable."""
    counts = [queue.get_job_counts() for queue in queues.values()]
    return sum(count["waiting"] for count in counts), sum(count["active"] for count in counts)


@click.command("beat", short_help="Run the clock alone.")
@application_options
@logging_options
@click.pass_context
def beat(
    context: click.Context, reference: str | None, config: Path | None, log_level: str | None, log_format: str
) -> None:
    """Run the clock alone: delayed and repeatable jobs, jobs of dead workers, and the app.schedule of the module. Every
    worker has a clock of its own, so this is for deployments where those are switched off ([worker] clock = false), or
    where repeatable jobs must be added while no worker is running. Any number may run: each run is added once.

    \b
    Example:
      stratix-kombu beat --app shop.jobs:app
    """
    if log_format == "json":
        configure(log_level, log_format)
    target = find(context, reference, config)
    if is_celery(target):
        raise Unusable("the clock of a Celery project is its beat: run 'celery -A proj beat -S stratix'")
    configure(log_level, log_format)
    say(f"beat {os.getpid()} runs the clock over {target.queue.describe()}")
    target.run(queues=[])


def _of_handlers(found: Any) -> Application:
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
    return {queue.name: queue for queue in app.queue.get_all_queues() if queue.handler_names}


def _chosen(app: Application, names: str | None) -> dict[str, Queue]:
    """The named queues. Raises ConfigurationError for one without a handler."""
    known = _handling(app)
    chosen = [name.strip() for name in names.split(",")] if names is not None else list(known)
    for name in chosen:
        if name not in known:
            raise ConfigurationError(f"no queue {name!r} has a handler in this application{nearest(name, known)}")
    return {name: known[name] for name in chosen}


def _child_arguments() -> list[str]:
    """This command for a child: the same, to which the supervisor adds that it is one."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]
    module = (
        "celery"
        if os.path.basename(sys.argv[0]).startswith("celery") or "celery/__main__" in sys.argv[0]
        else "stratix_kombu"
    )
    return [sys.executable, "-m", module, *arguments]


def _end_with_parent() -> None:
    """Stop as on SIGTERM when the parent has died: our stdin is then at its end."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="stratix-parent", daemon=True).start()
