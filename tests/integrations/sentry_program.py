"""A program that has Sentry: what it sends is printed, an item a line. It runs in a process of its own, since the SDK
patches what it finds."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import suppress
from typing import Any

import sentry_sdk
from sentry_sdk.transport import Transport

from stratix_kombu import JobFailed, RateLimited, create_app
from stratix_kombu.integrations.sentry import instrument
from tests.sandbox import around


class Printing(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            # In one piece: several threads write.
            sys.stdout.write(json.dumps({"type": item.type, "payload": item.payload.json}) + "\n")
            sys.stdout.flush()


def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    app = create_app({"driver": "memory"})
    instrument(app)
    sentry_sdk.init(
        dsn="http://key@localhost/1", transport=Printing, traces_sample_rate=1.0, auto_enabling_integrations=False
    )
    queue = app.queue.create_queue("emails", default_job_options={"attempts": 2})
    boxed = app.queue.create_queue("boxed", processor={"sandboxed": True})
    boxed.process(around.failing)
    seen: list[int] = []

    @queue.process("good")
    def good(job: Any) -> str:
        return "sent"

    @queue.process("bad")
    def bad(job: Any) -> None:
        address = job.data["to"]
        raise ConnectionError(f"cannot reach {address}")

    @queue.process("awaited")
    async def awaited(job: Any) -> None:
        await asyncio.sleep(0)
        raise KeyError("awaited")

    @queue.process("held")
    def held(job: Any) -> None:
        seen.append(1)
        if len(seen) == 1:
            raise RateLimited(1)

    app.start()
    with sentry_sdk.start_transaction(op="http.server", name="POST /register"):
        jobs = [queue.add("good"), queue.add("bad", {"to": "ada"})]
    jobs += [queue.add("awaited", attempts=1), queue.add("held"), boxed.add("failing")]
    queue.add_repeatable_job("good", cron="0 3 * * *", key="nightly", timezone="Europe/Berlin")
    jobs.append(queue.run_repeatable_job("nightly"))
    for job in jobs:
        with suppress(JobFailed):
            job.wait_until_finished(30)
    app.close()
    sentry_sdk.flush()


if __name__ == "__main__":
    sys.exit(main())
