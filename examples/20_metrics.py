"""Metrics: what a queue is doing is collected on a schedule and sent to a monitoring system, exported to Prometheus
by hand from a listener, and measured around `add` by a wrapper with events of its own. By hand is for what is special
to a program: `queue.get_metrics()` and the page of `stratix_kombu.metrics`, at the end, know the rest, over all
processes.
"""

import time
from collections import defaultdict
from dataclasses import asdict

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from stratix_kombu import create_app
from stratix_kombu.metrics import StratixCollector

app = create_app()
emails = app.queue.create_queue("emails", concurrency=4)
emails.process("welcome", lambda job: time.sleep(0.02))
sent = []


# -- basic collection: every minute in earnest ---------------------------------------------------


@app.schedule.interval("1 second", limit=2)
def collect_queue_metrics():
    for queue in app.queue.get_all_queues():
        try:
            status, counts, metrics = queue.get_status(), queue.get_job_counts(), queue.get_metrics(minutes=5)
            sent.append(
                {
                    "queue_name": queue.name,
                    "paused": status.paused,
                    "oldest_waiting_ms": status.oldest_waiting_ms,
                    "counts": counts,
                    "metrics": asdict(metrics.total),
                    "timestamp": time.time(),
                }
            )
        except Exception as error:
            print(f"the metrics of {queue.name} could not be collected: {error}")


# -- Prometheus by hand ----------------------------------------------------------------------------

registry = CollectorRegistry()
queue_size = Gauge("queue_size", "Jobs in the queue", ["queue", "status"], registry=registry)
processing_time = Histogram(
    "job_processing_time",
    "How long jobs ran, in milliseconds",
    ["queue", "job_name"],
    buckets=[10, 50, 100, 500, 1000, 5000, 10_000],
    registry=registry,
)


def update_prometheus_metrics():
    for queue in app.queue.get_all_queues():
        for status, count in queue.get_job_counts().items():
            queue_size.labels(queue.name, status).set(count)


@emails.on("completed")
def observe(job, result):
    processing_time.labels(emails.name, job.name).observe(job.finished_on - job.processed_on)


# -- events and metrics of one's own -----------------------------------------------------------------


class EnhancedQueue:
    """A queue that measures how long adding takes; everything else is the queue's."""

    def __init__(self, queue):
        self.queue = queue
        self._handlers = defaultdict(list)

    def __getattr__(self, name):
        return getattr(self.queue, name)

    def emit_custom_event(self, event, data):
        for handler in self._handlers[event]:
            handler(data)

    def on_custom_event(self, event, handler):
        self._handlers[event].append(handler)

    def add(self, name, data=None, opts=None, **options):
        begin = time.perf_counter()
        job = self.queue.add(name, data, opts, **options)
        duration = (time.perf_counter() - begin) * 1000
        self.emit_custom_event("metrics:add_latency", {"queue": self.queue.name, "name": name, "duration": duration})
        return job


def value(page, sample):
    return next(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(sample + " "))


if __name__ == "__main__":
    latencies = []
    enhanced = EnhancedQueue(emails)
    enhanced.on_custom_event("metrics:add_latency", latencies.append)
    with app:
        app.start()
        jobs = [enhanced.add("welcome", {"number": number}) for number in range(20)]
        for job in jobs:
            job.wait_until_finished(timeout=60)
        count = 'job_processing_time_count{job_name="welcome",queue="emails"}'
        while len(sent) < 2 or value(generate_latest(registry).decode(), count) < 20:
            time.sleep(0.02)
        print(len(sent), sorted(sent[-1]["counts"]))
        print(len(latencies), latencies[0]["queue"], latencies[0]["name"], latencies[0]["duration"] > 0)
        update_prometheus_metrics()
        by_hand = generate_latest(registry).decode()
        print(value(by_hand, 'queue_size{queue="emails",status="completed"}'), value(by_hand, count))

        total = enhanced.get_metrics().total
        print(total.completed, total.failed, total.run.count, total.run.p50_ms >= 15)
        ready = CollectorRegistry()
        ready.register(StratixCollector(app))
        page = generate_latest(ready).decode()
        print(value(page, count), value(page, 'stratix_jobs_completed_total{queue="emails"}'))
        print(app.check_health().ok)
