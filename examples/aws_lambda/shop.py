"""A Lambda function: jobs of the queue "emails" on SQS, in a store on Redis. ``template.yaml`` says what it needs."""

from stratix_kombu import create_app
from stratix_kombu.integrations.aws_lambda import handler_of

app = create_app()  # STRATIX_DRIVER=sqs and STRATIX_STORE=rediss://... are in the function's environment
emails = app.queue.create_queue("emails")


@emails.process("welcome")
def welcome(job):
    return f"sent to {job.data}"


handler = handler_of(app)
