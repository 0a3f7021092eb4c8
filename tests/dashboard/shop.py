"""What there is to be seen: queues with handlers, and jobs whose names and data are hostile."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from stratix_kombu import Application, Job, JobFailed

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>'&amp;"
TURNED = "invoice\u202efdp.exe"
DATA = {HOSTILE: [HOSTILE, "\x00\x1b[31m\u200b\ufeff", TURNED], "</textarea><script>1</script>": "</pre></style>"}


def open_shop(app: Application) -> None:
    """Queues of all kinds; nothing has been added yet."""
    app.queue.create_queue("dead")
    work = app.queue.create_queue("work", concurrency=2, dead_letter="dead")

    @work.process
    def run(job: Job) -> Any:
        job.log(f"line of {HOSTILE} {TURNED}")
        if isinstance(job.data, dict) and job.data.get("fail"):
            raise ValueError(f"{HOSTILE} {TURNED} {job.data['fail']}")
        return DATA

    idle = app.queue.create_queue("idle")
    idle.pause()


def fail_some(app: Application, count: int = 1) -> list[Job]:
    """Jobs that have failed."""
    queue = app.queue.get_queue("work")
    jobs = [queue.add(f"{HOSTILE} {TURNED}"[:190], {"fail": number}) for number in range(1, count + 1)]
    for job in jobs:
        with suppress(JobFailed):
            job.wait_until_finished(60)
    return jobs
