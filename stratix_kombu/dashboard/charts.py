"""Charts as SVG, without a style or a script in it: colours are those of the style sheet, by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from stratix_kombu.dashboard.jinja import Markup
from stratix_kombu.dashboard.texts import duration, visible

WIDTH, HEIGHT, FULL_WIDTH = 720, 180, 1240
"""Of a chart; one of bars has the page for itself."""
LEFT, BOTTOM, TOP = 56, 22, 8
"""Room for the numbers at the side, the times below, and a line at the top."""


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of value over time."""

    label: str
    kind: str
    """Its class in the style sheet."""
    values: Sequence[float | None]
    """None where there was nothing to measure: a line has a gap there."""


def sparkline(finished: Sequence[int], failed: Sequence[int], width: int = 120, height: int = 28) -> Markup:
    """A small chart of bars: what completed, and what failed on top of it."""
    most = max((a + b for a, b in zip(finished, failed, strict=True)), default=0)
    label = f"{sum(finished)} completed and {sum(failed)} failed in the last {len(finished)} minutes"
    step, parts = width / max(len(finished), 1), []
    for number, (fine, bad) in enumerate(zip(finished, failed, strict=True)):
        parts += _stack(number * step, step, [("ok", fine), ("bad", bad)], most, height)
    return _svg("spark", width, height, label, parts)


def bars(series: Sequence[Series], times: Sequence[str], title: str) -> Markup:
    """A chart of stacked bars, one for each time."""
    totals = [sum(value or 0 for value in values) for values in zip(*(one.values for one in series), strict=True)]
    most, lines = _axis(max(totals, default=0), _plain, FULL_WIDTH)
    step, parts = (FULL_WIDTH - LEFT) / max(len(times), 1), lines + _times(times, FULL_WIDTH)
    for number, when in enumerate(times):
        stack = [(one.kind, one.values[number] or 0) for one in series]
        inner = _stack(LEFT + number * step, step, stack, most, HEIGHT - BOTTOM, TOP)
        said = ", ".join(f"{one.label} {_plain(one.values[number] or 0)}" for one in series)
        if inner:
            parts.append(f"<g><title>{escape(when)}: {escape(said)}</title>{''.join(inner)}</g>")
    return _svg("chart", FULL_WIDTH, HEIGHT, title, parts)


def lines(series: Sequence[Series], times: Sequence[str], title: str) -> Markup:
    """A chart of lines, of durations in milliseconds."""
    known = [value for one in series for value in one.values if value is not None]
    most, parts = _axis(max(known, default=0), duration)
    parts += _times(times)
    step, room = (WIDTH - LEFT) / max(len(times), 1), HEIGHT - BOTTOM - TOP
    for one in series:
        path, drawing = "", False
        for number, value in enumerate(one.values):
            if value is not None:
                x, y = LEFT + (number + 0.5) * step, HEIGHT - BOTTOM - value / most * room
                path += f"{'L' if drawing else 'M'}{x:.1f} {y:.1f}" + ("" if drawing else "h.1")
            drawing = value is not None
        parts.append(f'<path class="line {one.kind}" d="{path}"><title>{escape(one.label)}</title></path>')
    return _svg("chart", WIDTH, HEIGHT, title, parts)


def share(parts: Sequence[tuple[str, int]], label: str, width: int = 160, height: int = 8) -> Markup:
    """One bar that is divided by the numbers."""
    total, x, drawn = sum(count for _, count in parts) or 1, 0.0, []
    for kind, count in parts:
        wide = count / total * width
        if wide:
            drawn.append(f'<rect class="{kind}" x="{x:.1f}" y="0" width="{max(wide, 1):.1f}" height="{height}"/>')
        x += wide
    return _svg("share", width, height, label, drawn)


def timeline(added: int, attempts: Sequence[tuple[int, int | None, str]], until: int) -> Markup:
    """From when a job was added until it ended, or until now: where it waited, and each attempt with its outcome. All
    instants are milliseconds since the epoch."""
    length, width, height = max(until - added, 1), WIDTH, 26
    parts = [f'<rect class="track" x="0" y="9" width="{width}" height="8" rx="4"/>']
    for number, (start, end, outcome) in enumerate(attempts, 1):
        x = min(max(start - added, 0) / length, 1) * width
        wide = max(min(((end or until) - start) / length * width, width - x), 3)
        said = f"attempt {number}: {outcome}, {duration((end or until) - start)}"
        rect = (
            f'<rect class="{escape(outcome)}" x="{min(x, width - 3):.1f}" y="3" width="{wide:.1f}" height="20" rx="3">'
        )
        parts.append(f"{rect}<title>{escape(said)}</title></rect>")
    return _svg("timeline", width, height, f"{len(attempts)} attempts within {duration(length)}", parts)


def _stack(
    x: float, step: float, values: Sequence[tuple[str, float]], most: float, bottom: float, top: float = 0
) -> list[str]:
    drawn, y = [], float(bottom)
    for kind, value in values:
        if value:
            tall = max(value / most * (bottom - top), 1)
            y -= tall
            wide = max(step - 1, 0.8)
            drawn.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{max(y, 0):.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'
            )
    return drawn


def _axis(most: float, said: Callable[[float], str], width: int = WIDTH) -> tuple[float, list[str]]:
    """The largest value that the chart has room for, a round one, and lines at it and at its half."""
    top = _round(most)
    drawn = []
    for value in (0, top / 2, top):
        y = HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="tick end" x="{LEFT - 6}" y="{y + 4:.1f}">{escape(said(value))}</text>')
    return top, drawn


def _round(most: float) -> float:
    """The next one of 2, 4, 10, 20, 40, 100, ..."""
    size = 1
    while True:
        for factor in (2, 4, 10):
            if most <= size * factor:
                return size * factor
        size *= 10


def _times(times: Sequence[str], width: int = WIDTH) -> list[str]:
    step = (width - LEFT) / max(len(times), 1)
    every = max(len(times) // 6, 1)
    return [
        f'<text class="tick middle" x="{LEFT + (number + 0.5) * step:.1f}" y="{HEIGHT - 6}">{escape(when)}</text>'
        for number, when in enumerate(times)
        if number % every == every // 2
    ]


def _plain(value: float) -> str:
    return f"{value:,.0f}"


def _svg(kind: str, width: float, height: float, label: str, parts: Sequence[str]) -> Markup:
    said, fit = escape(visible(label)), 'preserveAspectRatio="none" ' if kind == "timeline" else ""
    return Markup(  # every text in it was escaped above
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" {fit}role="img" aria-label="{said}">'
        f"<title>{said}</title>{''.join(parts)}</svg>"
    )
