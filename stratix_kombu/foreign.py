"""What BullMQ, Celery, or a guess call our names: one table for each kind of name.

The names are in snake_case, as the camelCase ones are understood too (see ``stratix_kombu.hints``). An entry is one of
our names, several names of which the first that is known applies, or what to write instead. A test checks that all of
them exist."""

from __future__ import annotations

from collections.abc import Mapping


def _table(**ours: str) -> dict[str, str]:
    """From our name and the names that others use for it."""
    return {other: name for name, others in ours.items() for other in others.split()}


# What a handler does whose job cannot go on yet; dependencies and delays change only until a job starts.
LATER = "queue.add(..., delay=...) for what is left to do, and return; or raise: 'attempts' and 'backoff' apply"
THE_REST = "queue.add(..., dependencies=[...]) for what is left to do once these have ended, and return"

DURATIONS = ("backoff", "delay", "duration", "every", "timeout")
"""Options that other libraries have in seconds: under our name, the same number would be a thousandth of the time."""

OPTIONS: Mapping[str, str] = {
    "count": "limit max",
    "prefix": "queue_name_prefix connection_namespace namespace",
    "key_prefix": "connection_namespace queue_name_prefix namespace",
    "interval": "every",
    "unique": "deduplication once",
    "task": "handler name",
    "job": "handler name",
    "sandbox": "sandboxed processor",
    "processes": "max_sandboxes concurrency",
    "timeout_ms": "timeout command_timeout",
    "connection": "redis url",
    "options": "opts",
    "redis_url": "redis",
    "dlq": "dead_letter redrive",
    **_table(
        aws="region access_key_id secret_access_key credentials region_name",
        attempts="retries max_attempts max_retries tries retry",
        backoff="backoff_delay retry_delay retry_backoff",
        ca="ca_cert ca_certs ssl_ca_certs",
        concurrency="workers max_concurrency threads",
        cron="pattern cron_expression crontab expression cron_time",
        data="payload body args kwargs params",
        db="database",
        dead_letter="dead_letter_queue",
        deduplication="debounce dedup dedupe simple unique_key",
        default_job_options="default_job_opts job_options job_opts",
        delay="countdown delay_ms",
        dependencies="depends_on parents parent_ids wait_for deps",
        dependencies_mode="dependency_mode",
        driver="broker broker_url transport",
        duration="window period per",
        end_date="end until",
        every="repeat_every",
        group="group_id message_group_id",
        handler="fn function func callback",
        host="hostname",
        immediately="immediate run_immediately",
        job_id="id task_id custom_id",
        lease_duration="lock_duration",
        limit="max_runs times",
        limiter="rate_limit rate_limiter rate",
        max="size tokens capacity",
        max_memory_usage="max_memory memory_limit",
        max_payload_bytes="size_limit",
        name="master_name service_name",
        password="pass auth",
        priority="prio",
        queues="queue",
        remove_on_complete="keep_completed remove_on_completed remove_on_success",
        remove_on_fail="keep_failed remove_on_error remove_on_failure remove_on_failed",
        run_at="eta start_after scheduled_for",
        server_name="servername server_hostname",
        ssl="tls use_tls use_ssl",
        stalled_check_interval="stalled_interval",
        start_date="start",
        store="backend result_backend",
        timeout="job_timeout time_limit soft_time_limit",
        timezone="time_zone",
        type="strategy",
        username="user",
        verify="reject_unauthorized check_hostname cert_reqs",
        vhost="virtual_host",
    ),
}
"""Options by other names: the first of ours that is an option there is meant."""

