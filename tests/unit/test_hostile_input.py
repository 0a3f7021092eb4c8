"""Every decoder against what it must not trust: a clear refusal, and never anything else, whatever is read."""

from __future__ import annotations

import base64
import json
import uuid
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from stratix_kombu import Application, ConfigurationError, InvalidPayload, StratixError, create_app
from stratix_kombu.config.options import JobOptions, QueueOptions, WorkerOptions
from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers import redis as redis_driver
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.registry import create_driver
from stratix_kombu.drivers.sqs.messages import delivery_of
from stratix_kombu.lifecycle.redrive import letter_of
from stratix_kombu.lifecycle.repeat import job_of, template_of
from stratix_kombu.model.codec import MAX_DEPTH, decode, encode
from stratix_kombu.model.event import INLINE_RESULT_BYTES
from stratix_kombu.model.letter import job_of as letter_job
from stratix_kombu.model.message import read_envelope, read_headers
from stratix_kombu.model.names import check_job_id, check_job_name, check_queue_name, is_job_id
from stratix_kombu.model.record import NewJob, Ready, Schedule
from stratix_kombu.model.recurrence import Recurrence
from stratix_kombu.stores.redis.fields import WORDS
from stratix_kombu.stores.redis.records import ClaimsOf, record_of
from stratix_kombu.stores.redis.schedules import _readable
from tests.hostile import DEEP, NAMES, PICKLED, TRACE, fuzz, mappings, raws, scalars, texts, values
from tests.waiting import until


@pytest.fixture(autouse=True)
def _nothing_is_unpickled() -> Any:
    yield
    assert not TRACE.exists()


# -- messages -------------------------------------------------------------------------------------


@fuzz(100)
@given(raws)
@example(PICKLED)
@example(DEEP.encode())
def test_messages_name_a_job_or_are_reported(raw: bytes) -> None:
    whole = base64.b64encode(raw).decode()
    for delivery in (
        redis_driver._delivery("list", raw),
        delivery_of({"ReceiptHandle": "r", "Body": whole}, 0),
        delivery_of({"ReceiptHandle": "r", "Body": raw.decode("utf-8", "replace")}, 0),
    ):
        assert is_job_id(delivery.job_id) != bool(delivery.problem)
        assert len(delivery.problem) < 1000


@fuzz(100)
@given(values | mappings | mappings.map(lambda one: {**one, "task": "stratix.job"}))
def test_headers_name_a_job_or_are_reported(headers: Any) -> None:
    job_id, problem = read_headers(headers)
    assert is_job_id(job_id) != bool(problem)
    if isinstance(headers, dict) and headers.get("task") == "stratix.job":
        assert job_id == (headers.get("id") if is_job_id(headers.get("id")) else None)


def test_a_huge_message_is_not_read() -> None:
    padding = json.dumps({"headers": {"task": "stratix.job", "id": "a"}, "body": "x" * 300_000})
    assert read_envelope(padding) == (None, f"it has {len(padding)} bytes", None)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"properties": None},
        {"body": "%%%", "properties": {"body_encoding": "base64"}},
        {
            "body": base64.b64encode(PICKLED).decode(),
            "content-type": "application/x-python-serialize",
            "headers": {},
            "content-encoding": "binary",
            "properties": {"body_encoding": "base64", "delivery_tag": 1},
        },
        {"headers": ["task"], "properties": {"delivery_tag": 1}},
    ],
)
def test_any_kombu_transport_goes_on_after_a_message_that_cannot_be_read(payload: Any) -> None:
    plain = KombuDriver({"url": "memory://"}, namespace=f"hostile{uuid.uuid4().hex[:8]}")
    plain.declare("q")
    plain.attempt(lambda link: link.channel._put(plain.broker_queue("q"), payload))
    plain.publish([Ready("good", "q", "n")])
    receiver = plain.receiver("q", 5)
    found: list[Any] = []
    until(lambda: found.extend(receiver.receive(5, 0.05)) or any(one.job_id == "good" for one in found))
    assert [one.job_id for one in found] == [None, "good"]
    receiver.acknowledge(found)
    receiver.close()
    plain.close()


# -- records --------------------------------------------------------------------------------------


@fuzz(100)
@given(texts | raws)
def test_values(text: str | bytes) -> None:
    with suppress(InvalidPayload):
        decode(text)


@fuzz(100)
@given(texts)
def test_options_and_rules_and_letters(text: str) -> None:
    for read in (JobOptions.decode, Recurrence.decode):
        with suppress(InvalidPayload):
            read(text)
    letter = letter_of(text)
    assert letter is None or check_queue_name(letter["queue"])


@fuzz(80)
@given(
    st.dictionaries(
        st.sampled_from(["id", "queue", "name", "data", "options", "reason", "attempts", "max_attempts", "again"]),
        scalars,
    )
)
def test_letters(changes: dict[str, Any]) -> None:
    good = {
        "id": "a",
        "queue": "q",
        "name": "n",
        "data": 1,
        "options": "",
        "reason": "r",
        "attempts": 1,
        "max_attempts": 2,
    }
    letter = letter_of(json.dumps({**good, **changes}))
    if letter is not None:
        assert isinstance(letter["max_attempts"], int)
        check_job_name(letter["name"])


