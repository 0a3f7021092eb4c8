"""An application over memory, and its dashboard."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from stratix_kombu import Application, create_app
from stratix_kombu.dashboard import Dashboard
from tests.dashboard.asking import Asking
from tests.dashboard.browser import Browser, served
from tests.dashboard.shop import open_shop


@pytest.fixture
def app() -> Iterator[Application]:
    with create_app({"driver": "memory", "namespace": f"d{uuid.uuid4().hex[:12]}"}) as app:
        yield app
        for name in app.queue.get_queue_names():
            app.queue.get_queue(name).obliterate(force=True)


@pytest.fixture
def ops(app: Application) -> Asking:
    """Somebody who may do everything."""
    return Asking(Dashboard(app, authorize=lambda request: "ops"))


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def browser(_chromium: Browser) -> Iterator[Browser]:
    """Whoever looks is called ada. Of what a test has not asked for, nothing may be complained of."""
    _chromium.be("")
    _chromium.scripts(True)
    _chromium.width(0)
    _chromium.problems()
    yield _chromium
    _chromium.driver.get("about:blank")  # it refreshes no more
    assert _chromium.problems() == []


@pytest.fixture(scope="module", params=["redis", "sqlite"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """A started application with every kind of thing to be seen, on a store of its own."""
    namespace = f"d{uuid.uuid4().hex[:12]}"
    if request.param == "redis":
        settings = {"redis": {"url": request.getfixturevalue("redis_url")}, "namespace": namespace}
    else:
        settings = {"store": f"sqlite:///{tmp_path_factory.mktemp('shop') / 'jobs.db'}?synchronous=off"}
    with create_app(settings) as app:  # type: ignore[arg-type]
        open_shop(app)
        app.start()
        yield app


@pytest.fixture
def served_shop(shop: Application, browser: Browser) -> Iterator[Application]:
    """The same, with the browser at its dashboard. Eve may only look; she is told so by the header of her name."""
    board = Dashboard(
        shop,
        authorize=lambda request: request.headers.get("x-user", "ada"),
        may=lambda user, action, queue: user == "ada" or action == "view",
    )
    with served(board) as url:
        browser.base = url
        yield shop
        browser.driver.get("about:blank")
