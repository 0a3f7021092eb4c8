"""What a handle on a job shows and writes."""

from __future__ import annotations

from typing import Any

import pytest

from stratix_kombu import Application, Job, PayloadNotSerializable
from stratix_kombu.queue.job import LOG_LINE_BYTES


def test_a_handle_shows_what_it_has_written(app: Application) -> None:
    queue = app.queue.get_queue("q")

    def work(job: Job) -> list[Any]:
        seen = [job.progress]
        for value in ({"step": 1}, None, "half"):
            job.update_progress(value)
            seen.append(job.progress)
        job.update_data({"n": 2})
        return [*seen, job.data]

    queue.process(work)
    job = queue.add("n", {"n": 1})
    assert job.wait_until_finished(timeout=10) == [None, {"step": 1}, None, "half", {"n": 2}]
    assert (job.progress, job.data) == ("half", {"n": 2})


def test_any_line_can_be_logged(app: Application) -> None:
    """A log line never fails a job: what no store can hold is escaped, what is too long is cut."""
    job = app.queue.get_queue("q").add("n")
    for line in ("\ud800 \x00 é", "", 5, "é" * LOG_LINE_BYTES):
        job.log(line)  # type: ignore[arg-type]
    logs = job.get_logs()
    assert logs[:3] == ["\\ud800 \x00 é", "", "5"]
    assert logs[3] == "é" * (LOG_LINE_BYTES // 2) + " ... (cut)"


def test_what_is_no_text_is_refused_in_values(app: Application) -> None:
    job = app.queue.get_queue("q").add("n")
    for write in (job.update_progress, job.update_data):
        with pytest.raises(PayloadNotSerializable):
            write(["\ud800"])
    with pytest.raises(PayloadNotSerializable):
        app.queue.emit("mine", "\ud800")
