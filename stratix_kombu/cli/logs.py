"""Logging of the commands that run for long: to stderr, each line with the job it is about."""

from __future__ import annotations

import logging
import os
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
        "--log-level", type=click.Choice(LEVELS), help="From which level on; info, if the module does not say."
    )(function)


def configure(log_level: str | None, log_format: str) -> None:
    """Have all loggers write to stderr. An application whose module has set up logging keeps that, with the job as an
    extra of each record."""
    from stratix_kombu.logs import JobContext, JsonFormatter, TextFormatter

    root = logging.getLogger()
    if log_level is not None or not root.handlers:
        root.setLevel((log_level or "info").upper())
    if root.handlers:
        for handler in root.handlers:
            handler.addFilter(JobContext())
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(JobContext())
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter(colour))
    root.addHandler(handler)
