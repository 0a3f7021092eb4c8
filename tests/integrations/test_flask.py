"""Flask: the example, its command line, and handlers in its context."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from stratix_kombu import ConfigurationError, Handlers, create_app

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flask"


def test_the_example_adds_jobs_and_its_worker_runs_them(redis_url: str) -> None:
    namespace = f"flask{uuid.uuid4().hex[:8]}"
    environment = {**os.environ, "SHOP_REDIS": redis_url, "SHOP_NAMESPACE": namespace}
    code = "import shop; print(shop.create_app().test_client().post('/users/ada').json['job'])"
    added = subprocess.run(
        [sys.executable, "-c", code], cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=60
    )
    assert added.returncode == 0, added.stderr
    with create_app({"redis": {"url": redis_url}, "namespace": namespace}) as outside:
        job = outside.queue.get_job(added.stdout.strip())
        assert job is not None
        command = [sys.executable, "-m", "flask", "--app", "shop", "stratix", "worker", "--processes", "1"]
        with subprocess.Popen(command, cwd=EXAMPLE, env=environment, stderr=subprocess.PIPE, text=True) as worker:
            try:
                assert job.wait_until_finished(timeout=90) == "welcome, ada"
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.communicate(timeout=90)
        assert worker.returncode == 0


def test_one_application_of_jobs_for_each_of_flask() -> None:
    from flask import Flask

    from stratix_kombu.integrations.flask import Stratix

    handlers = Handlers()
    handlers.process("q", None, lambda job: len(job.data))
    jobs = Stratix(handlers)
    apps = [Flask(name) for name in ("one", "two")]
    for one in apps:
        one.config["STRATIX"] = {"driver": "memory", "namespace": f"flask{uuid.uuid4().hex[:8]}"}
        jobs.init_app(one)
    with apps[0].app_context():
        first = jobs.app
        assert jobs.queue is first.queue
    with apps[1].app_context():
        assert jobs.app is not first
    with pytest.raises(ConfigurationError, match="called for this Flask application already"):
        jobs.init_app(apps[0])
    with Flask("three").app_context(), pytest.raises(ConfigurationError, match="not called for 'three'"):
        _ = jobs.app
    with first:
        first.start()
        assert first.queue.get_queue("q").add("n", "abc").wait_until_finished(10) == 3


def test_handlers_declared_before_and_after_an_application() -> None:
    handlers = Handlers()

    @handlers.process("q", "before")
    def before(job: object) -> str:
        return "before"

    with create_app({"driver": "memory", "namespace": f"h{uuid.uuid4().hex[:8]}"}) as app:
        app.include(handlers)
        app.start()
        after = handlers.process("q", "after", lambda job: "after")
        assert after is not None
        queue = app.queue.get_queue("q")
        assert queue.handler_names == ["after", "before"]
        assert [queue.add(name).wait_until_finished(10) for name in ("before", "after")] == ["before", "after"]
