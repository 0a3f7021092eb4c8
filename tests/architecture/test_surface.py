"""The documented methods and attributes are there, under their names."""

from __future__ import annotations

import pytest

from stratix_kombu import Application, Flow, Job, Queue, QueueDriver, QueueManager
from stratix_kombu.lock import DistributedLock, Lock
from stratix_kombu.schedule import Scheduler

SURFACE = {
    Application: "include middleware "
    "register start astart close aclose run hook queue schedule distributed_lock check_health",
    QueueManager: "create_queue get_queue get_all_queues close_all check_health add_flow get_flow get_flows add_canvas "
    "emit on once off aio get_overview get_workers get_worker_jobs get_queue_names get_job get_repeatable_jobs "
    "describe",
    Queue: "add add_bulk process pause resume is_paused get_status get_job_counts get_metrics get_job get_jobs "
    "get_workers find_jobs get_failure_reasons get_letter_reasons get_metric_names drain clean retry_jobs promote_jobs "
    "remove_jobs cancel_jobs count_jobs obliterate redrive close on once off aio add_repeatable_job "
    "get_repeatable_jobs get_schedule_runs remove_repeatable_job "
    "pause_repeatable_job resume_repeatable_job run_repeatable_job "
    "upsert_job_scheduler set_rate_limit get_rate_limit get_rate_limit_ttl set_global_concurrency "
    "get_global_concurrency hold get_events get_dead_letters "
    "handler_names concurrency",
    Job: "get_attempts headers worker repeat_key "
    "id name data opts queue_name progress attempts_made return_value failed_reason stacktrace timestamp "
    "processed_on finished_on get_state refresh wait_until_finished update_progress log get_logs update_data "
    "retry remove promote change_delay change_priority cancel cancelled check_cancelled add_dependency "
    "remove_dependency "
    "get_dependencies get_dependency_states get_dependents get_dependency_results aio",
    Flow: "root to_canvas",
    Scheduler: "cron interval register pause resume unregister list",
    DistributedLock: "acquire hold release extend",
    Lock: "release extend",
    QueueDriver: "init create_queue close get_name check_health",
}


@pytest.mark.parametrize("owner", SURFACE, ids=lambda owner: owner.__name__)
def test_documented_names_are_there(owner: type) -> None:
    assert [name for name in SURFACE[owner].split() if not hasattr(owner, name)] == []
