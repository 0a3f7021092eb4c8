"""Values: errors, names, JSON, back-off, window limits, messages, Redis options."""

from __future__ import annotations

import inspect
import json
import math
import pickle
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from stratix_kombu import errors
from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.config.tls import TlsOptions
from stratix_kombu.model.backoff import MAX_DELAY_MS, Backoff, retry_delay
from stratix_kombu.model.bare import bare_record
from stratix_kombu.model.codec import decode, encode
from stratix_kombu.model.limiter import Bucket, Window, ahead_ms
from stratix_kombu.model.message import BODY, TASK, job_id_of, message_headers
from stratix_kombu.model.names import check_job_id, check_job_name, check_queue_name
from stratix_kombu.model.pauses import pause_s
from stratix_kombu.model.record import Limit
from stratix_kombu.model.stalls import failed_by_stalling, stalled_reason
from stratix_kombu.model.state import State

CLASSES = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.StratixError)]
SAMPLES = {
    "str": "text",
    "Iterable[str]": ("a", "b"),
    "int": 5,
    "float": 1.5,
    "str | None": "q",
    "Mapping[str, str]": {"a": "missing"},
}

plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_pickling(cls: type[errors.StratixError]) -> None:
    if "__init__" in vars(cls) or any("__init__" in vars(base) for base in cls.__mro__[:-4]):
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        values = [SAMPLES.get(one.annotation, "text") for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
        error = cls(*values)
    else:
        error = cls("text")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    text = errors.__doc__ or ""
    assert [one.__name__ for one in CLASSES if one.__name__ not in text] == []


@pytest.mark.parametrize("name", ["a", "emails", "a.b-c_d", "0", "x" * 60])
def test_queue_names(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "ü", "a{b}", "x" * 61, "a\n", None, 5, b"a"])
def test_names_no_queue_can_have(name: object) -> None:
    with pytest.raises(errors.ConfigurationError, match="cannot name a queue"):
        check_queue_name(name)


@given(st.text(max_size=210))
def test_ids_and_names_never_hold_what_breaks_keys(text: str) -> None:
    for check in (check_job_id, check_queue_name):
        try:
            accepted = check(text)
        except errors.ConfigurationError:
            continue
        assert not set(accepted) & set("{} \t\r\n\x00'\"%|")
    with suppress(errors.ConfigurationError):
        assert all(ord(one) >= 32 for one in check_job_name(text))


@given(plain_json)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert decode(encode(value, "it")) == value


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", math.nan, math.inf, {1: 2}, {"a": {None: 1}}, [{2: 3}], 1j])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(errors.PayloadNotSerializable, match="it is not a JSON value"):
        encode(value, "it")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            {"user": {"name": "ada", "when": object()}},
            "it is not a JSON value: ['user']['when']: Object of type object",
        ),
        ([1, (2, {"x": math.nan})], "it is not a JSON value: [1][1]['x']: Out of range float"),
        ({"a": ["x", "\ud800"]}, "it is not a JSON value: ['a'][1]: 'utf-8' codec can't encode"),
        ({1: "fine in json", "b": [{(2, 3): 4}]}, "it is not a JSON value: ['b'][0]: keys must be"),
        ({"a": [{"b": {2: 3}}]}, "it is not a JSON value: ['a'][0]['b']: the key 2 is not a string"),
        ({2: 3}, "it is not a JSON value: the key 2 is not a string"),
        (object(), "it is not a JSON value: Object of type object"),
    ],
)
def test_it_says_where_in_a_value_the_part_is_that_is_no_json(value: Any, words: str) -> None:
    with pytest.raises(errors.PayloadNotSerializable) as refused:
        encode(value, "it")
    assert str(refused.value).startswith(words)


def test_cycles_and_lone_surrogates_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (loop, "\ud800"):
        with pytest.raises(errors.PayloadNotSerializable):
            encode(value, "it")


