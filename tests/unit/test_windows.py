"""On Windows producers and workers of plain handlers run; sandboxes say that they cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_without_what_only_posix_has() -> None:
    command = [sys.executable, "-m", "tests.unit.windows_program"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    expected = ["2", "sandboxes need a POSIX system, such as Linux or macOS: handle this queue on one"]
    assert done.stdout.splitlines() == expected, done.stderr
