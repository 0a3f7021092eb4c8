"""The settings reference of the guide, generated from the options' own classes: ``python -m tests.reference``.

The classes in ``stratix_kombu/types.py``, ``option_types.py`` and ``server_types.py`` say which options there are, of
which type, and what each means. A test compares the page with what is generated here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.pages import GUIDE

PAGE = GUIDE / "settings.md"
PACKAGE = Path(__file__).resolve().parents[1] / "stratix_kombu"
MODULES = ("types.py", "option_types.py", "server_types.py")

TYPES = {
    "Duration": "duration",
    "Instant": "instant",
    "bool": "bool",
    "str": "text",
    "int": "integer",
    "float": "number",
    "timedelta": "`timedelta`",
    "Any": "any",
}


SAME = {"RedisOpts": "RedisDriverOpts", "NodeOpts": "JobOpts", "RunOpts": "JobOpts"}
"""Classes that have no table of their own: the one that holds their options."""


@dataclass(frozen=True)
class Section:
    """A heading, the class whose options stand below it, and the head of the table's first column."""

    title: str
    cls: str
    head: str
    intro: str = ""
    """What stands above the table; '' is the class's own text."""
    page: str = ""
    """The page of the guide on it."""


SECTIONS = (
    Section(
        "Application",
        "AppSettings",
        "setting",
        "The top level of `stratix.toml`, and what `create_app({...})` and `app.register(queue_plugin, ...)` take.",
    ),
    Section(
        "worker",
        "WorkerOpts",
        "`worker` option",
        "Leases, stalled jobs and the clock; in the environment: `STRATIX_WORKER_LEASE_DURATION` and so on.",
    ),
    Section("metrics", "MetricsOpts", "`metrics` option", page="metrics.md"),
    Section(
        "Queues",
        "QueueOpts",
        "queue option",
        "Options of `create_queue(name, ...)`, and of `queues.<name>` in the configuration; in the environment: "
        "`STRATIX_QUEUES_EMAILS__CONCURRENCY`.",
    ),
    Section(
        "Jobs",
        "JobOpts",
        "job option",
        "Options of `queue.add(name, data, ...)`, of `opts` in `add_bulk` and in flows, and of `default_job_options`.",
        "jobs.md",
    ),
    Section("backoff", "BackoffOpts", "`backoff` option"),
    Section("deduplication", "DeduplicationOpts", "`deduplication` option"),
    Section("remove_on_complete and remove_on_fail", "RetentionOpts", "retention option"),
    Section("limiter", "LimiterOpts", "`limiter` option", page="limits.md"),
    Section("processor", "ProcessorOpts", "`processor` option", page="sandboxes.md"),
    Section(
        "Repeatable jobs",
        "RepeatOpts",
        "repeat option",
        "Options of `queue.add_repeatable_job(name, data, ...)`: when it runs, and those of each run.",
        "repeat.md",
    ),
    Section(
        "Schedules",
        "ScheduleOpts",
        "schedule option",
        "Options of `app.schedule.register(...)`. `cron(expression, handler, ...)` and `interval(time, handler, ...)` "
        "take the others.",
        "repeat.md",
    ),
    Section(
        "redis",
        "RedisDriverOpts",
        "`redis` option",
        "Options of the driver `redis` and, apart from `queue_name_prefix`, of a Redis `store`.",
        "high-availability.md",
    ),
    Section(
        "Sentinels and nodes",
        "RedisNode",
        "node option",
        'A sentinel, or a node of a cluster. A text `"host:port"` is accepted too.',
    ),
    Section("rabbitmq", "RabbitMQOpts", "`rabbitmq` option", page="rabbitmq.md"),
    Section("sqlite", "SqliteOpts", "`sqlite` option", page="choosing-a-store.md"),
    Section("postgresql", "PostgresOpts", "`postgresql` option", page="choosing-a-store.md"),
    Section("sqs", "SqsOpts", "`sqs` option", page="sqs.md"),
    Section("sqs.aws", "AwsOpts", "`aws` option"),
    Section("sqs.aws.credentials", "AwsCredentials", "`credentials` option"),
    Section("kombu", "KombuOpts", "`kombu` option", page="drivers-and-stores.md"),
    Section("ssl", "TlsOpts", "`ssl` option"),
    Section(
        "Looking for jobs",
        "FindOpts",
        "option",
        "What `find_jobs`, `count_jobs`, `retry_jobs`, `promote_jobs`, `remove_jobs` and `cancel_jobs` take.",
        "jobs.md",
    ),
)