def test_size_is_counted_in_bytes() -> None:
    assert encode("ü" * 4, "it", limit=10) == '"üüüü"'
    with pytest.raises(errors.PayloadTooLarge, match="it has 12 bytes as JSON, which exceeds the limit of 10"):
        encode("ü" * 5, "it", limit=10)


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Backoff("fixed", 100), [100, 100, 100]),
        (Backoff("exponential", 100), [100, 200, 400]),
        (Backoff("exponential", 100, 0.5), [50, 100, 200]),
    ],
)
def test_backoff(backoff: Backoff, delays: list[int]) -> None:
    assert [retry_delay(backoff, made, random_01=1.0) for made in (1, 2, 3)] == delays


@given(st.integers(0, 10**12), st.integers(0, 100_000), st.floats(0, 1))
def test_backoff_has_bounds(delay: int, made: int, jitter: float) -> None:
    found = retry_delay(Backoff("exponential", delay, jitter), made)
    assert 0 <= found <= MAX_DELAY_MS


def take(starts: Window | Bucket, now: int, limit: Limit, started: list[int]) -> None:
    """Start now or a little ahead, or not at all."""
    at = max(now, starts.free_at(limit, now))
    if at <= now + ahead_ms(limit):
        starts.remember(at, limit, now)
        started.append(at)


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(1, 5), st.integers(1, 1000))
def test_no_window_holds_more_than_max(gaps: list[int], most: int, duration: int) -> None:
    limit = Limit("l", most, duration)
    starts, now, started = Window(), 1_000, list[int]()
    for gap in gaps:
        now += gap
        take(starts, now, limit, started)
    for first, after in zip(sorted(started), sorted(started)[most:], strict=False):
        assert after - first >= duration


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(1, 5), st.sampled_from([1, 7.5, 40]))
def test_a_bucket_gives_no_more_than_it_was_given(gaps: list[int], most: int, rate: float) -> None:
    limit = Limit("l", most, refill_per_s=rate, initial=0)
    begin = now = 1_000
    starts, started = Bucket(), list[int]()
    for gap in gaps:
        now += gap
        take(starts, now, limit, started)
    started.sort()
    for number, at in enumerate(started):
        assert number + 1 <= (at - begin) / 1000 * rate + 1e-6
        for other in range(number):
            assert number - other + 1 <= most + (at - started[other]) / 1000 * rate + 1e-6


@given(
    st.lists(st.integers(0, 400), max_size=30),
    st.tuples(st.integers(1, 9), st.sampled_from([0.1, 1, 7.5])),
    st.tuples(st.integers(0, 9), st.sampled_from([1, 1.5, 100])),
)
def test_nothing_waits_longer_for_a_bucket_that_is_larger_or_refilled_faster(
    gaps: list[int], before: tuple[int, float], more: tuple[int, float]
) -> None:
    limit = Limit("l", before[0], refill_per_s=before[1])
    other = Limit("l", before[0] + more[0], refill_per_s=before[1] * more[1])
    starts, now, started = Bucket(), 1_000, list[int]()
    for gap in gaps:
        now += gap
        take(starts, now, limit, started)
    alone = starts.copy().free_at(limit, now)
    assert starts.free_at(other, now) <= max(alone, now)


def test_a_bucket_that_an_earlier_release_wrote_owes_no_more_than_its_content() -> None:
    """It did not say how long a token takes."""
    limit = Limit("l", 4, refill_per_s=2)
    assert Bucket(2_000).free_at(limit, 1_000) == Bucket(2_000, 510).free_at(limit, 1_000) < 1_000
    assert 1_500 < Bucket(500_000).free_at(limit, 1_000) <= 1_000 + 510 + ahead_ms(limit)


def test_the_message_is_one_a_celery_worker_understands() -> None:
    headers = message_headers("id-1", "näme")
    assert (headers["id"], headers["task"], headers["shadow"]) == ("id-1", TASK, "stratix.job (näme)")
    assert json.loads(BODY) == [[], {}, {}]
    assert job_id_of(headers) == "id-1"


