"""The style sheet: enough contrast in both themes, and nothing that a page does not have."""

from __future__ import annotations

import re

import pytest

from stratix_kombu.dashboard import assets

SHEET = assets._read("style.css").decode()
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)color-scheme", SHEET, re.S)
)
READ_ON = {
    "text": ("back", "card", "pre", "bad-back"),
    "dim": ("back", "card"),
    "link": ("back", "card"),
    "on-main": ("main",),
    "bad": ("back", "card", "bad-back"),
    "warn": ("warn-back", "card"),
    **dict.fromkeys(("waiting", "active", "delayed", "blocked", "completed", "failed"), ("back", "card")),
}
"""Which colours are read on which backgrounds."""


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_have_the_contrast_that_wcag_asks_for(theme: dict[str, str]) -> None:
    """Level AA: 4.5 to 1. The dark theme names what differs."""
    colours = {**LIGHT, **theme}
    weak = {
        (front, back): round(ratio, 2)
        for front, backs in READ_ON.items()
        for back in backs
        for bright, dim in [sorted((_luminance(colours[front]), _luminance(colours[back])), reverse=True)]
        if (ratio := (bright + 0.05) / (dim + 0.05)) < 4.5
    }
    assert weak == {}


def test_colours_have_names() -> None:
    rules = re.sub(r":root \{.*?\n  ?\}", "", SHEET, flags=re.S)
    assert re.findall(r"#[0-9a-fA-F]{3,6}\b", rules.partition("* { box-sizing")[2]) == []


def test_nothing_is_loaded_from_elsewhere() -> None:
    for name in ("style.css", "dashboard.js"):
        assert "://" not in assets._read(name).decode(), name
    assert "@import" not in SHEET
    assert "url(" not in SHEET