@fuzz(100)
@given(
    st.dictionaries(
        st.sampled_from(["priority", "max_stalled", "keep_completed", "keep_failed", "limit"]), scalars | mappings
    )
)
def test_what_letters_keep(again: dict[str, Any]) -> None:
    letter = {
        "id": "a",
        "queue": "q",
        "name": "n",
        "data": 1,
        "options": "",
        "reason": "r",
        "attempts": 1,
        "max_attempts": 2,
    }
    found = letter_of(json.dumps({**letter, "again": again}))
    assert found is None or 0 <= letter_job(found, "a", 1, "dead").priority <= 9


@fuzz(100)
@given(st.dictionaries(st.sampled_from(sorted(json.loads(template_of(NewJob(id="a", queue="q", name="n"))))), values))
def test_templates(changes: dict[str, Any]) -> None:
    template = {**json.loads(template_of(NewJob(id="a", queue="q", name="n"))), **changes}
    schedule = Schedule(key="k", queue="q", name="n", rule="{}", template=json.dumps(template), next_ms=1)
    for one in (schedule, replace(schedule, template=json.dumps(changes))):
        with suppress(InvalidPayload):
            job_of(one, "id")


@fuzz(80)
@given(st.lists(st.none() | raws, min_size=len(WORDS), max_size=len(WORDS)))
def test_records(fields: list[bytes | None]) -> None:
    named = [(name.encode(), value) for name, value in zip(WORDS, fields, strict=True) if value is not None]
    claims = ClaimsOf("q", "w", "r", 1)
    for read in (lambda: record_of("id", fields), lambda: claims.read(b"id", 0, 1, 1, named)):
        with suppress(InvalidPayload):
            read()


@fuzz(80)
@given(raws | mappings.map(lambda one: json.dumps({"next_ms": 1, "runs": 0, **one}).encode()))
def test_schedules(raw: bytes) -> None:
    good = json.dumps(asdict(Schedule(key="k", queue="q", name="n", rule="{}", template="{}", next_ms=1))).encode()
    assert [one.key for one in _readable([raw, good])][-1] == "k"


def test_values_that_are_nested_too_deep_are_refused_before_anything_is_written() -> None:
    fits: Any = 1
    for _ in range(MAX_DEPTH):
        fits = [fits]
    assert decode(encode(fits, "it")) == fits
    with pytest.raises(InvalidPayload, match="nested"):
        encode([fits], "it")


# -- options and settings -------------------------------------------------------------------------


@fuzz(100)
@given(
    mappings
    | st.dictionaries(
        st.sampled_from(
            [
                "driver",
                "store",
                "namespace",
                "redis",
                "sqs",
                "rabbitmq",
                "worker",
                "queues",
                "limiter",
                "default_job_options",
            ]
        ),
        values,
    )
)
def test_settings(given_: dict[str, Any]) -> None:
    for read in (
        lambda: load_settings(given_, environment={}, drivers=["memory", "redis", "sqs", "rabbitmq"]),
        lambda: JobOptions.parse(given_, "here"),
        lambda: QueueOptions.parse(given_, "here", JobOptions()),
        lambda: WorkerOptions.parse(given_, "here"),
    ):
        with suppress(ConfigurationError):
            read()


@fuzz(80)
@given(
    st.dictionaries(
        st.sampled_from(["url", "host", "port", "db", "ssl", "sentinels", "name", "cluster", "password"]),
        values | st.sampled_from(["redis://", "redis://h/x", "redis://h?a=b", "sentinel://h;;", "x://y"]),
    ),
    st.sampled_from(["redis", "rabbitmq", "sqs", "memory"]),
)
def test_options_of_drivers(options: dict[str, Any], name: str) -> None:
    with suppress(ConfigurationError):
        create_driver(name, options, namespace="n").close()


@fuzz(100)
@given(texts)
def test_files_and_environments(tmp_path_factory: Any, text: str) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "hostile.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for source, environment in ((path, {}), ({}, {f"STRATIX_{text}": text}), ({}, {"STRATIX_REDIS_PORT": text})):
        with suppress(ConfigurationError):
            load_settings(source, environment=environment, drivers=["memory", "redis"])


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "{x}", "\ud800", "a:logs", "a" * 160])
def test_bad_keys_of_repeatable_jobs(app: Application, key: str) -> None:
    queue = app.queue.get_queue("good")
    for step in (
        lambda: queue.add_repeatable_job("n", every=1000, key=key or " "),
        lambda: queue.pause_repeatable_job(key or " "),
    ):
        with pytest.raises(ConfigurationError):
            step()
    assert queue.get_repeatable_jobs() == []


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:20])
def test_bad_names_are_refused_before_anything_is_written(app: Application, name: Any) -> None:
    queue = app.queue.get_queue("good")
    given_ = 5 if name is None else name
    for step in (
        lambda: check_job_id(name),
        lambda: queue.add("n", job_id=given_),
        lambda: queue.add("n", dependencies=[name]),
        lambda: queue.add("n", limiter={"max": 1, "duration": 5, "key": given_}),
        lambda: queue.add("n", deduplication={"id": name}),
        lambda: queue.get_job(name),
    ):
        with pytest.raises(StratixError):
            step()
    assert queue.get_job_counts()["waiting"] == 0
    assert app.queue.store.queries.queues() == []