@given(st.none() | st.integers() | st.text() | st.dictionaries(st.text(), plain_json) | st.lists(st.text()))
def test_hostile_headers_name_no_job(headers: Any) -> None:
    assert job_id_of(headers) is None
    if isinstance(headers, dict):
        found = job_id_of({**headers, "task": TASK})
        assert found is None or check_job_id(found)


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "127.0.0.1:6379/0"),
        ({"url": "redis://cache:7000/3"}, "cache:7000/3"),
        ({"url": "redis://cache:7000/3", "db": 4}, "cache:7000/4"),
        ({"host": "h", "port": "7001"}, "h:7001/0"),
        ({"url": "sentinel://a:1;sentinel://b:2/2?name=main"}, "sentinel:main@a:1,b:2/2"),
        ({"sentinels": [{"host": "a"}], "name": "main"}, "sentinel:main@a:26379/0"),
        ({"url": "redis+cluster://a:1;b:2"}, "cluster:a:1,b:2"),
        ({"url": "unix:///run/redis.sock?db=2"}, "unix:/run/redis.sock/2"),
        ({"url": "unix://me:word@/run/re%20dis.sock"}, "unix:/run/re dis.sock/0"),
        ({"url": "redis+socket:///run/redis.sock?virtual_host=2"}, "unix:/run/redis.sock/2"),
        ({"host": "/run/redis.sock", "db": 3}, "unix:/run/redis.sock/3"),
        ({"cluster": ["a:1", ("b", 2)]}, "cluster:a:1,b:2"),
    ],
)
def test_redis_addresses(options: dict[str, Any], address: str) -> None:
    assert RedisOptions.parse(options).address == address


def test_redis_credentials_are_never_shown() -> None:
    parsed = RedisOptions.parse({"url": "rediss://me:p%40ss@cache:1/0", "sentinel_password": "hidden"})
    assert (parsed.username, parsed.password, parsed.ssl) == ("me", "p@ss", TlsOptions())
    assert "p%40ss" in parsed.url
    assert "p@ss" not in repr(parsed)
    assert "hidden" not in repr(parsed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hots": "x"}, "did you mean 'host'?"),
        ({"url": "http://x"}, "scheme 'http'"),
        ({"url": "redis://h:99999"}, "port"),
        ({"url": "redis://h/x"}, "database"),
        ({"port": "x"}, "'port' must be a number"),
        ({"sentinels": ["a:1"]}, "needs 'name'"),
        ({"enable_offline_queue": False}, "cannot be switched off"),
        ({"connect_retry_strategy": 5}, "must be a function"),
        ({"ssl": "perhaps"}, "must be true or false"),
        ({"cluster": [5]}, "must list nodes"),
        ({"host": "/run/redis.sock", "ssl": True}, "over a socket"),
    ],
)
def test_redis_options_that_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.ConfigurationError) as refused:
        RedisOptions.parse(options)
    assert words in str(refused.value)


def test_a_job_that_stalled_differs_from_one_that_says_so() -> None:
    """What a handler raises is its own affair, whatever its text is."""
    stalled = replace(
        bare_record("1", "q", "n", State.FAILED), stalled_count=2, failed_reason=stalled_reason(1), stacktrace=None
    )
    assert failed_by_stalling(stalled)
    assert not failed_by_stalling(replace(stalled, stalled_count=0))
    assert not failed_by_stalling(replace(stalled, stacktrace='["Traceback"]'))
    assert not failed_by_stalling(replace(stalled, failed_reason=f"RuntimeError: {stalled_reason(1)}"))


def test_pauses_double_up_to_their_bound() -> None:
    pauses = [pause_s(failures) for failures in range(12)]
    assert pauses[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert pauses[6:] == [5.0] * 6
    assert pause_s(1000, first_s=0.05, longest_s=30.0) == 30.0
