"""Every page and every action in Chromium, with a real worker, on a server and on a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stratix_kombu import Application
from stratix_kombu.dashboard import Dashboard
from tests.dashboard.browser import Browser, listening, served
from tests.dashboard.shop import DATA, HOSTILE, TURNED, fail_some
from tests.waiting import WAIT_S, until

PHONE = 360


def pages(app: Application) -> dict[str, str]:
    """Each page, with something that it says."""
    (failed,) = fail_some(app)
    work, idle = app.queue.get_queue("work"), app.queue.get_queue("idle")
    done = work.add(f"good {HOSTILE}", DATA)
    done.wait_until_finished(60)
    flow = app.queue.add_flow({"name": "root", "queue": "idle", "children": [{"name": HOSTILE, "queue": "idle"}]})
    one = idle.add_repeatable_job(f"nightly {TURNED}", DATA, cron="30 3 * * *", timezone="Europe/Berlin", key="night")
    return {
        "/": "idle",
        "/?sort=failed&only=failed": "work",
        "/queues/work?state=failed": "ValueError",
        "/queues/work/reasons": "ValueError",
        "/queues/work?state=completed": "good",
        "/queues/idle": "paused",
        "/queues/idle/manage": "Obliterate",
        "/queues/idle/add": "Options",
        "/queues/work/metrics": "How long attempts ran",
        "/queues/work/metrics?span=24h": "p95",
        "/queues/work/metrics?span=31d": "31 days",
        f"/job?id={failed.id}": "Traceback",
        f"/job?id={done.id}": "Result",
        f"/flow?id={flow.root.id}": "As a table",
        "/flows": "0 of 2",
        "/schedules": "30 3 * * *",
        f"/queues/idle/schedule?key={one.key}": "Last runs",
        "/dead-letters": "dead",
        "/workers": "work",
        f"/worker?id={served_by(app)}": "Nothing now",
        "/queues/dead/dead-letters": "By reason",
    }


def served_by(app: Application) -> str:
    """The id of the worker, once it is known."""
    until(lambda: app.queue.get_queue("work").get_workers(), WAIT_S)
    return app.queue.get_queue("work").get_workers()[0].id


UNNAMED = """
return [...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, svg[role=img]")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.textContent.trim() || one.getAttribute("aria-label") || (one.labels && one.labels.length)))
  .map((one) => one.outerHTML)
"""
"""What somebody who cannot see the page would not know what it is for."""


def test_every_page(served_shop: Application, browser: Browser) -> None:
    for path, word in pages(served_shop).items():
        browser.go(path)
        assert word in browser.text, path
        assert "taken" not in browser.driver.title, path
        assert not browser.has("img"), path
        assert "\u202e" not in browser.driver.page_source, path
        assert browser.driver.execute_script(UNNAMED) == [], path
        assert len(browser.driver.find_elements("css selector", "main h1")) == 1, path
        assert browser.problems() == [], path
    browser.width(PHONE)
    for path in pages(served_shop):
        browser.go(path)
        assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= PHONE, path
    browser.go("/job?id=nothing")
    assert "404" in browser.text
    assert all("404" in one for one in browser.problems())


def test_every_action_on_a_job(served_shop: Application, browser: Browser) -> None:
    queue = served_shop.queue.get_queue("idle")
    job = queue.add("patient", DATA, delay=3_600_000, priority=3)
    browser.go(f"/job?id={job.id}")
    browser.fill("/job/delay", delay="2 h")
    assert "The delay was changed" in browser.text
    browser.fill("/job/priority", priority="9")
    assert job.refresh().opts["priority"] == 9
    browser.fill("/job/data")
    assert job.refresh().data == DATA  # what nobody changed is the same, whatever is in it
    browser.fill("/job/data", data='{"n": 2}')
    assert job.refresh().data == {"n": 2}
    browser.press("Duplicate")
    assert "This is the copy" in browser.text
    copy = queue.get_jobs("delayed") + queue.get_jobs("waiting")
    assert sorted(json.dumps(one.data) for one in copy)[-2:] == ['{"n": 2}', '{"n": 2}']
    browser.go(f"/job?id={job.id}")
    browser.press("Run now")
    assert job.get_state() == "waiting"
    browser.fill("/job/cancel", reason=f"no {HOSTILE}")
    assert job.refresh().failed_reason == f"no {HOSTILE}"
    assert f"no {HOSTILE}" in browser.text
    browser.click("details.sure summary")
    browser.press("Remove for sure")
    assert queue.get_job(job.id) is None
    (failed,) = fail_some(served_shop)
    failed.update_data({})
    browser.go(f"/job?id={failed.id}")
    browser.press("Retry")
    until(lambda: failed.get_state() == "completed", WAIT_S)


def test_every_action_on_a_queue(served_shop: Application, browser: Browser) -> None:
    app, queue = served_shop, served_shop.queue.get_queue("idle")
    for job in queue.get_jobs("waiting"):
        job.remove()
    browser.go("/queues/idle/add")
    browser.fill("/queues/idle/add", job_name=f"made {HOSTILE}", data='{"a": 1}', options='{"priority": 2}')
    (job,) = (one for one in queue.get_jobs("waiting") if one.name.startswith("made"))
    assert (job.name, job.data, job.opts["priority"]) == (f"made {HOSTILE}", {"a": 1}, 2)
    browser.go("/queues/idle")
    browser.press("Resume")
    assert not queue.is_paused()
    browser.press("Pause")
    assert queue.is_paused()
    browser.follow("Manage")
    browser.fill("/limiter", max="5", duration="1 min")
    assert queue.get_rate_limit() == {"max": 5, "duration": 60_000}
    assert "5 in 1 min" in browser.text
    browser.follow("Manage")
    browser.fill("/concurrency", most="3")
    assert queue.get_global_concurrency() == 3
    browser.follow("Manage")
    browser.fill("/clean", state="waiting", limit="1")
    assert "1 jobs were deleted" in browser.text
    queue.add("x")
    browser.follow("Manage")
    browser.fill("/drain", delayed="1")
    assert queue.get_job_counts()["paused"] == 0
    doomed = app.queue.create_queue("doomed") if "doomed" not in app.queue.get_queue_names() else None
    assert doomed is not None
    doomed.add("x")
    browser.go("/queues/doomed/manage")
    browser.fill("/obliterate", name="dooomed")
    assert "its name must be typed" in browser.text
    assert all("400" in one for one in browser.problems())
    browser.go("/queues/doomed/manage")
    browser.fill("/obliterate", name="doomed")
    assert "doomed" not in browser.find("table").text
    assert doomed.get_job_counts()["waiting"] == 0


def test_many_jobs_and_dead_letters(served_shop: Application, browser: Browser) -> None:
    queue, idle = served_shop.queue.get_queue("work"), served_shop.queue.get_queue("idle")
    fail_some(served_shop, 4)
    browser.go("/queues/work?state=failed")
    before = queue.get_job_counts()["failed"]
    for number in range(2):
        browser.click("td.pick input", number)
    browser.press("selected", "//fieldset[legend='Remove']")
    assert "Done to 2 jobs" in browser.text
    browser.press("all that match…", "//fieldset[legend='Remove']")
    assert f"{before - 2} jobs match" in browser.text
    browser.press(f"Remove {before - 2} jobs")
    until(lambda: "Finished" in browser.text, WAIT_S)
    assert queue.get_job_counts()["failed"] == 0
    for _ in range(3):
        idle.add("x", delay=3_600_000)
    browser.go("/queues/idle?state=delayed")
    browser.click("th.pick input")
    browser.press("selected", "//fieldset[legend='Cancel']")
    assert idle.get_job_counts()["delayed"] == 0
    letters = served_shop.queue.get_queue("dead").get_job_counts()["waiting"]
    queue.pause()
    browser.go("/dead-letters")
    browser.follow("dead")
    browser.press("Redrive all letters")
    until(lambda: "Finished" in browser.text, WAIT_S)
    assert f"{letters} done" in browser.text
    assert served_shop.queue.get_queue("dead").get_job_counts()["waiting"] == 0
    queue.drain()
    queue.resume()


def test_every_action_on_a_repeatable_job(served_shop: Application, browser: Browser) -> None:
    queue = served_shop.queue.get_queue("idle")
    queue.add_repeatable_job("hourly", DATA, every=3_600_000, key="hour")

    def now() -> Any:
        return next(one for one in queue.get_repeatable_jobs() if one.key == "hour")

    browser.go("/queues/idle/schedule?key=hour")
    browser.press("Run now")
    assert "This is the run" in browser.text
    browser.go("/queues/idle/schedule?key=hour")
    browser.press("Pause")
    assert now().paused
    browser.go("/queues/idle/schedule?key=hour")
    browser.press("Resume")
    assert not now().paused
    browser.go("/queues/idle/schedule?key=hour")
    browser.fill("/schedules/save", cron="15 4 * * *", timezone="Europe/Berlin")
    assert (now().cron, now().data) == ("15 4 * * *", DATA)
    browser.go("/queues/idle/schedule?key=hour")
    browser.click("details.sure summary")
    browser.press("Remove for sure")
    assert "hour" not in [one.key for one in queue.get_repeatable_jobs()]


HIDE = """
window.unseen = true;
window.ticks = 0;
Object.defineProperty(document, "hidden", {configurable: true, get: () => window.unseen});
document.getElementById("refresh").addEventListener("stratix:tick", () => { window.ticks += 1; });
document.dispatchEvent(new Event("visibilitychange"));
return window.ticks;
"""
SHOW = """
window.unseen = false;
document.dispatchEvent(new Event("visibilitychange"));
return window.ticks;
"""


def test_a_page_that_is_hidden_asks_for_nothing(served_shop: Application, browser: Browser) -> None:
    browser.go("/")
    assert browser.driver.execute_script(HIDE) == 0
    assert browser.driver.execute_script(SHOW) >= 1


def test_a_page_is_live(served_shop: Application, browser: Browser) -> None:
    queue = served_shop.queue.get_queue("idle")
    browser.go("/queues/idle?name=lively")
    assert "lively-one" not in browser.text
    queue.add("lively", job_id="lively-one")
    until(lambda: "lively-one" in browser.text, WAIT_S)
    browser.click("td.pick input")
    queue.add("lively", job_id="lively-two")
    browser.go("/queues/idle?name=lively")
    until(lambda: "lively-two" in browser.text, WAIT_S)
    browser.click("#live")
    assert browser.find("#live").text == "Not live"
    browser.click("#live")


def test_who_may_only_look(served_shop: Application, browser: Browser) -> None:
    (failed,) = fail_some(served_shop)
    browser.be("eve")
    for path in ("/queues/work?state=failed", f"/job?id={failed.id}", "/queues/idle/manage", "/schedules"):
        browser.go(path)
        assert not browser.has("main form[method='post']"), path
    browser.go("/queues/idle/add")
    assert "you may not do this" in browser.text
    assert all("403" in one for one in browser.problems())


def test_without_scripts(served_shop: Application, browser: Browser) -> None:
    queue = served_shop.queue.get_queue("work")
    failed = fail_some(served_shop, 2)
    browser.scripts(False)
    browser.go("/queues/work?state=failed")
    assert not browser.find("#live").is_displayed()
    browser.leave(lambda: browser.find("td.id a"))
    assert "Traceback" in browser.text
    browser.go("/queues/work?state=failed")
    browser.press("all that match…", "//fieldset[legend='Remove']")
    assert "jobs match" in browser.text
    browser.leave(lambda: browser.find("main form button"))
    until(lambda: "Finished" in browser.text, WAIT_S)
    assert queue.get_job(failed[0].id) is None
    browser.scripts(True)


@pytest.fixture
def evil(served_shop: Application, browser: Browser) -> Iterator[Callable[[str], str]]:
    """A page of another site, that sends a form to the dashboard as soon as it is opened."""

    def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        target = f"{browser.base}/queues/idle/resume"
        form = f"<form method=post action='{target}'><button>go</button></form>"
        frame = f"<iframe src='{browser.base}/'></iframe>"
        return [(form + (frame if environ["PATH_INFO"] == "/frame" else "")).encode()]

    with listening(page) as port:
        yield lambda path: f"http://localhost:{port}{path}"


def test_another_site_changes_and_frames_nothing(
    served_shop: Application, browser: Browser, evil: Callable[[str], str]
) -> None:
    served_shop.queue.get_queue("idle").pause()
    browser.driver.get(evil("/"))
    browser.press("go", "//body")
    assert "came from another site" in browser.text
    assert served_shop.queue.get_queue("idle").is_paused()
    browser.driver.get(evil("/frame"))
    until(lambda: any("frame" in one for one in browser.problems()), WAIT_S)


def test_a_queue_with_many_jobs(redis_url: str, browser: Browser) -> None:
    from stratix_kombu import create_app

    with create_app({"redis": {"url": redis_url}, "namespace": "many"}) as app:
        queue = app.queue.create_queue("many")
        queue.add_bulk([{"name": "x", "data": {"n": number}} for number in range(100_000)])
        with served(Dashboard(app, authorize=lambda request: "ada")) as url:
            browser.base = url
            browser.go("/")
            assert "100,000" in browser.text
            browser.follow("many")
            assert len(browser.driver.find_elements("css selector", "table.jobs tbody tr")) == 50
            browser.follow("Next page")
            browser.go("/queues/many?name=none")
            assert "looked at" in browser.text
            browser.follow("Look further")
            browser.driver.get("about:blank")
