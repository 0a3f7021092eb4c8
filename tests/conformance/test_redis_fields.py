"""The table of a job's fields on Redis: it is complete, and what it says is enough for a field to be stored."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from dataclasses import fields
from importlib.resources import files

import pytest
from redis import Redis

from stratix_kombu.model.record import Claim, Deduplication, JobRecord, Limit, NewJob, Retention
from stratix_kombu.stores.redis import open_redis_store, scripts
from stratix_kombu.stores.redis.fields import IN_SCRIPTS, TABLE, said_of
from stratix_kombu.stores.redis.records import job_arguments

APART = {"id", "queue", "name", "data", "options", "fresh"}
"""What scripts are sent apart, or not at all."""
SAID = {
    "priority": 3,
    "delay_ms": 5,
    "due_ms": 4_000_000_000_000,
    "max_attempts": 4,
    "dependencies": ("d", "d"),
    "optional": True,
    "keep_completed": Retention(count=1),
    "keep_failed": Retention(age_ms=60_000),
    "limit": Limit("key", 1, 1_000),
    "deduplication": Deduplication("once"),
    "dead_letter": "dead",
    "message": '{"properties":{}}',
    "max_stalled": 0,
    "vacant": True,
    "carries": ("c",),
    "forward": True,
    "anew": True,
    "kind": "run",
    "group": "tenant",
}
"""Something that is not so for a job that says nothing, of each attribute."""


def test_each_attribute_of_a_record_is_in_the_table_once() -> None:
    assert Counter(one.record for one in TABLE if one.record) == Counter(
        one.name for one in fields(JobRecord) if one.name != "id"
    )
    assert max(Counter(one.word for one in TABLE).values()) == 1


def test_so_is_each_attribute_of_a_job_that_is_added() -> None:
    given = Counter(one.given for one in TABLE if one.given)
    assert given == Counter(one.name for one in fields(NewJob) if one.name not in APART)
    assert given.keys() == SAID.keys()


@pytest.mark.parametrize("name", sorted(SAID))
def test_what_a_job_says_is_written_and_nothing_else(name: str) -> None:
    (field,) = (one for one in TABLE if one.given == name)
    assert said_of(NewJob(id="a", queue="q", name="n")) == {}
    said = said_of(NewJob(id="a", queue="q", name="n", **{name: SAID[name]}))  # type: ignore[arg-type]
    assert [*said] == [field.word]


def test_the_queue_is_sent_where_it_is_another_one() -> None:
    job = NewJob(id="a", queue="q", name="n")
    assert job_arguments(job, "q") == ("a", "n", "null", "", "")
    assert job_arguments(job, "other")[4] == '{"queue": "q"}'


@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_kept_is_in_the_hash_and_what_is_read_comes_back(redis_url: str, fresh: bool) -> None:
    namespace = f"fields{uuid.uuid4().hex[:8]}"
    store = open_redis_store({"url": redis_url}, namespace=namespace)
    plain = {one.given: SAID[one.given] for one in TABLE if one.given and one.plain}
    job = NewJob(id=uuid.uuid4().hex, queue="q", name="n", data="[1]", options="{}", fresh=fresh, **plain)  # type: ignore[arg-type]
    store.transitions.add([job])
    with Redis.from_url(redis_url, decode_responses=True) as client:
        there = client.hgetall(f"{{{namespace}}}:job:{job.id}")
    for field in TABLE:
        if field.given in plain:
            value = field.write(plain[field.given])
            assert there[field.word] == str(int(value) if isinstance(value, bool) else value), field.word
    (record,) = store.queries.get([job.id])
    assert record is not None
    for field in TABLE:
        if field.given in plain and field.record:
            assert getattr(record, field.record) == plain[field.given]
    (claim,) = store.transitions.take("q", "w", 60_000, 1).claims
    assert claim == Claim(claim.token, store.queries.get([job.id])[0])  # type: ignore[arg-type]
    store.close()


def test_lists_in_scripts_are_those_of_the_table() -> None:
    used = set()
    folder = files(scripts.__package__) / "lua"
    for place in (folder, folder / "includes"):
        for one in place.iterdir():
            if one.name.endswith(".lua"):
                used |= set(re.findall(r"--\[\[@words (\w+)\]\]", one.read_text()))
    assert used == IN_SCRIPTS.keys()
    assert "@words" not in scripts.source("claim") + scripts.source("add")
    assert "{ 'name', 'data', 'opts', 'prio'," in scripts.source("claim")
