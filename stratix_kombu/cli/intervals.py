"""Options that are an interval, such as ``10 minutes``."""

from __future__ import annotations

import click

from stratix_kombu.errors import ConfigurationError


def read_interval(context: click.Context, parameter: click.Parameter, given: str | None) -> int | None:
    """An option's callback: the interval in milliseconds. A number alone is refused: its unit cannot be known."""
    from stratix_kombu.schedule import interval_ms

    try:
        return None if given is None else interval_ms(given)
    except ConfigurationError as problem:
        raise click.BadParameter(str(problem)) from problem
