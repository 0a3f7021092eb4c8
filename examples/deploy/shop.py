"""The application of the image: its settings come from the environment."""

from stratix_kombu import create_app

app = create_app()
emails = app.queue.create_queue("emails", concurrency=10)


@emails.process("welcome")
def welcome(job):
    return f"sent to {job.data}"
