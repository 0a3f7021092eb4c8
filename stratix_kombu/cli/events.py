"""``events``: what has happened in the queues, and what is happening."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from stratix_kombu.cli.lookup import with_application
from stratix_kombu.cli.named import queues_named
from stratix_kombu.cli.output import STATE_COLOURS, echo, json_option, print_json
from stratix_kombu.model.text import printable

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.model.event import Event

PAGE = 1000
PAUSE_S = 0.2
LOOK_S = 2.0
"""How often to look for new queues."""


@click.command("events", short_help="What has happened in the queues; --follow for what is happening.")
@with_application
@click.argument("names", nargs=-1, metavar="[QUEUE]...")
@click.option("-f", "--follow", is_flag=True, help="Continue with new events, until Ctrl-C.")
@click.option("--event", "wanted", multiple=True, metavar="NAME", help="Only this event, such as failed; repeatable.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(0), help="Number of past events per queue.")
@json_option
def events(
    app: Application, names: tuple[str, ...], follow: bool, wanted: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """The newest events of the queues, in order of time; with --follow also all new ones.

    \b
    Examples:
      stratix-kombu events --follow
      stratix-kombu events emails --follow --limit 0 --event failed --json | jq .value
    """
    from stratix_kombu.errors import ConfigurationError, nearest
    from stratix_kombu.foreign import EVENTS
    from stratix_kombu.model.event import EVENT_NAMES

    for name in wanted:
        if name not in EVENT_NAMES:
            raise ConfigurationError(f"there is no event {name!r}{nearest(name, EVENT_NAMES, EVENTS)}")
    queues_named(app, names)
    cursors: dict[str, str] = {}
    past: list[Event] = []
    for name in names or app.queue.get_queue_names():
        past += deque((event for event in _all(app, name, cursors) if not wanted or event.name in wanted), limit)
    _show(sorted(past, key=lambda event: event.at_ms), as_json)
    looked = time.monotonic()
    while follow:
        if not names and time.monotonic() - looked > LOOK_S:
            looked = time.monotonic()
            cursors = {**dict.fromkeys(app.queue.get_queue_names(), ""), **cursors}
        come = [event for name in names or list(cursors) for event in _new(app, name, cursors)]
        _show([event for event in come if not wanted or event.name in wanted], as_json)
        if not come:
            time.sleep(PAUSE_S)


def _new(app: Application, name: str, cursors: dict[str, str]) -> list[Event]:
    """A page of the queue's events after its cursor, which moves behind them."""
    page = app.queue.get_queue(name).get_events(cursors.get(name, ""), PAGE)
    cursors[name] = page[-1].cursor if page else cursors.get(name, "")
    return page


def _all(app: Application, name: str, cursors: dict[str, str]) -> Iterator[Event]:
    """The events of a queue up to now."""
    while page := _new(app, name, cursors):
        yield from page
        if len(page) < PAGE:
            return


def _show(found: list[Event], as_json: bool) -> None:
    for event in found:
        if as_json:
            print_json({key: value for key, value in asdict(event).items() if key != "cursor"})
            continue
        if event.missed:
            echo(f"... {event.missed} events of {event.queue} before this one are no longer kept")
        at = datetime.fromtimestamp(event.at_ms / 1000).isoformat(" ", "milliseconds")
        name = click.style(f"{printable(event.name):<10}", fg=STATE_COLOURS.get(event.name))
        said = (event.queue, event.job_id, event.job_name, event.value or "")
        shown = " ".join(printable(part).replace("\n", "\\n") for part in said if part)
        echo(f"{at} {name} {shown}")
