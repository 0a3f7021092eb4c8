"""Options given where they do not exist: those of BullMQ and Celery without a counterpart, and ours that belong
elsewhere. A test checks that what is to be written instead exists."""

from __future__ import annotations

from collections.abc import Mapping

_FAILS_TOO = "nothing: a job whose dependency fails, fails too, unless it has dependencies_mode='optional'"
_OPTIONAL = "dependencies_mode='optional' on the job that depends on it, which runs once all of them have ended"
_REPEATABLE = "queue.add_repeatable_job(name, data, cron=...) for a repeatable job"
_LEASE = "nothing: leases are renewed while handlers run"
_WAKES = "nothing: workers wait for messages, and reconnect by themselves"
_SANDBOXED = "processor={'sandboxed': True} for handlers in processes of their own"
_STARTS = "app.start() or app.run(), which start all queues that have a handler"
_BACKOFFS = "backoffs={'name': function}, and backoff={'custom': 'name'} on jobs"
_TELEMETRY = "stratix_kombu.integrations.opentelemetry.instrument(app)"
_WORKER = {
    **dict.fromkeys(("skip_lock_renewal", "lock_renew_time"), _LEASE),
    **dict.fromkeys(("drain_delay", "run_retry_delay", "retry_process_delay", "guard_interval"), _WAKES),
    **dict.fromkeys(("blocking_connection", "shared_connection", "skip_waiting_for_ready"), _WAKES),
    **dict.fromkeys(("use_worker_threads", "worker_fork_options", "worker_threads_options"), _SANDBOXED),
    "is_shared_child_pool": _SANDBOXED,
    "autorun": _STARTS,
    "autostart": _STARTS,
    "max_started_attempts": "attempts=... on jobs, and the setting worker={'max_stalled_count': ...}",
    "skip_stalled_check": "the setting worker={'clock': False}, and 'stratix-kombu beat'",
    **dict.fromkeys(("backoff_strategy", "backoff_strategies"), _BACKOFFS),
    "repeat_strategy": "cron=... or every=... of queue.add_repeatable_job(...): there are no other rules",
    "telemetry": _TELEMETRY,
    **dict.fromkeys(("streams", "max_len"), "nothing: the newest events of a queue are kept"),
    **dict.fromkeys(("skip_version_check", "skip_metas_update"), "nothing: there is no such step"),
}
REMEDIES: Mapping[str, Mapping[str, str]] = {
    "every": {
        "repeat": "cron=... or every=... directly",
        "offset": "start_date=..., from which intervals count",
        "utc": "timezone='UTC', which is the default",
        "nth_day_of_week": "cron='0 9 * * 5#2' for the second Friday",
        "current_date": "start_date=...",
        "prev_millis": "nothing: the times are those of the rule",
        "repeat_strategy": "cron=... or every=...: there are no other rules",
    },
    "attempts": {
        **dict.fromkeys(("repeat", "cron", "pattern", "every"), _REPEATABLE),
        **dict.fromkeys(("repeat_job_key", "prev_millis"), _REPEATABLE),
        "parent": "dependencies=[...] on the job that waits, or app.queue.add_flow(...)",
        "children": "app.queue.add_flow(...) for a tree",
        "fail_parent_on_failure": _FAILS_TOO,
        "continue_parent_on_failure": _OPTIONAL,
        "ignore_dependency_on_failure": _OPTIONAL,
        "remove_dependency_on_failure": _OPTIONAL,
        **dict.fromkeys(("args", "kwargs", "payload", "body"), "queue.add(name, data, ...): the data is one value"),
        **dict.fromkeys(("lifo", "at_front"), "priority=0, and a higher number on the others: 0 is first"),
        "result_ttl": "remove_on_complete=timedelta(seconds=...)",
        "failure_ttl": "remove_on_fail=timedelta(seconds=...)",
        "on_success": "queue.on('completed', function)",
        "on_failure": "queue.on('failed', function)",
        "timestamp": "run_at=... for a later start; when a job was added is the store's time",
        "keep_logs": "nothing: a job keeps the newest 1,000 lines of its log",
        "stack_trace_limit": "nothing: job.stacktrace is that of the last attempt",
        "telemetry": _TELEMETRY,
        "expires": "raise UnrecoverableError(...) in the handler of a job whose job.timestamp is too long ago",
        "headers": "app.middleware('add', function), which sets the headers of jobs",
        "link": "dependencies=[...] on the job that follows",
        "name": "queue.add(name, data, ...)",
        "queue": "app.queue.get_queue(name).add(...)",
        "queue_name": "app.queue.get_queue(name).add(...)",
    },
    "global_concurrency": {
        **_WORKER,
        "settings": _BACKOFFS,
        "metrics": "nothing: every queue has queue.get_metrics()",
        "prefix": "create_app({'namespace': ...})",
        "connection": "create_app({'driver': 'redis', 'redis': {...}})",
        "create_client": "create_app({'driver': 'redis', 'redis': {...}})",
        "name": "create_queue(name, ...)",
    },
    "lease_duration": _WORKER,
    "namespace": _WORKER,
    "extend": {"keep_last_if_active": "'replace': True, which replaces a delayed job; or no deduplication"},
    "refill_rate": {
        "group_key": "limiter={..., 'key': ...} on jobs: one limit for each key",
        "tokens_per_interval": "'max' and 'duration', or 'refill_rate' in tokens a second",
    },
    "jitter": dict.fromkeys(("max_delay", "factor", "multiplier"), "{'custom': function}, of the attempts made"),
    "children": {
        "dependencies": "'children', or a list of nodes with 'key' and 'dependencies'",
        "key": "a list of nodes with 'key' and 'dependencies', instead of a tree",
        "parent": "it among the 'children' of that",
        "prefix": "create_app({'namespace': ...}), for all queues",
    },
    "opts": dict.fromkeys(("queue", "queue_name"), "app.queue.get_queue(name).add_bulk(...), for each queue"),
    "age": {"limit": "nothing: 'count' and 'age' say what is kept"},
}
"""By an option that is known where they were given: options that are no name of one of ours, and what to write."""