CONTROL = ["a\nb", "a\x00", "\x1b[31m", "a\x85b", "a\u2028b", "\ud800", "a" * 201, "", 5, None]


@pytest.mark.parametrize("name", CONTROL, ids=lambda name: repr(name)[:20])
def test_bad_names_of_queues_jobs_events_and_locks(app: Application, name: Any) -> None:
    queue = app.queue.get_queue("good")
    for step in (
        lambda: app.queue.get_queue(name),
        lambda: queue.add(name),
        lambda: queue.add_bulk([{"name": "n"}, {"name": name}]),
        lambda: app.queue.add_flow({"name": name, "queue": "good"}),
        lambda: queue.process(name if name is not None else 5, lambda job: None),
        lambda: app.queue.emit(name),
        lambda: app.distributed_lock.acquire(name, 1000),
        lambda: app.queue.create_queue("dead", dead_letter=name or "\n"),
        lambda: create_app({"namespace": name or ""}).queue,
    ):
        with pytest.raises(ConfigurationError):
            step()
    assert app.queue.store.queries.queues() == []


# -- what runs goes on ----------------------------------------------------------------------------


def test_listeners_hear_what_comes_after_an_event_that_cannot_be_read(app: Application) -> None:
    queue, heard = app.queue.get_queue("heard"), list[Any]()
    job = queue.add("n", delay=600_000)
    queue.on("progress", lambda job, value: heard.append(value))
    for value in ("{no", DEEP[:INLINE_RESULT_BYTES], "5"):
        app.queue.store.events.append("heard", "progress", job.id, value)
    until(lambda: heard == [5])


def test_a_job_whose_options_cannot_be_read_fails_and_the_next_one_runs(app: Application) -> None:
    queue = app.queue.get_queue("options")
    bad = [
        NewJob(id=f"bad{number}", queue="options", name="n", options=text, max_attempts=3)
        for number, text in enumerate(["{no", DEEP, "[]", '{"backoff": 5}', '{"timeout": -1}', '{"timeout": 1e999}'])
    ]
    app.queue.store.transitions.add(bad)
    for one in bad:
        app.queue.engine.driver.publish([Ready(one.id, "options", "n")])
    queue.process(lambda job: "ran")
    assert queue.add("n").wait_until_finished(timeout=10) == "ran"
    until(lambda: queue.get_job_counts()["failed"] == len(bad))
    assert all("options of the job" in (job.failed_reason or "") for job in queue.get_jobs("failed"))


def test_the_clock_goes_on_beside_schedules_that_cannot_be_fired(app: Application) -> None:
    queue = app.queue.get_queue("clock")
    texts_ = [("{no", "{}"), ('{"every_ms":1000}', "{no"), (DEEP, DEEP), ("[]", "[]")]
    for number, (rule, template) in enumerate(texts_):
        bad = Schedule(key=f"clock:{number}", queue="clock", name="n", rule=rule, template=template, next_ms=1)
        app.queue.store.schedules.put(bad)
    queue.process(lambda job: "ran")
    assert queue.add("n", delay=50).wait_until_finished(timeout=10) == "ran"


def test_a_reason_that_utf_8_cannot_say_is_kept(app: Application) -> None:
    queue = app.queue.get_queue("surrogates")

    @queue.process("fail")
    def fail(job: Any) -> None:
        raise OSError("no such file: \udcff")

    queue.process("good", lambda job: "ran")
    failed = queue.add("fail")
    assert queue.add("good").wait_until_finished(timeout=10) == "ran"
    until(lambda: failed.get_state() == "failed")
    assert "no such file: \\udcff" in (failed.failed_reason or "")


def test_a_custom_backoff_calls_only_what_the_worker_registered(app: Application) -> None:
    """The job names ``os:putenv``: a name is looked up among ``backoffs``, and nothing is imported."""
    calls: list[int] = []

    def mine(attempts_made: int) -> int:
        calls.append(attempts_made)
        return 1

    queue = app.queue.create_queue("backoffs", backoffs={"mine": mine})

    @queue.process()
    def fail(job: Any) -> None:
        raise ValueError("no")

    for custom in ("mine", "os:putenv", "tests.hostile:fuzz", "__import__('os').putenv"):
        queue.add("n", attempts=2, backoff={"custom": custom}, job_id=f"b{len(custom)}")
    until(lambda: queue.get_job_counts()["failed"] == 4, 15)
    assert calls == [1]


def test_objects_with_odd_keys_make_no_headers() -> None:
    assert read_headers(SimpleNamespace(task="stratix.job")) == (None, "it has no headers")
