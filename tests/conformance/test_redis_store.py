"""What only the Redis store has: scripts, keys, connections, errors."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from urllib.parse import urlsplit

import pytest
from redis import Redis

from stratix_kombu import StoreUnavailable
from stratix_kombu.model.metrics import KEPT_HOURS, KEPT_MINUTES
from stratix_kombu.model.record import Completion, Held, NewJob, Retention, WorkerInfo
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import eviction, open_redis_store
from tests.services import redis_server

LUA = sorted((files("stratix_kombu.stores.redis") / "lua").iterdir(), key=lambda one: one.name)


def _job(job_id: str, **fields: object) -> NewJob:
    return NewJob(id=job_id, queue="q", name="n", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("file", [one for one in LUA if one.name.endswith(".lua")], ids=lambda one: one.name)
def test_every_script_says_what_it_takes_and_gives(file: object) -> None:
    text = file.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    head = text[: text.index("\n\n")] if "\n\n" in text else text
    assert head.startswith("-- ")
    assert "KEYS[1]" in head
    assert "Returns" in head


def test_scripts_are_loaded_again_after_a_flush(redis_url: str) -> None:
    store = open_redis_store({"url": redis_url}, namespace=f"flush{uuid.uuid4().hex[:8]}")
    store.transitions.add([_job("a")])
    with Redis.from_url(redis_url) as client:
        client.script_flush()
    store.transitions.add([_job("b")])
    assert store.queries.status("q").counts["waiting"] == 2
    store.close()


def test_all_keys_share_the_hash_slot_and_none_is_left(redis_url: str) -> None:
    namespace = f"keys{uuid.uuid4().hex[:8]}"
    store = open_redis_store({"url": redis_url}, namespace=namespace)
    keep = Retention(count=0)
    store.transitions.add([_job("a", keep_completed=keep), _job("b", dependencies=("a",), keep_completed=keep)])
    store.transitions.log("a", "line", 5)
    store.transitions.renew([WorkerInfo(id="w", queue="q")], [Held("x", "y")], 1000)
    with Redis.from_url(redis_url, decode_responses=True) as client:
        keys = list(client.scan_iter(f"*{namespace}*"))
        assert keys
        assert all(key.startswith(f"{{{namespace}}}") for key in keys)
        for job_id in ("a", "b"):
            (claim,) = store.transitions.claim("q", [job_id], "w", 1000).claims
            store.transitions.complete([Completion(job_id, claim.token, "1")])
        store.transitions.leave("w", ["q"])
        assert f"{{{namespace}}}:q:q:noted" in client.scan_iter(f"*{namespace}*")
        store.queries.metrics("q", 1)
        keys = list(client.scan_iter(f"*{namespace}*"))
        left = {key.partition("}")[2] for key in keys}
        minutes = {key for key in keys if ":minute:" in key}
        assert all(0 < client.ttl(key) <= KEPT_MINUTES * 60 for key in minutes)
        hours = {key for key in keys if ":hour:" in key}
        assert all(0 < client.ttl(key) <= KEPT_HOURS * 3600 for key in hours)
        ended = {key for key in keys if ":ended:" in key}
        assert all(0 < client.ttl(key) <= 60 for key in ended)
        asked = {key for key in keys if ":asked:" in key}
        assert all(0 < client.ttl(key) <= 10 for key in asked)
        assert all(client.strlen(key) < 4_000 for key in (*minutes, *hours, f"{{{namespace}}}:q:q:totals"))
    assert 1 <= len(minutes) <= 2
    counted = {key.partition("}")[2] for key in (*minutes, *hours, *ended, *asked)} | {":q:q:totals", ":q:q:names"}
    counted |= {":q:q:named", ":named"}
    assert left == {":q:q:events", ":queues", ":number", ":q:q:meta", ":first:active", *counted}
    store.close()


def _add_twenty(store: Store, barrier: threading.Barrier) -> None:
    barrier.wait()
    for number in range(20):
        store.transitions.add([_job(f"{threading.get_ident()}-{number}")])


def test_many_threads_share_one_store_from_its_first_call(redis_url: str) -> None:
    """Each opens a connection of its own; none is closed under another."""
    for _ in range(10):
        store = open_redis_store({"url": redis_url}, namespace=f"many{uuid.uuid4().hex[:8]}")
        with ThreadPoolExecutor(8) as threads:
            barrier = threading.Barrier(8)
            for done in [threads.submit(_add_twenty, store, barrier) for _ in range(8)]:
                done.result()
        assert store.queries.status("q").counts["waiting"] == 160
        store.close()


def test_a_wrong_password_is_an_error_without_it() -> None:
    with redis_server("--requirepass", "correct") as url:
        address = urlsplit(url).netloc
        store = open_redis_store({"url": f"redis://:wrong-secret@{address}/0"}, namespace="x")
        with pytest.raises(StoreUnavailable) as refused:
            store.ping()
        assert "wrong-secret" not in str(refused.value)
        assert address in str(refused.value)
        store.close()


@pytest.mark.parametrize(("policy", "heard"), [("allkeys-lru", 1), ("volatile-ttl", 1), ("noeviction", 0)])
def test_a_server_that_removes_jobs_is_reported_once(
    policy: str, heard: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every process that uses it, with its first connection; not again by another store or connection."""
    monkeypatch.setattr(eviction, "_told", set())
    with redis_server("--maxmemory-policy", policy) as url, caplog.at_level(logging.WARNING, "stratix_kombu"):
        for namespace in ("a", "b"):
            store = open_redis_store({"url": url}, namespace=namespace)
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(lambda _, store=store: store.ping(), range(8)))
            store.close()
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if f"maxmemory-policy is {policy}" in line]) == heard


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("stratix_kombu.stores.redis", "redis", "redis"),
        ("stratix_kombu.drivers.redis", "redis", "redis"),
        ("stratix_kombu.drivers.sqs", "boto3", "sqs"),
    ],
)
def test_a_missing_extra_names_the_command(module: str, package: str, extra: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from stratix_kombu import MissingExtra\n"
        f"try:\n    import {module}\nexcept MissingExtra as missing:\n    print(missing)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert f"pip install 'stratix-kombu[{extra}]'" in done.stdout, done.stderr
