"""Pages as HTML: the templates, with everything in them escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from stratix_kombu.dashboard import charts, texts
from stratix_kombu.dashboard.jinja import Environment, PackageLoader, StrictUndefined

NAVIGATION = (
    ("/", "Queues"),
    ("/flows", "Flows"),
    ("/schedules", "Schedules"),
    ("/dead-letters", "Dead letters"),
    ("/workers", "Workers"),
)
"""The pages at the top."""


@cache
def environment() -> Environment:
    """The templates. They are compiled when first used."""
    made = Environment(
        loader=PackageLoader("stratix_kombu.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        ago=texts.ago,
        cut=texts.cut,
        duration=texts.duration,
        error_class=texts.error_class,
        instant=texts.instant,
        iso=texts.iso,
        line=texts.one_line,
        number=texts.number,
        pretty=texts.pretty,
        visible=texts.visible,
        written=texts.written,
    )
    made.globals.update(
        sparkline=charts.sparkline,
        share=charts.share,
        timeline=charts.timeline,
        SHOWN=texts.SHOWN,
        DONE=texts.DONE,
        nav=NAVIGATION,
    )
    return made


def render(template: str, values: Mapping[str, Any]) -> bytes:
    """The page."""
    return environment().get_template(template).render(values).encode(errors="backslashreplace")
