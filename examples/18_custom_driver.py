"""Custom drivers. `QueueDriver` is the documented interface for drivers that replace everything: they create queues of
their own, and may use `async def`. `KombuDriver` is the short way: any transport of Kombu becomes a driver with a URL
and its options, and all features of the queues come with the store; here messages are files in a folder.
`stratix_kombu.testing.drivers.DriverSuite` shows whether a driver keeps the contract. Redis, RabbitMQ and SQS are built
in, and configured like the custom ones."""

import tempfile
from pathlib import Path
from typing import Any

from stratix_kombu import KombuDriver, QueueDriver, QueueInstance, create_app, queue_plugin, register_queue_driver


class MyCustomQueue(QueueInstance):
    """A queue of the driver's own: it may have any of the methods of Queue, and runs its jobs at once."""

    def __init__(self, name, options):
        self.name = name
        self.options = options
        self.handler = lambda data: None
        self.results = []

    def process(self, handler):
        self.handler = handler

    def add(self, name, data=None, opts=None):
        self.results.append(self.handler(data))
        return self.results[-1]

    def close(self, timeout=None):
        return True


class MyCustomQueueDriver(QueueDriver):
    """Nothing of the package below `app.queue` is used."""

    def __init__(self, options):
        self.options = options
        self.open = False

    async def init(self):
        self.open = True

    def create_queue(self, name, options):
        return MyCustomQueue(name, {**self.options, **options})

    async def close(self):
        self.open = False

    def get_name(self):
        return "custom"

    async def check_health(self):
        return self.open


class FolderDriver(KombuDriver):
    """Messages are files; option: `folder`."""

    name = "folder"
    known_options = frozenset({"folder"})

    def connect_options(self):
        folders = {}
        for key in ("data_folder_in", "data_folder_out", "processed_folder", "control_folder"):
            folder = Path(self.options["folder"]) / ("messages" if key.startswith("data") else key)
            folder.mkdir(parents=True, exist_ok=True)
            folders[key] = str(folder)
        return "filesystem://", folders


register_queue_driver("custom", lambda options: MyCustomQueueDriver(options))
register_queue_driver("folder", lambda options: FolderDriver(options, namespace="example"))

if __name__ == "__main__":
    app = create_app()
    app.register(queue_plugin, driver="custom", custom={"colour": "red"})
    with app:
        app.start()
        queue: Any = app.queue.create_queue("tasks", size=5)  # an instance of MyCustomQueue
        queue.process(lambda data: data * 2)
        print(queue.add("double", 21), queue.options, app.queue.check_health()["driver"])

    with tempfile.TemporaryDirectory() as folder:
        app = create_app()
        # Kombu may read a file that is still being written, and loses it then: the store notices soon, and sends again.
        app.register(
            queue_plugin,
            driver="folder",
            folder={"folder": folder},
            store="memory://",
            worker={"redelivery_grace": 1000},
        )
        queue = app.queue.create_queue("tasks", concurrency=5)
        queue.process("double", lambda job: job.data * 2)
        queue.process("sum", lambda job: sum(job.get_dependency_results().values()))
        parts = [queue.add("double", number) for number in range(5)]
        print(len(list(Path(folder, "messages").iterdir())), "messages in", app.queue.describe())
        with app:
            app.start()
            print(queue.add("sum", dependencies=parts, delay=50).wait_until_finished(timeout=30))

    aws = {"region": "us-east-1", "credentials": {"accessKeyId": "YOUR_ACCESS_KEY", "secretAccessKey": "YOUR_SECRET"}}
    app = create_app()
    app.register(queue_plugin, driver="sqs", sqs={"aws": aws}, store="memory://")
    print(app.queue.describe())
    app.close()
