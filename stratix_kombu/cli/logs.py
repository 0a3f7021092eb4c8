"""Logging of the commands that run for long: to stderr, each line with the job it is about."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import click

LEVELS = ("debug", "info", "warning", "error", "critical")


def logging_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of ``configure``."""
    function = click.option(
        "--log-format", default="text", show_default=True, type=click.Choice(("text", "json")),
        help="Lines for people (with colours on a terminal), or a JSON object each.",
    )(function)  # fmt: skip
    return click.option(
        "--log-level", default="info", show_default=True, type=click.Choice(LEVELS), help="From which level on."
    )(function)


def configure(log_level: str, log_format: str) -> None:
    """Have all loggers write to stderr. Handlers that the application's module has set up stay as they are."""
    from stratix_kombu.logs import JobContext, JsonFormatter, TextFormatter

    root = logging.getLogger()
    root.setLevel(log_level.upper())
    if root.handlers:
        for handler in root.handlers:
            handler.addFilter(JobContext())
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(JobContext())
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter(sys.stderr.isatty()))
    root.addHandler(handler)
