"""One queue, one handler, one job. The application is configured by arguments, a TOML file or the environment: nothing
here names Redis, SQS or RabbitMQ, so `STRATIX_DRIVER=redis python examples/01_first_job.py` runs it on Redis.
"""

from stratix_kombu import create_app

app = create_app()
emails = app.queue.create_queue("emails", concurrency=10)


@emails.process("welcome")
def send_welcome(job):
    job.update_progress({"step": "writing"})
    job.log(f"writing to {job.data['to']}")
    return f"sent to {job.data['to']}"


if __name__ == "__main__":
    with app:
        app.start()
        job = emails.add("welcome", {"to": "ada@example.com"})
        print(job.wait_until_finished(timeout=30))
        print(job.refresh().get_state(), job.progress, job.get_logs())
