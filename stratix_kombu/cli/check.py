"""``check``: what is configured, where each value comes from, and whether it works."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.commands import FAILED
from stratix_kombu.cli.lookup import application_options, bridged, find, import_tasks, is_celery
from stratix_kombu.cli.output import echo, is_terminal, json_option, print_json, print_table
from stratix_kombu.cli.streams import to_the_end
from stratix_kombu.errors import ConfigurationError, StratixError

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.config.settings import Settings

MASK = "***"
_SECRET = re.compile(r"password|passwd|secret|credential|token\b|(access|account|api|private|shared)_?key", re.I)
_SECRET_QUERY = re.compile(r"([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", re.I)
SQS_WAIT_S = 20


@click.command("check", short_help="What is configured, and whether it works.")
@application_options
@json_option
@click.pass_context
def check(context: click.Context, reference: str | None, config: Path | None, as_json: bool) -> None:
    """The configuration: each setting, where it comes from (secrets masked), what broker and store answer, warnings.

    For a Celery project it also lists what the bridge changes: delays, chords, revoke, acknowledgements, results. Exits
    with 1 if broker or store do not answer.

    \b
    Examples:
      stratix-kombu check -A shop.jobs:app
      stratix-kombu check -A proj            a Celery project, with the bridge or before installing it
    """
    target = find(context, reference, config)
    report: dict[str, Any] = {}
    if is_celery(target):
        from stratix_kombu.celery.review import review

        import_tasks(target)
        report["celery"] = [asdict(finding) for finding in review(target)]
    try:
        _add_settings(report, bridged(target))
    except ConfigurationError as problem:
        if not report:
            raise
        # The bridge is missing or needs a store, or the driver has queues of its own.
        report["problem"] = str(problem)
    with to_the_end():
        if as_json:
            print_json(report, indent=2)
        else:
            _print(report)
    if any(connection["problem"] for connection in report.get("connections", ())):
        context.exit(FAILED)


def _add_settings(report: dict[str, Any], app: Application) -> None:
    settings = app.queue.settings
    report["settings"] = [dict(zip(("setting", "value", "from"), row, strict=True)) for row in listed(settings)]
    report["connections"] = list(_connections(app))
    report["warnings"] = list(_warnings(app, settings))


def _print(report: dict[str, Any]) -> None:
    if "settings" in report:
        _heading("Settings")
        print_table(("setting", "value", "from"), [list(row.values()) for row in report["settings"]], "")
    if "connections" in report:
        _heading("Connections")
        for connection in report["connections"]:
            state = click.style(connection["problem"] or "answers", fg="red" if connection["problem"] else "green")
            echo(f"{connection['what']:<7} {connection['address']}  {state}  {connection['about']}".rstrip())
        for warning in report["warnings"]:
            echo(f"{click.style('warning', fg='yellow')} {warning}")
    if "celery" in report:
        _heading("Celery: what the bridge changes")
        for finding in report["celery"]:
            echo(click.style(f"{finding['subject']}: {finding['found']}", bold=True))
            echo(f"  Celery alone     {finding['alone']}")
            echo(f"  with the bridge  {finding['bridged']}")
    if "problem" in report:
        echo(f"{click.style('note', fg='yellow')} {report['problem']}")


def _heading(text: str) -> None:
    echo(click.style(text, bold=True) if is_terminal() else f"# {text}")


# -- settings -------------------------------------------------------------------------------------


def listed(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Each setting, its value without secrets, and where it comes from."""
    defaults = {
        "driver": settings.driver,
        "store": "that of the driver",
        "namespace": settings.namespace,
        "shutdown_timeout": settings.shutdown_timeout,
        "timezone": settings.timezone or "UTC",
        "worker": {field.name: getattr(settings.worker, field.name) for field in fields(settings.worker)},
    }
    given = dict(_leaves(settings.given))
    for path, value in {**dict(_leaves(defaults)), **given}.items():
        origin = _origin(path, settings.origin) if path in given else "default"
        yield path, masked(path, value), origin


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _origin(path: str, origin: Mapping[str, str]) -> str:
    """Where the setting itself, or the section that contains it, comes from."""
    above = path
    while above not in origin and "." in above:
        above = above.rpartition(".")[0]
    source = origin.get(above, "default")
    if source != "environment":
        return source
    first, _, rest = path.partition(".")
    variable = f"{first}_{rest.replace('.', '__')}" if rest else first
    return f"environment STRATIX_{variable.upper()}"


def masked(path: str, value: Any) -> str:
    """The value as text, without secrets: by the name of the setting, and within URLs."""
    if _SECRET.search(path):
        return MASK
    if isinstance(value, list | tuple):
        return f"[{', '.join(masked(path, item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {masked(str(key), inner)}' for key, inner in value.items())}}}"
    return re.sub(r"\S+://\S+", _masked_url, str(value))


def _masked_url(found: re.Match[str]) -> str:
    scheme, _, rest = found[0].partition("://")
    user, at, host = rest.rpartition("@")
    shown = f"{user.partition(':')[0]}:{MASK}@" if at else ""
    return _SECRET_QUERY.sub(rf"\1{MASK}", f"{scheme}://{shown}{host}")


# -- what is there --------------------------------------------------------------------------------


def _connections(app: Application) -> Iterator[dict[str, str]]:
    driver, store = app.queue.engine.driver, app.queue.store
    can = driver.capabilities
    abilities = ((can.durable, "durable"), (can.counts, "exact depth"))
    about = ", ".join(name for able, name in abilities if able)
    yield {"what": "driver", "address": driver.address, "problem": _problem(driver.init), "about": about}
    problem = _problem(store.ping)
    server = "" if problem else store.survey().server
    yield {"what": "store", "address": store.address, "problem": problem, "about": server}


def _problem(reach: Any) -> str:
    try:
        reach()
    except StratixError as problem:
        return str(problem)
    return ""


def _warnings(app: Application, settings: Settings) -> Iterator[str]:
    try:
        for warning in app.queue.store.survey().warnings:
            yield f"store: {warning}"
    except StratixError:
        pass  # it was already reported that it does not answer
    wait_s = float(settings.driver_options.get("wait_time_seconds", SQS_WAIT_S))
    if app.queue.engine.driver.get_name() == "sqs" and wait_s < SQS_WAIT_S:
        asked = round(86_400 * 30 / max(wait_s, 1))
        yield (
            f"sqs: wait_time_seconds is {wait_s:g}, so an idle worker makes about {asked:,} requests per "
            "month and queue, each of which is charged; with the default (20) it is 130,000"
        )
    if not settings.worker.clock:
        yield "worker.clock is off: delayed and repeatable jobs need 'stratix-kombu beat' to be running"
