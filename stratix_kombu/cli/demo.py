"""``demo``: analyse the standard library, one job per file, and check the sums."""

from __future__ import annotations

import logging
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.analysis import Totals, measure, standard_library
from stratix_kombu.cli.commands import FAILED, INTERRUPTED, UNUSABLE, with_options
from stratix_kombu.cli.lookup import said_before
from stratix_kombu.config.embedded import STORE_AS_DRIVER
from stratix_kombu.errors import StratixError, UnrecoverableError

if TYPE_CHECKING:
    from rich.console import Console

    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.queue import Queue
    from stratix_kombu.types import JobOpts, RetentionOpts

KEPT: RetentionOpts = {"age": timedelta(hours=1)}
"""What the demo leaves in a store expires by itself."""
FILE = "stratix-demo.db"
POLL_S = 0.1
LONGEST_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """The options of ``demo``."""

    driver: str | None
    durable: bool
    config: Path | None
    concurrency: int
    limit: int | None


@click.command(short_help="See it work: Python's standard library, one job per file.")
@click.option("--driver", help="memory (default), redis, rabbitmq, sqs, or a Kombu URL.")
@click.option("--durable", is_flag=True, help=f"Keep the jobs in a file, {FILE}, instead of a broker.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A TOML file of settings.")
@click.option(
    "--concurrency", default=8, show_default=True, type=click.IntRange(1, 1000), help="Jobs that run at the same time."
)
@click.option("--limit", type=click.IntRange(1), help="Only the first N files.")
@with_options(DemoCommand)
@click.pass_context
def demo(context: click.Context, options: DemoCommand) -> None:
    """Analyse the Python files of the standard library: one job each.

    The sums are checked against a count without any queue. With nothing configured it runs in this process alone;
    with a driver, and its settings in a file or the environment, it uses a real broker.

    \b
    Example:
      stratix-kombu demo --durable
    """
    from rich.console import Console

    from stratix_kombu.application import create_app
    from stratix_kombu.plugins import queue_plugin

    reference, said = said_before(context)
    if reference:
        raise click.UsageError("the demo creates its own application: leave out --app")
    config = options.config or said
    if options.durable and (options.driver or config):
        raise click.UsageError("--durable needs no broker: leave out --driver and --config")
    console = Console()
    files = standard_library()[: options.limit]
    app = create_app(config)
    try:
        app.register(queue_plugin, driver=f"{STORE_AS_DRIVER}:///{FILE}" if options.durable else options.driver)
        with _quiet(), app:
            app.start()
            _run(app, files, options.concurrency, console)
    except StratixError as problem:
        console.print(f"[red]{type(problem).__name__}[/]: {problem}", highlight=False)
        sys.exit(UNUSABLE)
    except KeyboardInterrupt:
        console.print("interrupted: jobs that had not started stay in the queue")
        sys.exit(INTERRUPTED)


@contextmanager
def _quiet() -> Iterator[None]:
    """The report says which files have failed, so the log does not."""
    logger = logging.getLogger("stratix_kombu.worker")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _run(app: Application, files: list[str], concurrency: int, console: Console) -> None:
    queue = app.queue.create_queue(f"demo-{uuid.uuid4().hex[:8]}", concurrency=concurrency)
    queue.process("analyse", _analyse)
    console.print(f"{len(files)} files of the standard library, one job each, over [bold]{app.queue.describe()}[/]")
    begin = time.monotonic()
    options: JobOpts = {"remove_on_complete": KEPT, "remove_on_fail": KEPT}
    queue.add_bulk([{"name": "analyse", "data": {"path": path}, "opts": options} for path in files])
    _watch(queue, len(files), console)
    elapsed = time.monotonic() - begin
    jobs = queue.get_jobs("completed", end=-1)
    failed = queue.get_jobs("failed", end=-1)
    counted = _by_queue(jobs)
    _report(console, counted, jobs, failed)
    console.print(f"{len(files)} jobs in {elapsed:.1f} s: {len(files) / elapsed:.0f} a second")
    expected = _straight(files, console)
    if counted != expected:
        console.print(f"[red]The sums differ from a count without a queue[/]: {expected}")
        sys.exit(FAILED)
    console.print("[green]The sums are those of a straight count in one process.[/]")


def _analyse(job: Job) -> dict[str, Any]:
    try:
        return measure(job.data["path"])
    except (ValueError, OSError) as problem:
        raise UnrecoverableError(str(problem)) from problem


def _watch(queue: Queue, total: int, console: Console) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("analysing", total=total)
        ended = 0
        while ended < total:
            counts = queue.get_job_counts()
            ended = counts["completed"] + counts["failed"]
            progress.update(task, completed=ended)
            if ended < total:
                time.sleep(POLL_S)


def _by_queue(jobs: list[Job]) -> Totals:
    totals = Totals()
    for job in jobs:
        totals.add(job.return_value)
    return totals


def _straight(files: list[str], console: Console) -> Totals:
    totals = Totals()
    with console.status("checking the sums without a queue"):
        for path in files:
            try:
                totals.add(measure(path))
            except (ValueError, OSError):
                continue
    return totals


def _report(console: Console, totals: Totals, jobs: list[Job], failed: list[Job]) -> None:
    from rich.table import Table

    sums = Table(title="Standard library", title_justify="left")
    for heading in ("files", "lines", "functions", "classes", "not parsed"):
        sums.add_column(heading, justify="right")
    sums.add_row(
        *(f"{number:,}" for number in (totals.files, totals.lines, totals.functions, totals.classes, len(failed)))
    )
    console.print(sums)
    longest = Table(title="Longest functions", title_justify="left")
    for heading in ("lines", "function", "file"):
        longest.add_column(heading)
    found = [(*job.return_value["longest"], job.data["path"]) for job in jobs if job.return_value["longest"]]
    for name, lines, path in sorted(found, key=lambda function: -function[1])[:LONGEST_SHOWN]:
        longest.add_row(str(lines), name, path)
    console.print(longest)
    for job in failed:
        console.print(f"failed: {job.data['path']}: {job.failed_reason}", highlight=False, soft_wrap=True)
