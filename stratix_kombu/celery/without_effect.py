"""Settings of Celery that mean nothing with the bridge, and why; all others keep their meaning."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from celery.app.defaults import DEFAULTS

_OF_BACKENDS = "results are kept in the store; with results='also' it is read for the backend that has them too"
_OF_CHORDS = "a chord is a job that depends on its header: nobody polls, and nothing expires before it"
_OF_THE_STORE = "the store has options of its own: install(app, store={...})"
_OF_RPC = "no results are sent as messages"

WITHOUT_EFFECT = {
    **dict.fromkeys(
        (
            *("arangodb_*", "azureblockblob_*", "cache_*", "cassandra_*", "cosmosdbsql_*", "couchbase_*"),
            *("database_*", "elasticsearch_*", "gcs_*", "mongodb_*", "s3_*"),
            *("result_backend_*", "result_compression"),
        ),
        _OF_BACKENDS,
    ),
    **dict.fromkeys(
        (
            *("redis_db", "redis_host", "redis_max_connections", "redis_password", "redis_port"),
            *("redis_retry_on_timeout", "redis_socket_*", "redis_username"),
        ),
        _OF_THE_STORE,
    ),
    "result_chord_*": _OF_CHORDS,
    "result_cache_max": "each result is read when it is asked for",
    **dict.fromkeys(("result_exchange", "result_exchange_type", "result_persistent"), _OF_RPC),
    "task_publish_retry*": "a task is added to the store, which tries again within 'command_timeout'",
    "broker_native_delayed_delivery_queue_type": "delays are kept in the store",
    "worker_eta_task_limit": "a task that is not due is in no worker's memory",
    "worker_deduplicate_successful_tasks": "the store refuses what comes twice, whether it is asked to or not",
    "worker_enable_prefetch_count_reduction": "switched off: what comes twice is refused, so nothing is gained",
    **dict.fromkeys(
        ("beat_max_loop_interval", "beat_schedule_filename", "beat_sync_every"),
        "with 'beat -S stratix' the schedule is in the store; with other schedulers it counts as ever",
    ),
}
"""Names of settings, or patterns of such, and why."""
SET_BY_THE_BRIDGE = {"worker_enable_prefetch_count_reduction": False}
"""What it sets itself: a project that has that value loses nothing, and perhaps did not set it."""


def reason_for(name: str) -> str | None:
    """Why a setting has no effect; None for one that has."""
    return next((why for pattern, why in WITHOUT_EFFECT.items() if fnmatchcase(name, pattern)), None)


def settings_without_effect(conf: Any) -> Iterator[tuple[str, str]]:
    """Those that a project has set to something else than the default, and why they mean nothing."""
    for name, default in sorted(DEFAULTS.items()):
        why = reason_for(name)
        if why and conf.get(name) not in (default, SET_BY_THE_BRIDGE.get(name, default)):
            yield name, why
