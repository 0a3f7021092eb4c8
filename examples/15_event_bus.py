"""A queue as an event bus: a job is an event, its name the topic, and a handler by name a subscription. Each event is
handled by one worker, with attempts, and waits while no subscriber runs. What every process should merely hear is
emitted with `app.queue.emit`: nobody keeps it, nobody answers for it.
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


if __name__ == "__main__":
    heard, done = [], threading.Event()

    @other.queue.on("cache.cleared")
    def cleared(key, by):
        heard.append((key, by))
        if key == "users":
            done.set()

    with app, other:
        app.start()
        other.start()
        print(publish_event("user.registered", {"user_id": 123, "email": "ada@example.com"}).wait_until_finished(30))
        print(publish_event("user.left", {"user_id": 123}).wait_until_finished(30))
        app.queue.emit("cache.cleared", "prices", "the importer")
        app.queue.emit("cache.cleared", "users", None)
        done.wait(30)
        print(heard)
