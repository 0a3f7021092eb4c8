"""What somebody who can write to the broker or the store may put there, and how long tests look for the worst of it.

Tests repeat the same examples each time; ``STRATIX_TEST_FUZZ=thorough`` looks for others, much longer.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st

THOROUGH = os.environ.get("STRATIX_TEST_FUZZ") == "thorough"


def fuzz(examples: int) -> Any:
    """How many examples of one test."""
    return settings(
        max_examples=examples * 50 if THOROUGH else examples,
        derandomize=not THOROUGH,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


TRACE = Path(tempfile.gettempdir()) / f"stratix-unpickled-{os.getpid()}"
"""What unpickling a bomb leaves behind, in whatever process."""


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(TRACE),)


PICKLED = pickle.dumps(Bomb())
DEEP = "[" * 100_000
TEXTS = [
    "",
    " ",
    "null",
    "{}",
    "[]",
    "0",
    '"',
    "{",
    DEEP,
    '{"a":' * 50_000,
    "9" * 5_000,
    "-1e999",
    "NaN",
    "[1,]",
    "\x00",
    "\ufeff{}",
    "\ud800",
    '{"headers": null}',
    '{"headers": []}',
    '{"headers": {"task": "stratix.job"}}',
    '{"headers": {"task": "stratix.job", "id": 5}}',
    '{"headers": {"task": ["stratix.job"], "id": "a"}}',
    json.dumps({"headers": {"task": "stratix.job", "id": "a\nb"}}),
    json.dumps({"headers": {"task": "x" * 10_000}}),
    '{"headers": ' + "[" * 900 + "]" * 900 + "}",
    base64.b64encode(PICKLED).decode(),
]
NAMES = [
    "",
    " ",
    "a b",
    "a\nb",
    "a\x00",
    "\x1b[31m",
    "a\x85b",
    "a\u2028b",
    "\ud800",
    "{x}",
    "}",
    "a:logs",
    "x:dependencies",
    "a:dependents",
    "a" * 201,
    "a" * 100_000,
    "a%s",
    "é",
    5,
    None,
    b"a",
    ["a"],
    {},
]
"""Each is bad for an id of a job; most are for other names."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([10**5_000 % 10**4_000, -1, 2**63, 1e308, "stratix.job", "\ud800", "a" * 1_000])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(
    ["id", "task", "headers", "body", "properties", "backoff", "timeout", "type", "delay", "jitter", "custom", "cron"]
)
mappings = st.dictionaries(keys | st.text(max_size=8), values, max_size=6)


def _text_of(value: Any) -> str:
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):
        return "null"


texts = st.sampled_from(TEXTS) | st.text(max_size=60) | values.map(_text_of) | mappings.map(_text_of)
raws = texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60) | st.just(PICKLED)
