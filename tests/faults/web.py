"""A web program for gunicorn: when it is imported it adds, repeats and listens; a request adds a job and reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from stratix_kombu import create_app

stratix = create_app(json.loads(os.environ["STRATIX_TEST_WEB"]))
queue = stratix.queue.get_queue("mail")
queue.add_repeatable_job("nightly", {}, {"cron": "0 3 * * *"})
queue.add("at import", job_id="at-import").refresh()
queue.on("completed", lambda job, result: None)


def web(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The id of the job is the path; the answer is what was read."""
    job_id = environ["PATH_INFO"].strip("/")
    queue.add("x", job_id, job_id=job_id)
    found = queue.get_job(job_id)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([None if found is None else found.data, os.getpid()]).encode()]
