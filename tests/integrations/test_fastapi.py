"""FastAPI: the example as a server has it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu.integrations import fastapi
from tests.unit.test_feed import reading
from tests.waiting import WAIT_S

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fastapi" / "shop.py"


@pytest.fixture
def shop() -> Any:
    spec = importlib.util.spec_from_file_location("fastapi_shop", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["fastapi_shop"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fastapi_shop"]


def test_requests_add_jobs_and_wait_for_them(shop: Any) -> None:
    from fastapi.testclient import TestClient

    from stratix_kombu import Closed

    with TestClient(shop.api) as client:
        added = client.post("/users/ada@example.com")
        assert added.status_code == 202
        assert client.get(f"/jobs/{added.json()['job']}").json() == {"result": "sent to ada@example.com"}
        bad = client.post("/users/ada").json()["job"]
        assert client.get(f"/jobs/{bad}").json() == {"failed": "ValueError: ada is no address"}
        assert client.get("/jobs/unknown").status_code == 404
        assert client.get("/jobs/no%20id").status_code == 404
    with pytest.raises(Closed):  # with the server
        shop.emails.add("welcome")


class Browser:
    """A client of one stream, since test clients wait for a response to end."""

    def __init__(self, api: Any, last: str = "") -> None:
        self._api = api
        headers = [(b"last-event-id", last.encode())] if last else []
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": "/events",
            "query_string": b"",
            "headers": headers,
            "app": api,
        }
        self._text = ""
        self._gone = asyncio.Event()
        self.headers: dict[bytes, bytes] = {}
        self.open = asyncio.Event()

    async def __aenter__(self) -> Browser:
        self._task = asyncio.ensure_future(self._api(self._scope, self._receive, self._send))
        await asyncio.wait_for(self.open.wait(), 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        await asyncio.wait_for(asyncio.gather(self._task, return_exceptions=True), 10)

    async def _receive(self) -> dict[str, str]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.headers = dict(message["headers"])
        else:
            self._text += message.get("body", b"").decode()
            self.open.set()

    async def ended(self) -> str:
        """What was sent, once the server has ended the stream by itself."""
        await asyncio.wait_for(asyncio.shield(self._task), WAIT_S)
        return self._text

    async def events(self, number: int) -> list[dict[str, Any]]:
        for _ in range(1000):
            blocks = [block for block in self._text.split("\n\n") if block.startswith("id:")]
            if len(blocks) >= number:
                break
            await asyncio.sleep(0.01)
        found = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
        return [{**one, "data": json.loads(one["data"])} for one in found]


def test_a_browser_follows_what_happens_and_goes_on_after_a_break(shop: Any) -> None:
    async def main() -> None:
        async with shop.life(shop.api):
            async with Browser(shop.api) as browser:
                assert browser.headers[b"content-type"].startswith(b"text/event-stream")
                await reading(shop.emails)
                job = await shop.emails.aio.add("welcome", {"to": "ada@example.com"})
                progress, completed = await browser.events(2)
            assert (progress["event"], progress["data"]["value"]) == ("progress", "writing")
            assert (completed["event"], completed["data"]["value"]) == ("completed", "sent to ada@example.com")
            assert completed["data"]["job_id"] == job.id
            failed = await shop.emails.aio.add("welcome", {"to": "ada"})
            async with Browser(shop.api, last=completed["id"]) as again:
                events = await again.events(2)
            assert [one["event"] for one in events] == ["progress", "failed"]
            assert events[-1]["data"]["value"] == "ValueError: ada is no address"
            assert {one["data"]["job_id"] for one in events} == {failed.id}

    asyncio.run(main())


@pytest.mark.parametrize("last", ["garbage", "1-2-3", "9" * 5000, "12\x00"])
def test_a_browser_that_comes_from_another_store_is_told_what_happens_from_now_on(shop: Any, last: str) -> None:
    """Its cursor cannot be read; after an error it would not ask again."""

    async def main() -> None:
        async with shop.life(shop.api):
            earlier = await shop.emails.aio.add("welcome", {"to": "ada@example.com"})
            await earlier.aio.wait_until_finished(timeout=WAIT_S)
            async with Browser(shop.api, last=last) as browser:
                await reading(shop.emails)
                await shop.emails.aio.add("welcome", {"to": "ada@example.com"})
                assert [one["event"] for one in await browser.events(2)] == ["progress", "completed"]

    asyncio.run(main())


def test_a_server_that_ends_waits_for_no_browser_and_none_misses_what_happens_meanwhile(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server waits for its answers before it closes the application. A browser continues after the last id that it
    was sent, though it has seen no event."""
    monkeypatch.setattr(fastapi, "STREAM_S", 0.2)

    async def main() -> None:
        async with shop.life(shop.api):
            async with Browser(shop.api) as silent:
                last = re.findall(r"^id: (.*)$", await silent.ended(), re.MULTILINE)[-1]
            await shop.emails.add("welcome", {"to": "ada@example.com"}).aio.wait_until_finished(timeout=WAIT_S)
            async with Browser(shop.api, last=last) as again:
                assert [one["event"] for one in await again.events(2)] == ["progress", "completed"]
            async with Browser(shop.api) as other:  # the shop's filter leaves out "paused" and "resumed"
                await reading(shop.emails)
                shop.emails.pause()
                shop.emails.resume()
                newest = shop.emails.get_events()[-1].cursor
                assert newest in await other.ended()

    asyncio.run(main())
