"""``leave``: what is left before a Celery project can do without the bridge, and finishing it."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from stratix_kombu.cli.commands import FAILED
from stratix_kombu.cli.logs import say
from stratix_kombu.cli.lookup import application_options, bridged, find, is_celery
from stratix_kombu.cli.output import json_option, print_json, print_table
from stratix_kombu.cli.streams import to_the_end
from stratix_kombu.errors import ConfigurationError

COLUMNS = ("queue", "waiting", "active", "delayed", "blocked")
POLL_S = 0.25


@click.command("leave", short_help="What is left before a Celery project can do without the bridge.")
@application_options
@click.option("--send-delayed", is_flag=True, help="Send delayed tasks now; workers hold them, as with Celery alone.")
@click.option("--wait", "wait_s", type=click.FloatRange(0), help="Wait up to this many seconds for the rest to finish.")
@json_option
@click.pass_context
def leave(
    context: click.Context,
    reference: str | None,
    config: Path | None,
    send_delayed: bool,
    wait_s: float | None,
    as_json: bool,
) -> None:
    """The jobs of a Celery project that would be left undone without the bridge, by queue and state.

    Put install_in_workers(app) in the place of install(app) first, and keep it until this command finds nothing.
    Chords and blocked tasks finish while those workers run. There is no need to wait for delayed tasks: --send-delayed
    sends each with its time, as Celery alone does, and a worker holds it, with or without the bridge; those of a
    chord's header stay, since their body is a job. Exits with 1 while something is left.

    \b
    Examples:
      celery -A proj stratix leave
      celery -A proj stratix leave --send-delayed --wait 600 && deploy-without-the-bridge
    """
    celery = find(context, reference, config)
    if not is_celery(celery):
        raise ConfigurationError("only a Celery application has the bridge")
    app = bridged(celery)
    from stratix_kombu.celery.bridge import bridge_of
    from stratix_kombu.celery.leave import hand_over_delayed, what_is_left

    bridge = bridge_of(celery)
    assert bridge is not None
    try:
        if send_delayed:
            say(f"{hand_over_delayed(bridge)} delayed tasks were sent")
        deadline = time.monotonic() + (wait_s or 0)
        while (left := what_is_left(bridge)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
    finally:
        app.queue.close(0)
    with to_the_end():
        _print([asdict(queue) for queue in left], as_json)
    if left:
        context.exit(FAILED)


def _print(left: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for queue in left:
            print_json(queue)
        return
    rows = [[queue["queue"], *(queue["counts"].get(state, 0) for state in COLUMNS[1:])] for queue in left]
    print_table(COLUMNS, rows, "Nothing is left: the bridge can be removed.")
