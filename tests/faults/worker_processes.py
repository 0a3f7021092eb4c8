"""Starting and counting worker processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def worker_process(
    settings: dict[str, Any], queue: str, runs: Path, *, concurrency: int = 5, seconds: float = 0.02
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of ``queue``; killed at the end if it still lives."""
    order = {"settings": settings, "queue": queue, "runs": str(runs), "concurrency": concurrency, "seconds": seconds}
    process = subprocess.Popen([sys.executable, "-m", "tests.faults.worker_process", json.dumps(order)], cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def runs_of(path: Path) -> Counter[str]:
    """How often the handler began for each job."""
    return Counter(path.read_text(encoding="utf-8").split()) if path.exists() else Counter()
