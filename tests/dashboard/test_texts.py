"""How values are shown."""

from __future__ import annotations

import json
import unicodedata

import pytest

from stratix_kombu.dashboard import charts, graph, texts
from stratix_kombu.dashboard.filters import Which
from stratix_kombu.dashboard.http import Refused


def test_no_character_that_hides_or_turns_is_left() -> None:
    every = "".join(map(chr, range(0x110000)))
    shown = texts.visible(every)
    shown.encode()
    left = {one for one in shown if unicodedata.category(one) in ("Cc", "Cs") and one not in "\t\n"}
    assert left == set()
    turning = [
        one for one in shown if unicodedata.bidirectional(one) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI")
    ]
    assert turning == []
    assert texts.visible("Söhne 株式会社 🎉 أهلا") == "Söhne 株式会社 🎉 أهلا"
    assert texts.one_line("a\nb\tc") == "a\\nb\\tc"


def test_what_is_edited_is_read_as_the_same() -> None:
    value = {"text": "a\u202eb\u200b\U000e0041\x7f", "n": [1, 2.5, None]}
    assert json.loads(texts.written(value)) == value
    assert "\u202e" not in texts.written(value)


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (None, "–"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1500, "1.5 s"),
        (1960, "2 s"),
        (9960, "10 s"),
        (12_345 * 86_400_000, "12345 d"),
        (60_000, "1 min"),
        (59_999, "60 s"),
        (7_200_000, "2 h"),
        (9 * 86_400_000, "9 d"),
    ],
)
def test_durations(ms: int | None, said: str) -> None:
    assert texts.duration(ms) == said


def test_instants() -> None:
    assert texts.instant(1_795_717_560_000) == "2026-11-26 18:26:00"
    assert texts.iso(0) == ""
    assert texts.ago(1_000, 61_000) == "1 min ago"
    assert texts.ago(61_000, 1_000) == "in 1 min"


def test_charts_hold_any_numbers() -> None:
    assert "svg" in charts.sparkline([], [])
    assert charts.sparkline([0, 3], [0, 1]).count("<rect") == 2
    long = charts.bars([charts.Series("<b>", "ok", [0, 10**9])], ["<i>", "x"], "<u>")
    assert "<b>" not in long
    assert "<i>" not in long
    assert "NaN" not in charts.lines([charts.Series("p50", "p50", [])], [], "none")
    assert charts.share([], "nothing").count("<rect") == 0


def test_a_timeline_has_each_attempt_within_it() -> None:
    drawn = charts.timeline(1_000, [(1_500, 1_900, "failed"), (500, None, "active"), (9_000, 9_900, "<b>")], 2_000)
    assert drawn.count("<title>attempt") == 3
    assert "<b>" not in drawn
    places = [float(one.split('"')[0]) for one in drawn.split('" x="')[1:]]
    assert all(0 <= place <= charts.WIDTH for place in places)
    assert "attempt 1: failed, 400 ms" in drawn


def test_a_graph_has_what_runs_first_at_the_left_and_short_edges() -> None:
    edges = {"a": (), "b": (), "c": ("a",), "d": ("c", "b"), "alone": ()}
    columns = graph._columns(edges)
    assert [sorted(ids) for ids in columns] == [["a", "alone"], ["b", "c"], ["d"]]


def test_filters_are_read_and_written() -> None:
    given = {"state": "failed", "reason": "full", "since": "2 h"}
    which = Which.of(lambda name: given.get(name, ""))
    assert which.fields() == given
    assert which.narrow
    assert which.since_ms(10_000_000) == 2_800_000
    assert Which(until="2026-11-26T18:26:00").until_ms(0) == 1_795_717_560_000
    assert Which(until="2026-11-26T19:26:00+01:00").until_ms(0) == 1_795_717_560_000
    assert not Which().narrow
    with pytest.raises(Refused, match="is no time"):
        Which(since="yesterday").since_ms(0)
