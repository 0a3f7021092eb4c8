"""How things are written."""

from __future__ import annotations

import pytest

from stratix_kombu.cli.output import plain_lines, span


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (None, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h"),
        (90_061_000, "1 d 1 h"),
        (86_400_000 + 5_000, "1 d 5 s"),
    ],
)
def test_durations(ms: int | None, said: str) -> None:
    assert span(ms) == said


def test_a_row_is_a_line_and_nothing_is_cut() -> None:
    rows = [["one", "a\nb"], ["x" * 300, ""]]
    assert list(plain_lines(("id", "reason"), rows)) == [
        f"{'id':300}  reason",
        f"{'one':300}  a\\nb",
        f"{'x' * 300}  -",
    ]
