"""A handler's own log records say which job they belong to."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, Job
from stratix_kombu.logs import CurrentJob, InJob, JobContext, JsonFormatter, TextFormatter, current_job
from tests.waiting import until

logger = logging.getLogger("tests.shop")


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.addFilter(JobContext())
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    handler = Records()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.found
    logger.removeHandler(handler)


def said(records: list[logging.LogRecord]) -> list[tuple[Any, ...]]:
    return [(one.getMessage(), one.queue, one.job_name, one.job_id, one.attempt) for one in records]  # type: ignore[attr-defined]


def test_handlers_on_threads_and_on_the_loop(app: Application, records: list[logging.LogRecord]) -> None:
    plain, loop = app.queue.create_queue("plain", concurrency=4), app.queue.create_queue("loop", concurrency=4)

    @plain.process("n")
    def handle(job: Job) -> None:
        logger.info("plain %s", job.data)
        if job.attempts_started == 1:
            raise ValueError("again")

    async def deeper(job: Job) -> None:
        await asyncio.sleep(0.01)
        logger.info("loop %s", job.data)

    @loop.process("n")
    async def handle_async(job: Job) -> None:
        await asyncio.gather(asyncio.create_task(deeper(job)), asyncio.sleep(0.005))

    for number in range(4):
        plain.add("n", number, attempts=2, job_id=f"p{number}")
        loop.add("n", number, job_id=f"l{number}", timeout=60_000 if number % 2 else 0)
    until(lambda: len(records) == 12)
    wanted = [("plain %d", "plain", "p", 1), ("plain %d", "plain", "p", 2), ("loop %d", "loop", "l", 1)]
    assert sorted(said(records)) == sorted(
        (text % number, queue, "n", f"{letter}{number}", attempt)
        for number in range(4)
        for text, queue, letter, attempt in wanted
    )


def test_sandboxed_handlers(app: Application, tmp_path: Path) -> None:
    file = tmp_path / "handler.py"
    file.write_text("from stratix_kombu.logs import current_job\nasync def process(job): return list(current_job())\n")
    queue = app.queue.create_queue("apart")
    queue.process("n", str(file))
    assert queue.add("n", job_id="one").wait_until_finished(timeout=60) == ["one", "apart", "n", 1]


def test_outside_of_a_job(records: list[logging.LogRecord]) -> None:
    with InJob("1", "q", "n", 1):
        with InJob("2", "q", "n", 3):
            assert current_job() == CurrentJob("2", "q", "n", 3)
        logger.info("in")
    logger.info("out")
    logger.info("own", extra={"job_id": "mine"})
    assert [one[1:] for one in said(records)] == [
        ("q", "n", "1", 1),
        (None, None, None, None),
        (None, None, "mine", None),
    ]


def record(level: int = logging.WARNING, **extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "shop", "levelno": level, "levelname": logging.getLevelName(level), **extra})
    made.msg, made.args, made.created = "sent %s", ("it",), 1_700_000_000.125
    return made


def test_as_text() -> None:
    with InJob("7", "emails", "welcome", 2):
        one = record()
        JobContext().filter(one)
    assert TextFormatter().format(one).endswith(".125 WARNING shop [emails welcome 7 #2]: sent it")
    assert "\x1b[33mWARNING\x1b[0m" in TextFormatter(colour=True).format(one)
    plain = record(logging.INFO)
    JobContext().filter(plain)
    assert TextFormatter().format(plain).endswith(" INFO    shop: sent it")


def test_as_json() -> None:
    try:
        raise ValueError("boom")
    except ValueError as problem:
        info = (ValueError, problem, problem.__traceback__)
    with InJob("7", "emails", "welcome", 2):
        one = record(exc_info=info, action="sending", when={1})
        JobContext().filter(one)
    shown = json.loads(JsonFormatter().format(one))
    assert shown.pop("exception").endswith("ValueError: boom")
    assert shown == {
        "time": "2023-11-14T22:13:20.125+00:00",
        "level": "WARNING",
        "logger": "shop",
        "message": "sent it",
        "job_id": "7",
        "queue": "emails",
        "job_name": "welcome",
        "attempt": 2,
        "action": "sending",
        "when": "{1}",
    }
