"""Every snippet of the README runs, and every configuration in it is one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.registry import known_drivers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)
PYTHON = [code for kind, code in BLOCKS if kind == "python"]
CONFIGURATIONS = [code for kind, code in BLOCKS if kind == "toml"]
COMMANDS = [code.strip() for kind, code in BLOCKS if kind == "sh"]


def test_the_readme_has_its_parts() -> None:
    assert len(PYTHON) >= 6
    assert len(CONFIGURATIONS) >= 3
    assert COMMANDS[:2] == ["pip install '.[all]' && python -m stratix_kombu demo", "pip install tox && tox"]


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_snippets_run(number: int, tmp_path: Path) -> None:
    is_test = "def test_" in PYTHON[number]
    file = tmp_path / ("test_snippet.py" if is_test else "snippet.py")
    file.write_text(PYTHON[number], encoding="utf-8")
    command = ["-m", "pytest", "-q", str(file)] if is_test else [str(file)]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() or "print" not in PYTHON[number]


def test_the_first_example_prints_its_result(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PYTHON[0]], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "sent to ada@example.com\n"


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_configurations_are_accepted(text: str) -> None:
    settings = load_settings(tomllib.loads(text), environment={}, drivers=known_drivers())
    assert settings.driver.partition("://")[0] in ("redis", "rabbitmq", "sqs", "filesystem")


DOCUMENTED = {
    "Job flows": ["Basic dependencies", "Complex workflows", "Dynamic dependencies", "Failing dependencies"],
    "Repeatable jobs": ["Cron expressions", "Fixed intervals", "Advanced scheduling", "Managing repeatable jobs"],
    "The schedule plugin": [
        "Integration",
        "Jobs from schedules",
        "Intervals and queues",
        "Dynamic schedules",
        "Choosing between the two",
        "Locks over processes",
    ],
    "Sandboxes": ["Switching them on", "Handlers in files", "Options", "Advantages and drawbacks"],
    "Rate limits": ["Of a queue", "Of a job", "Over all workers", "Token buckets"],
    "Custom drivers": ["Implementing a driver", "Registering it", "Third-party systems"],
    "Performance": ["Bulk operations", "Size of data", "Concurrency", "Connections to Redis", "Retention"],
    "Fault tolerance": [
        "Redis that is highly available",
        "Retry strategies",
        "Failover and stalled jobs",
        "Graceful shutdown",
    ],
    "Monitoring": ["Basic metrics", "Prometheus", "Custom events and metrics"],
    "Patterns": ["Producer and consumer apart", "Priority queues", "Worker pools", "Event bus", "Dead letters"],
}
"""The chapters of the document and their headings."""


def test_every_documented_heading_has_its_example() -> None:
    _, _, section = README.partition("\n## The documented API, heading by heading\n")
    chapter, shown = "", dict[str, list[str]]()
    for first, headings, link in re.findall(r"^\| (.*?)\|(.*?)\|(.*?)\|$", section.partition("\n## ")[0], re.M)[2:]:
        chapter = first.strip() or chapter
        shown.setdefault(chapter, []).extend(headings.strip().split("; "))
        named = re.fullmatch(r" \[(\w+)\]\((examples/\w+\.py)\) ", link)
        assert named, link
        assert (ROOT / named[2]).stem == named[1]
        assert (ROOT / named[2]).is_file(), named[2]
    assert shown == DOCUMENTED