EVENTS = _table(
    waiting="added enqueued queued wait",
    active="started processing running",
    completed="success succeeded finished done complete global:completed",
    failed="failure fail global:failed",
    blocked="waiting_children",
    removed="deleted",
    duplicated="deduplicated debounced",
    drained="empty idle",
    retries_exhausted="exhausted",
)
HOOKS = _table(
    before_start="on_start starting on_register",
    after_start="on_ready ready on_started started",
    before_close="on_close close closing shutdown on_shutdown pre_close",
    after_close="closed on_closed",
)
STATES = _table(
    waiting="wait queued pending ready prioritized",
    active="started running processing",
    completed="success succeeded finished done complete",
    failed="failure error exhausted",
    blocked="waiting_children",
    delayed="scheduled",
)
COMMANDS = {
    "delete": "remove obliterate",
    **{verb: f"'job {verb} ID'" for verb in ("retry", "cancel", "promote", "rerun", "logs", "priority")},
    **_table(
        queues="list ls status stats top",
        worker="start run work serve",
        jobs="inspect show find search",
        reasons="errors failures",
        beat="scheduler schedule cron clock",
        drain="purge empty",
        remove="rm",
        repeat="repeatable schedules",
        check="config doctor info",
        health="ping healthcheck",
        obliterate="destroy",
    ),
}
COMMAND_OPTIONS = {
    "-q": "--queues",
    "-c": "--concurrency",
    "--autoscale": "--concurrency",
    "-l": "--log-level",
    "--loglevel": "--log-level",
    "--workers": "--processes",
    "--schedule": "--cron",
    "--tz": "--timezone",
}
"""Options of commands by Celery's names for them."""

