"""The own suite of the shop, with a real worker and beat. It passed before the bridge, and is the same after it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import chain
from shop.app import app
from shop.tasks import fetch_price, ledger, place, remind, ship

HERE = Path(__file__).parent


def until(condition: Callable[[], object], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, ledger().read_text()
        time.sleep(0.02)


def written(line: str) -> int:
    return ledger().read_text().splitlines().count(line)


@pytest.fixture(scope="module", autouse=True)
def worker() -> Iterator[None]:
    ledger().touch()
    command = [sys.executable, "-m", "celery", "-A", "shop.app"]
    quiet = ["--loglevel", "WARNING"]
    processes = [
        subprocess.Popen([*command, "worker", "--concurrency", "2", *quiet], cwd=HERE, env=os.environ),
        subprocess.Popen([*command, "beat", "--schedule", f"{ledger()}.beat", *quiet], cwd=HERE, env=os.environ),
    ]
    yield
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(60)  # a pool of Celery may wait 30 s for the result of a task that it gave up
        except subprocess.TimeoutExpired:
            process.kill()
            if os.environ.get("SHOP_STRATIX"):  # Celery's own beat may miss the signal while it publishes; ours may not
                raise


def test_an_order_is_billed() -> None:
    assert place("first", ["apple", "pear"]).get(timeout=20) == "first: 7"
    assert written("bill first 7") == 1


def test_a_supplier_who_is_away_is_asked_again() -> None:
    assert fetch_price.delay("melon").get(timeout=20) == 9
    assert place("second", ["melon", "apple", "melon"]).get(timeout=20) == "second: 21"


def test_an_order_that_cannot_be_priced_is_cancelled() -> None:
    place("third", ["apple", "unicorn"])
    until(lambda: written("cancel third"))
    assert not written("bill third 3")


def test_a_carrier_who_does_not_answer_is_called_again() -> None:
    assert ship.delay("fourth").get(timeout=20) == "fourth shipped"
    assert written("try fourth") == 2


def test_a_reminder_waits() -> None:
    began = time.monotonic()
    remind.apply_async(("fifth",), countdown=1).get(timeout=20)
    assert time.monotonic() - began >= 0.9
    assert written("remind fifth") == 1


def test_a_chain_hands_on_what_it_knows() -> None:
    assert chain(ship.si("sixth"), fetch_price.si("pear")).delay().get(timeout=20) == 4


def test_an_error_arrives_as_it_was_raised() -> None:
    with pytest.raises(KeyError, match="unicorn"):
        fetch_price.delay("unicorn").get(timeout=20)


def test_beat_counts_the_stock() -> None:
    until(lambda: written("stock") >= 3)


def test_the_worker_answers_where_the_broker_lets_it() -> None:
    with app.connection_for_read() as connection:
        if connection.supports_exchange_type("fanout"):
            until(lambda: app.control.inspect(timeout=1).ping())
