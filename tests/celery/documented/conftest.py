"""Two workers for a page and a host, with the settings that the page's test names ``CONF``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.celery.beside import Beside, beside
from tests.celery.conftest import broker_on
from tests.celery.documented.statements import Statement

Trial = Callable[[str, Statement], None]


@pytest.fixture(scope="module")
def trial(request: pytest.FixtureRequest) -> Iterator[Trial]:
    """Tries a statement on a host. The workers are those of the statement before, if that was on the same host."""
    conf = {"documented": "tasks", **getattr(request.module, "CONF", {})}
    pairs: dict[str, Beside] = {}
    with ExitStack() as workers, ThreadPoolExecutor(1) as stock, ThreadPoolExecutor(1) as bridge:

        def try_one(host: str, statement: Statement) -> None:
            if host not in pairs:
                workers.close()
                pairs.clear()
                transport, pool = host.split("-")
                store = request.getfixturevalue("redis_url")
                pools = ("prefork", 4, "", "own") if pool == "own" else (pool,)
                pairs[host] = workers.enter_context(beside(broker_on(transport, request), store, *pools, **conf))
            statement.check(pairs[host], [stock, bridge])

        yield try_one
