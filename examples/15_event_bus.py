"""A queue as an event bus: a job is an event, its name the topic, and a handler by name a subscription. Each event is
handled by one worker, with attempts, and waits while no subscriber runs. What every process should merely hear is
emitted with `app.queue.emit`: nobody keeps it, nobody answers for it. The last part wraps a queue to tell how long
adding takes, as events of its own.
"""

import threading
import time

from stratix_kombu import create_app

app = create_app()
other = create_app()  # stands for another process of the same namespace
events = app.queue.create_queue("events", concurrency=4)
events.process(lambda job: f"nobody subscribed to {job.name}")  # without it such events would fail


def publish_event(name, data):
    return events.add(name, {"timestamp": time.time_ns() // 1_000_000, "data": data})


def subscribe_to_event(name, handler):
    events.process(name, lambda job: handler(job.data))


def welcome(event):
    return f"welcome, {event['data']['email']}"


subscribe_to_event("user.registered", welcome)


class TimedQueue:
    """A queue that tells how long adding takes."""

    def __init__(self, queue):
        self.queue = queue

    def add(self, name, data=None, **options):
        begun = time.monotonic()
        job = self.queue.add(name, data, **options)
        duration = (time.monotonic() - begun) * 1000
        app.queue.emit("metrics:add_latency", {"queue": self.queue.name, "name": name, "duration": duration})
        return job


if __name__ == "__main__":
    heard, done = [], threading.Event()

    @other.queue.on("cache.cleared")
    def cleared(key, by):
        heard.append((key, by))

    @other.queue.on("metrics:add_latency")
    def measured(sample):
        heard.append((sample["queue"], sample["name"], 0 < sample["duration"] < 30_000))
        done.set()

    with app, other:
        print(publish_event("user.registered", {"user_id": 123, "email": "ada@example.com"}).wait_until_finished(30))
        print(publish_event("user.left", {"user_id": 123}).wait_until_finished(30))
        app.queue.emit("cache.cleared", "prices", "the importer")
        TimedQueue(events).add("user.left")
        done.wait(30)
        while len(heard) < 2:
            time.sleep(0.01)
        print(sorted(heard))
