"""The table of a job's fields: it is complete, and what it says is enough for a field to be stored."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import pytest
from redis import Redis

from stratix_kombu.model.fields import TABLE
from stratix_kombu.model.record import Claim, Deduplication, JobRecord, Limit, NewJob, Retention
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.redis import open_redis_store, scripts
from stratix_kombu.stores.redis.fields import IN_SCRIPTS, said_of
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
    names = Counter(one.name for one in TABLE)
    for kind in (NewJob, JobRecord):
        assert {one.name for one in fields(kind)} - {"id", "fresh"} <= names.keys()
    assert {*names.values(), *Counter(one.wire for one in TABLE).values()} == {1}


def test_so_is_what_the_memory_store_has_and_scripts_have_too() -> None:
    of_memory_alone = {
        "waited_ms",
        "moved_as",
        "new",
        "dependencies",
        "lease_ms",
        "dispatched_ms",
        "dispatched_as",
        "delayed_as",
        "attempts",
        "logs",
        "logged",
    }
    assert {one.name for one in fields(Job)} - of_memory_alone <= {one.name for one in TABLE}


@pytest.mark.parametrize("name", sorted(SAID))
def test_what_a_job_says_is_sent_by_its_name_and_nothing_else(name: str) -> None:
    assert said_of(NewJob(id="a", queue="q", name="n")) == {}
    said = said_of(NewJob(id="a", queue="q", name="n", **{name: SAID[name]}))  # type: ignore[arg-type]
    assert [*said] == [name]


def test_something_is_said_of_each_attribute() -> None:
    assert SAID.keys() == {one.name for one in fields(NewJob)} - APART


def test_the_queue_is_sent_where_it_is_another_one() -> None:
    job = NewJob(id="a", queue="q", name="n")
    assert job_arguments(job, "q") == ("a", "n", "null", "", "")
    assert job_arguments(job, "other")[4] == '{"queue": "q"}'


@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_kept_is_in_the_hash_and_what_is_read_comes_back(redis_url: str, fresh: bool) -> None:
    namespace = f"fields{uuid.uuid4().hex[:8]}"
    store = open_redis_store({"url": redis_url}, namespace=namespace)
    plain = [one for one in TABLE if one.name in SAID and one.plain]
    given = {one.name: SAID[one.name] for one in plain}
    job = NewJob(id=uuid.uuid4().hex, queue="q", name="n", data="[1]", options="{}", fresh=fresh, **given)  # type: ignore[arg-type]
    said = said_of(job)
    assert given.keys() == said.keys()
    store.transitions.add([job])
    with Redis.from_url(redis_url, decode_responses=True) as client:
        there = client.hgetall(f"{{{namespace}}}:job:{job.id}")
    for field in plain:
        value = said[field.name]
        assert there[field.wire] == str(int(value) if isinstance(value, bool) else value), field
    (record,) = store.queries.get([job.id])
    assert record is not None
    for field in plain:
        if field.is_read:
            assert getattr(record, field.name) == given[field.name]
    (claim,) = store.transitions.take("q", "w", 60_000, 1).claims
    assert claim == Claim(claim.token, store.queries.get([job.id])[0])  # type: ignore[arg-type]
    store.close()


def test_what_stands_for_names_in_scripts_is_replaced() -> None:
    used, folder = set[str](), files(scripts.__package__) / "lua"
    for path in (*folder.iterdir(), *(folder / "includes").iterdir()):
        if path.name.endswith(".lua"):
            used |= set(re.findall(r"--\[\[@(\w+)\]\]", path.read_text()))
    assert used == IN_SCRIPTS.keys()
    for path in folder.iterdir():
        if path.name.endswith(".lua"):
            assert not re.search(r"--\[\[@|\b[FE]\.", scripts.source(path.name.removesuffix(".lua"))), path.name
    assert "{ 'name', 'prio', 'data', 'opts'," in scripts.source("claim")
    # A script that cannot read these drops the job: see load.lua.
    assert IN_SCRIPTS["moved"].startswith("'queue', 'name', 'state', 'prio',")


def test_scripts_do_not_spell_the_names_in_the_hash() -> None:
    """Those that are no other word as well: they are said in the table and nowhere else."""
    short = {"prio", "opts", "begun", "msg", "deps", "stalls", "dedup"}
    parts = {"dedup": "queue_key(queue, 'dedup')"}
    for path in sorted(Path(str(files(scripts.__package__) / "lua")).rglob("*.lua")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name in short & set(re.findall(r"'(\w+)'", line)):
                assert name in parts, (path.name, number, line)
            assert not re.search(r"\bjob\.(prio|made|max|msg|dedup|due|created|finished|reason)\b", line), (
                path.name,
                number,
            )


# One more field: a line in the table, and an attribute of what is added and of what is read.
LINE = '    Field("flavour", Kind.TEXT, "fl"),\n'
ATTRIBUTE = '    flavour: str = ""\n'
PROGRAM = """
import sys
from stratix_kombu.model.record import Completion, Failure, NewJob
from stratix_kombu.stores.memory import open_memory_store
from stratix_kombu.stores.redis import open_redis_store
from stratix_kombu.stores.sqlite import open_sqlite_store

redis, namespace, path = sys.argv[1:]
stores = {
    "memory": open_memory_store({"url": "memory://"}, namespace=namespace),
    "redis": open_redis_store({"url": redis}, namespace=namespace),
    "sqlite": open_sqlite_store({"url": "sqlite:///" + path}, namespace=namespace),
}
for name, store in stores.items():
    jobs = [NewJob(id=f"{n}" * 32, queue="q", name="n", flavour="sour", max_attempts=2, fresh=n == 1) for n in range(3)]
    store.transitions.add(jobs[:1] + [NewJob(id="plain", queue="q", name="n")])
    store.transitions.add(jobs[1:2])
    store.transitions.add(jobs[2:])
    claims = store.transitions.take("q", "w", 60_000, 4).claims
    store.transitions.fail([Failure(one.record.id, one.token, "again", retry_ms=0) for one in claims])
    again = store.transitions.take("q", "w", 60_000, 4).claims
    read = store.queries.get([one.record.id for one in claims])
    store.transitions.complete([Completion(one.record.id, one.token, "null") for one in again])
    for each in (claims, again):
        print(name, *sorted(one.record.flavour or "none" for one in each))
    print(name, *sorted(one.flavour or "none" for one in read))
"""


def test_a_field_is_a_line_and_every_store_keeps_it(redis_url: str, tmp_path: Path) -> None:
    there = Path(str(files("stratix_kombu")))
    copy = shutil.copytree(there, tmp_path / there.name, ignore=shutil.ignore_patterns("__pycache__"))
    table, records = copy / "model" / "fields.py", copy / "model" / "record.py"
    changed = table.read_text().replace('    Field("dead_letter"', LINE + '    Field("dead_letter"')
    table.write_text(changed)
    text = records.read_text()
    for last in ("    fresh: bool = False\n", "    cancelled: bool = False\n"):
        assert last in text
        text = text.replace(last, ATTRIBUTE + last, 1)
    records.write_text(text)
    command = [sys.executable, "-c", PROGRAM, redis_url, f"line{uuid.uuid4().hex[:8]}", str(tmp_path / "jobs.db")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    lines = [f"{store} none sour sour sour" for store in ("memory", "redis", "sqlite") for _ in range(3)]
    assert (done.stdout.splitlines(), done.stderr) == (lines, "")
