"""What the pages show of queues and jobs: all that the dashboard reads is read here. The fields are what programs are
given as JSON, too."""

from stratix_kombu.dashboard.reading.jobs import (
    MAX_ID as MAX_ID,
    PAGE as PAGE,
    AttemptRow as AttemptRow,
    Count as Count,
    Edges as Edges,
    FlowRow as FlowRow,
    JobRow as JobRow,
    attempts as attempts,
    count as count,
    find as find,
    flow as flow,
    flows as flows,
    job_of as job_of,
    job_row as job_row,
    neighbours as neighbours,
)
from stratix_kombu.dashboard.reading.letters import (
    Letter as Letter,
    Reason as Reason,
    has_letters as has_letters,
    is_letter as is_letter,
    letter_in as letter_in,
    letters as letters,
    reasons as reasons,
)
from stratix_kombu.dashboard.reading.metrics import (
    NAMED_SPANS as NAMED_SPANS,
    SPANS as SPANS,
    metric_names as metric_names,
    periods as periods,
)
from stratix_kombu.dashboard.reading.queues import (
    MINUTES as MINUTES,
    Limiter as Limiter,
    QueueRow as QueueRow,
    counts_of as counts_of,
    now_ms as now_ms,
    queue_row as queue_row,
    queue_rows as queue_rows,
)
from stratix_kombu.dashboard.reading.schedules import (
    BeatRow as BeatRow,
    ScheduleRow as ScheduleRow,
    ScheduleRun as ScheduleRun,
    beat_rows as beat_rows,
    runs as runs,
    schedule_row as schedule_row,
)
from stratix_kombu.dashboard.reading.workers import (
    CeleryWorker as CeleryWorker,
    celery_workers as celery_workers,
    worker_jobs as worker_jobs,
    workers as workers,
)
