"""Every snippet of the README and of the guide runs, every configuration is accepted, every link leads somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stratix_kombu import StratixError, errors
from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.registry import known_drivers
from tests.pages import GUIDE, PAGES, ROOT, SNIPPETS, STORIES, Snippet, snippets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

README = "README.md"
KINDS = {"python", "toml", "sh", "json"}


def test_the_readme_has_its_parts() -> None:
    assert len(PAGES[README].splitlines()) <= 250
    assert len(snippets("python")) >= 21
    assert len(snippets("toml")) >= 9
    commands = [snippet.text.strip() for snippet in snippets("sh", README)]
    assert commands[:2] == ["pip install '.[all]' && python -m stratix_kombu demo", "pip install tox && tox"]


def test_every_snippet_is_of_a_kind_that_is_tested() -> None:
    """Python, TOML and JSON here, files and commands in test_stories.py, other commands in tests/cli/test_help.py."""
    assert {str(snippet): snippet.kind for snippet in SNIPPETS if snippet.kind not in KINDS} == {}


def test_every_file_is_used_by_a_command() -> None:
    used = {(story.commands.page, text) for story in STORIES for text in story.files.values()}
    named = [snippet for snippet in snippets("python") if snippet.file and "def test_" not in snippet.text]
    assert [str(snippet) for snippet in named if (snippet.page, snippet.text) not in used] == []


def test_every_command_is_run_or_parsed() -> None:
    heard = {str(story) for story in STORIES}
    others = [one for one in snippets("sh") if str(one) not in heard]
    commands = [line for one in others for line in one.text.splitlines()]
    assert [line for line in commands if not line.startswith(("stratix-kombu ", "celery -A proj stratix "))] == [
        "pip install '.[all]' && python -m stratix_kombu demo",  # test_demo.py
        "pip install tox && tox",
        *DEVELOPMENT,
    ]


DEVELOPMENT = [
    "tox -e lint                             # ruff, mypy --strict, import contracts",
    "tox -e format                           # formats the sources",
    "tox -e tests -- tests/unit/test_worker.py -k cancel",
    "tox -e benchmarks",
]
"""The commands for people who work on the package; the environments are those of tox.ini."""


def test_the_environments_of_tox_are_there() -> None:
    text = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for line in DEVELOPMENT:
        assert f"[testenv:{line.split()[2]}]" in text
        for path in re.findall(r"tests/\S+", line):
            assert (ROOT / path).is_file()


@pytest.mark.parametrize(
    "snippet", [one for one in snippets("python") if not one.file or "def test_" in one.text], ids=str
)
def test_python_snippets_run(snippet: Snippet, tmp_path: Path) -> None:
    is_test = "def test_" in snippet.text
    file = tmp_path / ("test_snippet.py" if is_test else "snippet.py")
    file.write_text(snippet.text, encoding="utf-8")
    command = ["-m", "pytest", "-q", str(file)] if is_test else [str(file)]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() or "print" not in snippet.text


def test_the_first_example_prints_its_result(tmp_path: Path) -> None:
    code = snippets("python", README)[0].text
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "sent to ada@example.com\n"


@pytest.mark.parametrize("snippet", snippets("toml"), ids=str)
def test_configurations_are_accepted(snippet: Snippet) -> None:
    settings = load_settings(tomllib.loads(snippet.text), environment={}, drivers=known_drivers())
    assert settings.driver.partition("://")[0] in ("redis", "rabbitmq", "sqs", "filesystem")


@pytest.mark.parametrize("snippet", snippets("json"), ids=str)
def test_json_can_be_read(snippet: Snippet) -> None:
    assert json.loads(snippet.text)


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
            assert anchor in [_anchor(heading) for heading in headings], target


def test_the_tables_of_contents_name_every_page() -> None:
    pages = sorted(path.name for path in GUIDE.glob("*.md") if path.name != "README.md")
    for index, folder in ((README, "examples/guide/"), ("examples/guide/README.md", "")):
        rows = re.findall(rf"^\| \[(.*?)\]\({folder}([\w-]+\.md)\) \|", PAGES[index], re.M)
        assert sorted(name for _, name in rows) == pages
        for title, name in rows:
            assert PAGES[f"examples/guide/{name}"].startswith(f"# {title}\n"), name


def test_every_example_is_listed_by_need() -> None:
    _, _, section = PAGES["examples/guide/README.md"].partition("\n## Examples by need\n")
    listed = re.findall(r"\(\.\./([\w.]+)\)", section.partition("\n## ")[0])
    there = [path.name for path in (ROOT / "examples").iterdir() if path.name[:2].isdigit() or "migrating" in path.name]
    assert sorted(listed) == sorted(there)


def test_every_error_is_in_the_troubleshooting_page() -> None:
    page = PAGES["examples/guide/troubleshooting.md"]
    _, _, table = page.partition("\n## Errors\n")
    named = re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (.*?) \|", table.partition("\n## ")[0], re.M)))
    tree = {cls.__name__ for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, StratixError)}
    assert sorted(named) == sorted(tree - {"StratixError"})


def test_the_messages_of_the_troubleshooting_page_are_logged() -> None:
    _, _, table = PAGES["examples/guide/troubleshooting.md"].partition("\n## Messages in the log\n")
    source = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "stratix_kombu").rglob("*.py"))
    joined = re.sub(r'"\s+f?"', "", source)  # texts that go on in the next line
    messages = re.findall(r"^\| `(.*?)` \|", table, re.M)
    assert len(messages) > 4
    assert [message for message in messages if message not in joined] == []


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
    _, _, section = PAGES["examples/guide/README.md"].partition("\n## The documented API, heading by heading\n")
    chapter, shown = "", dict[str, list[str]]()
    for first, headings, link in re.findall(r"^\| (.*?)\|(.*?)\|(.*?)\|$", section.partition("\n## ")[0], re.M)[2:]:
        chapter = first.strip() or chapter
        shown.setdefault(chapter, []).extend(headings.strip().split("; "))
        named = re.fullmatch(r" \[(\w+)\]\(\.\./(\w+\.py)\) ", link)
        assert named, link
        assert (ROOT / "examples" / named[2]).stem == named[1]
        assert (ROOT / "examples" / named[2]).is_file(), named[2]
    assert shown == DOCUMENTED
