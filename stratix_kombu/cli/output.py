"""Output for people on a terminal, and for programs in a pipe: there without colours, and never truncated."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.commands import Failed, Unusable
from stratix_kombu.cli.streams import can_show, goes_to_the_end, is_unicode, reader_has_gone
from stratix_kombu.model.text import INVISIBLE, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

LONG = 100
"""Characters of a long text that a table on a terminal shows."""
FLEXIBLE = 24
"""The least width of a column of longer text on a terminal, unless it is one that is never shortened."""
WHOLE = ("id", "key", "queue")
GAP = 1
SHORT = 5
"""Lines of a long value that are shown even if the terminal has less room."""
STATE_COLOURS = {
    "waiting": "blue",
    "paused": "yellow",
    "active": "cyan",
    "delayed": "magenta",
    "blocked": "yellow",
    "completed": "green",
    "failed": "red",
}

_IN_JSON = re.compile(f"[{INVISIBLE}]")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON instead of a table; for a list, one value per line."
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
Row = Sequence[Any]


def is_terminal() -> bool:
    """Whether a person reads the output."""
    return sys.stdout.isatty()


def echo(text: str, nl: bool = True) -> None:
    """Write to stdout as it is. Where that is ASCII, click by itself would write UTF-8."""
    try:
        click.echo(text, file=sys.stdout, nl=nl)
    except BrokenPipeError as problem:
        if not (goes_to_the_end() and reader_has_gone(problem)):
            raise


def print_json(value: Any, indent: int | None = None) -> None:
    """Print one JSON value; values that JSON does not have become text. If the output cannot show every character, it
    is ASCII."""
    text = json.dumps(value, ensure_ascii=not is_unicode(sys.stdout), indent=indent, default=str)
    echo(_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_table(columns: Sequence[str], rows: Iterable[Row], empty: str) -> None:
    """Rows under their headings; on a terminal, ``empty`` is printed if there are none."""
    cells = [[_text(cell) for cell in row] for row in rows]
    if not is_terminal():
        for line in plain_lines(columns, cells):
            echo(line)
    elif cells:
        from rich.console import Console

        table = rich_table(columns, cells)
        # Lines longer than the terminal are wrapped by it; a table would truncate its columns.
        needed = sum((column.min_width or 0) + GAP for column in table.columns)
        Console(width=max(Console().width, needed)).print(table)
    else:
        echo(empty)


def rich_table(columns: Sequence[str], rows: Iterable[Row]) -> Table:
    """As a table for a terminal. Numbers are at the right; only columns of long text are made narrower."""
    from rich.table import Table
    from rich.text import Text

    found = [[_text(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        cells = [row[number] for row in found]
        right = bool(cells) and all(cell.replace(",", "").isdigit() or cell == "-" for cell in cells)
        longest = max(map(len, [column, *cells]))
        flexible = longest > FLEXIBLE and column not in WHOLE
        width = FLEXIBLE if flexible else longest
        table.add_column(column, justify="right" if right else "left", overflow="fold", min_width=width)
    for row in found:
        table.add_row(*(Text(_short(cell), style=STATE_COLOURS.get(cell, "")) for cell in row))
    return table


def plain_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned text; a row is one line whatever its cells contain."""
    lines = [list(columns), *([cell.replace("\n", "\\n") or "-" for cell in row] for row in rows)]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:,}" if isinstance(value, int) and is_terminal() else printable(str(value))


def _short(text: str) -> str:
    """The part of a long text that a table shows: its first line, or its beginning."""
    first, _, rest = text.partition("\n")
    more = "…" if can_show(sys.stdout, "…") else "..."
    return f"{first[: LONG - 1]}{more}" if rest or len(first) > LONG else first


def screen_lines() -> int:
    """How many lines fit on the terminal, below the command and above the next prompt; in a pipe, all of them."""
    return max(get_terminal_size().lines - 3, 10) if is_terminal() else sys.maxsize


def print_fields(fields: dict[str, Any], hint: str | None = None) -> None:
    """Names and values, one per line; unknown ones are left out. With a ``hint`` (the command that shows everything),
    values of many lines are truncated so that the output fits the screen."""
    shown = {
        name: printable(str(value)).split("\n") for name, value in fields.items() if value is not None and value != ""
    }
    width = max(map(len, shown), default=0)
    if hint is not None:
        _cut(shown, screen_lines(), hint)
    for name, lines in shown.items():
        value = lines[0]
        style = STATE_COLOURS.get(value) if name == "state" else None
        echo(f"{click.style(name.ljust(width), dim=True)}  {click.style(lines[0], fg=style)}")
        for line in lines[1:]:
            echo(f"{'':{width}}  {line}")


def _cut(fields: dict[str, list[str]], room: int, hint: str) -> None:
    """Truncate the longest values to one length, so that everything fits the room; a few lines of each are always
    shown."""
    most = max(map(len, fields.values()), default=0)
    while most > SHORT and sum(min(len(lines), most) for lines in fields.values()) > room:
        most -= 1
    for name, lines in fields.items():
        if len(lines) > most:
            fields[name] = [*lines[: most - 1], f"... {len(lines) - most + 1} more lines: {hint}"]


def span(ms: int | float | None, units: int = 2) -> str:
    """A duration in its largest units."""
    if ms is None:
        return "-"
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = int(ms / 1000)
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    said = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(said[:units])


def instant(ms: int | None) -> str | None:
    """Milliseconds since the epoch as local time."""
    if not ms:
        return None
    from datetime import datetime

    return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(" ", "milliseconds")


def age(ms: int | None) -> str:
    """How long ago an instant was, about."""
    return span(max(time.time() * 1000 - ms, 0), units=1) if ms else "-"


def confirm(question: str, yes: bool) -> None:
    """Ask on a terminal, unless ``--yes`` was given; elsewhere it is required. Raises Failed, Unusable."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Unusable(f"{question} There is no terminal to ask on: pass --yes.")
    if not click.confirm(question, err=True):
        raise Failed("nothing was done")


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal's stderr; yields a function that takes the number processed so far."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
