"""Rate limits: a queue's, a job's, a token bucket, one that is shared, and one that a handler finds out about.

Limits are kept in the store, so they hold over all workers of all processes: no window of ``duration`` ever holds more
than ``max`` starts. What has to wait keeps its place, on every driver.
"""

from datetime import timedelta

from stratix_kombu import RateLimited, create_app

app = create_app()
api = app.queue.create_queue("api-calls", concurrency=10, limiter={"max": 5, "duration": 200, "bounceBack": True})
burst = app.queue.create_queue("throttled", concurrency=10, limiter={"max": 3, "refillRate": 50, "initialTokens": 2})
ordered = app.queue.create_queue("ordered", limiter={"max": 2, "duration": 100, "bounce_back": False})
mixed = app.queue.create_queue("mixed", concurrency=10)
few = app.queue.create_queue("few", concurrency=10, global_concurrency=2)

seen = []
refused = []


def partner(job):
    if not refused:
        refused.append(job.id)
        raise RateLimited(timedelta(milliseconds=100))  # "try again later", says the service
    return "answered"


for queue in (api, burst, few):
    queue.process(lambda job: job.name)
ordered.process(lambda job: seen.append(job.data))
mixed.process("partner", partner)
mixed.process(lambda job: job.name)

with app:
    app.start()
    jobs = api.add_bulk([{"name": "call"}] * 10) + burst.add_bulk([{"name": "call"}] * 6)
    jobs += few.add_bulk([{"name": "call"}] * 6) + ordered.add_bulk([{"name": "n", "data": n} for n in range(4)])
    # Jobs of one name have a limit of their own; with a key, queues share it.
    jobs += [mixed.add("high-frequency-task", limiter={"max": 50, "duration": 1000}) for _ in range(3)]
    jobs += [mixed.add("low-frequency-task", limiter={"max": 1, "duration": 50, "key": "low"}) for _ in range(2)]
    called = mixed.add("partner")
    for job in jobs:
        job.wait_until_finished(timeout=60)

    starts = sorted(job.refresh().processed_on or 0 for job in jobs if job.queue_name == "api-calls")
    print(all(later - first >= 200 for first, later in zip(starts, starts[5:], strict=False)))
    print(seen)
    print(called.wait_until_finished(timeout=30), called.refresh().attempts_made)

    api.set_rate_limit(max=1, duration=timedelta(hours=1))  # for all workers, at once; what was started counts
    print(api.get_rate_limit_ttl() > 3_000_000)
    api.set_rate_limit()
    print(api.get_rate_limit_ttl() < 1000)
