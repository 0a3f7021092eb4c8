"""What the tests of multiprocessing run in another process: names at the top level of a module."""

from __future__ import annotations

from typing import Any

from stratix_kombu import Application, create_app

here: list[Application] = []
"""The application of this process; a forked child has its parent's."""


def wrong_answers(settings: dict[str, Any], me: str, rounds: int) -> int:
    """Add and read; how many answers were another process's. A fresh process makes an application of its own."""
    if not here:
        here.append(create_app(settings))
    queue = here[-1].queue.get_queue("mail")
    wrong = 0
    for number in range(rounds):
        job_id = f"{me}-{number}"
        queue.add("x", job_id, job_id=job_id)
        found = queue.get_job(job_id)
        wrong += found is None or found.data != job_id
    return wrong


def write(settings: dict[str, Any], me: str, rounds: int, answers: Any) -> None:
    answers.put(wrong_answers(settings, me, rounds))