JOB = {
    **_table(
        return_value="returnvalue result return_values value output",
        failed_reason="error exception reason failure err",
        attempts_made="tries retries attempt attempts_count retried",
        queue_name="queue",
        timestamp="created_at created_on added_at added_on",
        processed_on="started_at started_on processed_at start_time",
        finished_on="ended_at finished_at completed_at completed_on end_time",
        stacktrace="stack traceback",
        data="args kwargs payload body",
        id="job_id task_id request",
        name="job_name task_name",
        state="status",
        opts="options",
        log="add_log",
        update_data="update",
        update_progress="set_progress report_progress save_progress",
        wait_until_finished="finished wait get wait_for_completion join ready",
        add_dependency="depends_on",
        get_dependencies="get_children get_parents children parents",
        get_dependents="parent parent_key",
        get_dependency_results="get_children_values get_children_results",
        remove_dependency="remove_child_dependency",
        cancel="abort revoke kill stop",
        cancelled="is_cancelled aborted is_aborted",
        remove="delete",
        get_logs="logs",
        change_priority="set_priority update_priority",
    ),
    "attempts": "job.opts['attempts'], or job.attempts_made",
    "priority": "job.opts['priority'], or job.change_priority(...)",
    "delay": "job.change_delay(...)",
    "is_completed": "job.get_state() == 'completed'",
    "is_failed": "job.get_state() == 'failed'",
    "is_active": "job.get_state() == 'active'",
    "is_waiting": "job.get_state() == 'waiting'",
    "is_delayed": "job.get_state() == 'delayed'",
    "is_finished": "job.get_state() in ('completed', 'failed')",
    "move_to_completed": "'return' in the handler: what it returns is job.return_value",
    "move_to_failed": "raise UnrecoverableError(...) in the handler",
    "discard": "raise UnrecoverableError(...) in the handler",
    "move_to_delayed": LATER,
    "move_to_waiting_children": THE_REST,
    "extend_lock": "nothing: the lease is renewed while the handler runs",
}
QUEUE = {
    **_table(
        add="send enqueue push put publish delay apply_async",
        add_bulk="send_bulk add_many",
        process="worker_for handler register_handler subscribe consume",
        get_job_counts="count get_counts counts get_job_count get_job_count_by_types",
        get_repeatable_jobs="get_job_schedulers get_repeatable",
        remove_repeatable_job="remove_repeatable remove_job_scheduler remove_repeatable_by_key",
        add_repeatable_job="add_repeatable repeat add_cron schedule",
        drain="empty purge",
        set_rate_limit="rate_limit limiter",
        obliterate="delete destroy",
        on="add_listener add_event_listener",
        off="remove_listener remove_all_listeners",
        retry_jobs="retry_all retry_failed",
        get_dead_letters="dead_letters",
        find_jobs="find search filter_jobs search_jobs",
        get_failure_reasons="failure_reasons errors get_errors",
        get_schedule_runs="get_runs get_repeatable_runs get_job_scheduler_runs",
        get_rate_limit="get_global_rate_limit get_limiter",
        get_global_concurrency="get_concurrency",
    ),
    **{
        f"get_{state}": f"queue.get_jobs({state!r})"
        for state in ("waiting", "active", "delayed", "completed", "failed", "blocked")
    },
    **{
        f"get_{state}_count": f"queue.get_job_counts()[{state!r}]"
        for state in ("waiting", "active", "delayed", "completed", "failed", "blocked")
    },
    "get_waiting_children": "queue.get_jobs('blocked')",
    "get_prioritized": "queue.get_jobs('waiting')",
    "get_job_logs": "job.get_logs(), of queue.get_job(job_id)",
    "get_job_state": "job.get_state(), of queue.get_job(job_id)",
    "remove": "job.remove(), of queue.get_job(job_id)",
    "run": "app.run(), which starts all queues that have a handler",
    "wait_until_ready": "app.check_health()",
    "emit": "app.queue.emit(...) for events of your own",
    "add_flow": "app.queue.add_flow(...)",
    "create_queue": "app.queue.create_queue(name)",
    "get_queue": "app.queue.get_queue(name)",
    "cron": "queue.add_repeatable_job(name, data, cron=...)",
}
MANAGER = {
    **_table(
        create_queue="queue new_queue add_queue make_queue",
        get_queue="find_queue queue_for",
        get_all_queues="queues list_queues all",
        close_all="close stop",
        check_health="health ping",
        add_flow="flow flow_producer",
        get_overview="overview stats get_status get_counts",
        get_workers="workers list_workers",
    ),
    "add": "queue.add(...), of app.queue.get_queue(name)",
    "process": "queue.process(...), of app.queue.get_queue(name)",
    "get_jobs": "queue.get_jobs(...), of app.queue.get_queue(name)",
    "run": "app.run()",
}
APPLICATION = {
    **_table(
        queue="queues",
        schedule="scheduler schedules",
        distributed_lock="lock locks",
        register="use plugin install",
        hook="add_hook",
        run="listen serve work forever start_worker worker",
        close="stop shutdown quit end",
        check_health="health ping",
    ),
    "create_queue": "app.queue.create_queue(name)",
    "get_queue": "app.queue.get_queue(name)",
    "add_flow": "app.queue.add_flow(...)",
    "on": "app.queue.on(...) for events of your own, queue.on(...), or app.hook(...)",
    "emit": "app.queue.emit(...)",
    "cron": "app.schedule.cron(...)",
    "interval": "app.schedule.interval(...)",
    "task": "queue.process(...), of app.queue.get_queue(name)",
    "settings": "app.queue.settings",
    "config": "app.queue.settings",
    "aio": "async with app, and app.queue.aio",
}
FLOW = {
    **_table(
        jobs="children nodes",
        root="job parent",
        roots="parents",
        dependencies="edges",
        to_canvas="canvas signature",
        counts="get_counts get_job_counts",
        states="get_states status",
    ),
    "wait_until_finished": "job.wait_until_finished(), of flow.root",
    "id": "flow.root.id",
}
SCHEDULER = _table(
    cron="add_cron crontab",
    interval="every add_interval",
    register="add schedule create",
    unregister="remove cancel delete",
    list="get_all get_jobs jobs",
)
LOCKS = _table(acquire="lock try_lock obtain", hold="with_lock using", release="unlock", extend="renew refresh")
REPEATABLE = {
    "get_runs": "queue.get_schedule_runs(key)",
    **_table(
        cron="pattern",
        timezone="tz",
        next_run="next next_run_at next_millis",
        runs="count iteration_count times",
        queue_name="queue",
        end_date="end",
        start_date="start",
    ),
}
ERROR = {**_table(reason="failed_reason"), "message": "str(error)", "stack": "job.stacktrace", "code": "type(error)"}
PACKAGE = {
    "Worker": "queue.process(handler), and app.run()",
    "QueueEvents": "queue.on('completed', function)",
    "FlowProducer": "app.queue.add_flow(...)",
    "JobScheduler": "queue.add_repeatable_job(name, data, cron=...)",
    "QueueScheduler": "app.run(): delayed jobs need nothing else",
    "RateLimitError": "RateLimited",
    "WaitingChildrenError": THE_REST,
    "DelayedError": LATER,
    "Scheduler": "app.schedule",
    "Lock": "app.distributed_lock.acquire(key, ttl)",
    "StratixApp": "create_app",
    "App": "create_app",
    "Stratix": "create_app",
    "Celery": "stratix_kombu.celery.install(celery_app)",
    "install": "stratix_kombu.celery.install(celery_app)",
    "StratixCollector": "stratix_kombu.metrics.StratixCollector(app)",
    "DriverSuite": "stratix_kombu.testing.drivers.DriverSuite",
    "StoreSuite": "stratix_kombu.testing.stores.StoreSuite",
}
