"""How the PostgreSQL store is named, what its options are, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.registry import known_drivers
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.stores.postgres.options import IDENTIFIER_BYTES, read_options, schema_of
from stratix_kombu.stores.postgres.values import decoder_of, encoded

URL = "postgresql://shop:s%3Acret@db.example:5433/jobs"
TEXT, NUMBER = 25, 20


def test_options_are_in_the_url_or_beside_it() -> None:
    usual = read_options({"url": URL}, "stratix")
    assert (usual.schema, usual.timeout_ms, usual.pool_size, usual.migrate) == ("stratix", 5_000, 8, False)
    assert usual.connect["password"] == "s:cret"
    assert usual.connect["target_session_attrs"] == "read-write"
    said = read_options({"url": f"{URL}?timeout=250&migrate=auto&sslmode=require", "pool_size": 3}, "shop")
    assert (said.schema, said.timeout_ms, said.pool_size, said.migrate) == ("stratix_shop", 250, 3, True)
    assert said.connect["sslmode"] == "require"


def test_an_address_has_no_credentials() -> None:
    options = read_options({"url": URL}, "stratix")
    assert options.address == "postgresql://db.example:5433/jobs"
    assert "cret" not in repr(options)
    several = read_options({"url": "postgresql://u:p@a:1,b:2/jobs"}, "stratix")
    assert several.address == "postgresql://a:1,b:2/jobs"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"url": f"{URL}?migrat=auto"}, "migrat.*'migrate'"),
        ({"url": f"{URL}?migrate=yes"}, "'migrate' must be never or auto"),
        ({"url": f"{URL}?pool_size=1"}, "'pool_size' must be a number of 2 or more"),
        ({"url": f"{URL}?prepare=maybe"}, "'prepare' must be on or off"),
        ({"url": URL, "poolsize": 3}, "unknown option 'poolsize' of the PostgreSQL store"),
        ({"url": "postgresql://u:s%3Acret@[bad/jobs"}, "the URL of the PostgreSQL store"),
    ],
)
def test_what_cannot_be_used(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as raised:
        read_options(given, "stratix")
    assert "cret" not in str(raised.value)


def test_the_schema_of_a_namespace_is_a_name_of_its_own() -> None:
    long = ["n" * 59 + end for end in "ab"]
    schemas = [schema_of(name) for name in (*long, "stratix", "public", "pg_x")]
    assert len(set(schemas)) == len(schemas)
    assert all(len(one) <= IDENTIFIER_BYTES and one.startswith("stratix") for one in schemas)


@pytest.mark.parametrize("text", ["", "a\0b", "\x1a", "\x1a0", "\x1a1\0\x1a0", "é\0😀"])
def test_any_text_comes_back(text: str) -> None:
    (raw,) = encoded([text])
    assert raw is not None
    assert b"\0" not in raw
    assert decoder_of(TEXT)(raw) == text


def test_numbers_and_flags() -> None:
    assert encoded([None, True, False, -5, 1.5]) == [None, b"1", b"0", b"-5", b"1.5"]
    assert decoder_of(NUMBER)(b"-5") == -5


def test_it_is_named_once() -> None:
    names = known_drivers()
    for given in ({"store": URL}, {"driver": URL}, {"driver": "postgresql", "postgresql": {"url": URL}}):
        settings = load_settings(given, environment={}, drivers=names)
        assert settings.driver == "postgresql"
    with pytest.raises(ConfigurationError, match="name two stores") as raised:
        load_settings({"driver": URL, "store": "sqlite:///jobs.db"}, environment={}, drivers=names)
    assert "cret" not in str(raised.value)
    with pytest.raises(ConfigurationError, match="needs to know its database"):
        load_settings({"driver": "postgresql"}, environment={}, drivers=names)