OF_JOBS = (
    "attempts backoff deduplication delay dependencies dependencies_mode group job_id priority remove_on_complete "
    "remove_on_fail run_at timeout"
)
OF_QUEUES = (
    "concurrency max_payload_bytes default_job_options backoffs limiter global_concurrency group_concurrency "
    "dead_letter processor"
)
OF_WORKERS = "stalled_check_interval max_stalled_count lease_duration redelivery_grace clock"
OF_APPLICATIONS = "driver store namespace redis timezone shutdown_timeout metrics"
_IN_QUEUE = "app.queue.create_queue(name, {}=...)"
PLACES: tuple[tuple[str, str, str], ...] = (
    ("opts", OF_JOBS, "'opts': {{'{}': ...}}"),
    ("attempts", OF_QUEUES, _IN_QUEUE),
    ("attempts", OF_WORKERS, "the setting worker={{'{}': ...}}"),
    ("lease_duration", OF_QUEUES, f"{_IN_QUEUE}, or the setting queues"),
    ("lease_duration", OF_JOBS, "queue.add(name, data, {}=...)"),
    ("global_concurrency", OF_WORKERS, "the setting worker={{'{}': ...}}"),
    ("namespace", OF_WORKERS, "worker={{'{}': ...}}"),
    ("namespace", OF_QUEUES, f"{_IN_QUEUE}, or the setting queues"),
    ("default_job_options", OF_JOBS, "default_job_options={{'{}': ...}}"),
    ("lease_duration", OF_APPLICATIONS, "create_app({{'{}': ...}})"),
    ("global_concurrency", OF_APPLICATIONS, "create_app({{'{}': ...}})"),
)
"""Options in the wrong place: one that is known where they were given, what they are, and where they belong."""