INTRO = """# Settings reference

Generated from `stratix_kombu.types` by `python -m tests.reference`; do not edit it by hand. Where settings are
read from, and which source takes precedence, is described in [Configuration](configuration.md).

**Units.** A *duration* is a number of milliseconds or a `timedelta`. An *instant* is an aware `datetime`, or
milliseconds since the epoch; a number that is probably in seconds is logged as a warning. How long a call waits (the
`timeout` of `wait_until_finished`, `hold` and `close`) and the setting `shutdown_timeout` are in seconds. Options of a
broker are in the units of that broker.

**Names.** Names are in snake_case; camelCase (`removeOnComplete`) is accepted at every level. An unknown name is
refused, and the error names the nearest known one.
"""


@dataclass(frozen=True)
class Option:
    """One key of a class."""

    name: str
    type: ast.expr
    text: str


@cache
def _classes() -> dict[str, ast.ClassDef]:
    trees = (ast.parse((PACKAGE / name).read_text(encoding="utf-8")) for name in MODULES)
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


def options(cls: str) -> list[Option]:
    """The options of a class, its own before those that it inherits. A text that is missing is empty."""
    node = _classes()[cls]
    inherited = [
        option
        for base in node.bases
        if isinstance(base, ast.Name) and base.id in _classes()
        for option in options(base.id)
    ]
    return [*_own(node), *inherited]


def bases(cls: str) -> set[str]:
    """The classes that it inherits options from, at all levels."""
    above = {base.id for base in _classes()[cls].bases if isinstance(base, ast.Name) and base.id in _classes()}
    return above.union(*map(bases, above))


def _own(node: ast.ClassDef) -> Iterator[Option]:
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = str(following.value.value)
            yield Option(statement.target.id, statement.annotation, _markdown(text))


def _markdown(text: str) -> str:
    return re.sub(r"``(.*?)``", r"`\1`", " ".join(text.split())).replace("|", "\\|")


def _type(node: ast.expr) -> str:
    """An annotation in words; options within options link to their own table."""
    if isinstance(node, ast.BinOp):
        sides = [side for side in (_type(node.left), _type(node.right)) if side]
        return " or ".join(dict.fromkeys(sides))
    if isinstance(node, ast.Constant):
        return "" if node.value is None else f'`"{node.value!s}"`'
    if isinstance(node, ast.Name):
        section = next((one for one in SECTIONS if one.cls == SAME.get(node.id, node.id)), None)
        return f"[table](#{anchor(section.title)})" if section else TYPES.get(node.id, node.id)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        match node.value.id:
            case "Required":
                return f"{_type(inner[0])}, required"
            case "Literal":
                return " or ".join(map(_type, inner))
            case "Mapping":
                return "table"
            case "Sequence" | "Iterable":
                return "list"
            case "Callable":
                return "function"
    raise TypeError(f"{ast.unparse(node)} has no word in the settings reference: give it one in tests/reference.py")


def anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _title(page: str) -> str:
    return (GUIDE / page).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def page() -> str:
    """The whole page."""
    parts = [INTRO]
    for section in SECTIONS:
        about = _markdown(ast.get_docstring(_classes()[section.cls]) or "")
        rows = [f"| `{one.name}` | {_type(one.type)} | {one.text} |" for one in options(section.cls)]
        see = f" See [{_title(section.page)}]({section.page})." if section.page else ""
        intro = f"{section.intro or about}{see}"
        table = [f"| {section.head} | type | meaning |", "| --- | --- | --- |", *rows]
        parts.append("\n".join([f"## {section.title}", "", intro, "", *table, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
