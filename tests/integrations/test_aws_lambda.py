"""AWS Lambda: moto's SQS, and a stand-in for what takes messages from it and calls the function."""

from __future__ import annotations

import importlib.util
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from stratix_kombu import Application, ConfigurationError, create_app, once
from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.registry import known_drivers
from stratix_kombu.integrations.aws_lambda import handler_of, run_messages
from stratix_kombu.lifecycle.claim import take
from tests.services import free_port
from tests.waiting import WAIT_S, until

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "aws_lambda"
ACCOUNT = "arn:aws:sqs:us-east-1:123456789012"


class Runtime:
    """Takes messages of one queue, calls the function with them, and deletes what it does not name."""

    def __init__(self, sqs_url: str, name: str, function: Any) -> None:
        self._sqs = boto3.client(
            "sqs", endpoint_url=sqs_url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
        )
        self._name = name
        self._function = function
        self.url: str = self._sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "0"})["QueueUrl"]

    def send(self, body: str) -> str:
        """The message's id."""
        sent = self._sqs.send_message(QueueUrl=self.url, MessageBody=body)
        return str(sent["MessageId"])

    def call(self, context: Any = None) -> list[str]:
        """One batch; the ids of the messages that stay."""
        received = self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        messages = received.get("Messages", [])
        if not messages:
            return []
        records = [
            {
                "messageId": one["MessageId"],
                "receiptHandle": one["ReceiptHandle"],
                "body": one["Body"],
                "eventSource": "aws:sqs",
                "eventSourceARN": f"{ACCOUNT}:{self._name}",
            }
            for one in messages
        ]
        answer = self._function({"Records": records}, context)
        failed = [one["itemIdentifier"] for one in answer["batchItemFailures"]]
        for one in messages:
            if one["MessageId"] not in failed:
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=one["ReceiptHandle"])
        return failed

    def depth(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(one) for one in found.values())


class Left:
    """A context with so many milliseconds left."""

    def __init__(self, ms: int) -> None:
        self._ends = time.monotonic() + ms / 1000

    def get_remaining_time_in_millis(self) -> int:
        return round((self._ends - time.monotonic()) * 1000)


@pytest.fixture
def app(sqs_url: str, redis_url: str) -> Iterator[Application]:
    aws = {"region": "us-east-1", "credentials": {"access_key_id": "x", "secret_access_key": "y"}}
    namespace = f"fn{uuid.uuid4().hex[:8]}"
    settings: Any = {
        "driver": "sqs",
        "sqs": {"endpoint_url": sqs_url, "aws": aws},
        "store": redis_url,
        "namespace": namespace,
    }
    with create_app(settings) as app:
        yield app


@pytest.fixture
def runtime(app: Application, sqs_url: str) -> Runtime:
    return Runtime(sqs_url, f"{app.queue.settings.namespace}-emails", handler_of(app))


def test_messages_run_jobs(app: Application, runtime: Runtime) -> None:
    emails = app.queue.create_queue("emails")

    @emails.process("welcome")
    def welcome(job: Any) -> str:
        if job.data == "bad" and job.attempts_made == 0:
            raise OSError("away")
        return f"sent to {job.data}"

    @emails.process("awaited")
    async def awaited(job: Any) -> str:
        return "awaited"

    jobs = [emails.add("welcome", "ada"), emails.add("awaited"), emails.add("welcome", "bad", attempts=2)]
    assert runtime.call() == []
    assert runtime.call() == []  # the second attempt has a message of its own
    assert [job.wait_until_finished(WAIT_S) for job in jobs] == ["sent to ada", "awaited", "sent to bad"]
    assert runtime.depth() == 0
    bad = emails.add("welcome", "x" * 10, timeout=1)
    bad.remove()
    assert runtime.call() == []  # nothing is left to run: the message is done


def test_what_is_not_dealt_with_stays(app: Application, runtime: Runtime) -> None:
    emails = app.queue.create_queue("emails")
    emails.process(lambda job: job.data)
    foreign = runtime.send("none of ours")
    job = emails.add("welcome", 1)  # one message, or two, if SQS was slow to answer the first time
    sent = runtime.depth()
    stay = runtime.call(Left(500))  # there is no time for a job
    assert foreign in stay
    assert len(stay) == sent > 1
    assert job.get_state() == "waiting"
    assert runtime.call(Left(60_000)) == [foreign]
    assert job.wait_until_finished(WAIT_S) == 1
    assert runtime.depth() == 1


def test_a_lease_is_what_is_left_of_the_time(
    app: Application, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    emails = app.queue.create_queue("emails")
    emails.process(lambda job: None)
    leases: list[int] = []

    def noted(*arguments: Any, **more: Any) -> Any:
        taken = take(*arguments, **more)
        if taken.claims:
            leases.append(arguments[3])
        return taken

    monkeypatch.setattr(once, "take", noted)
    emails.add_bulk([{"name": "welcome"} for _ in range(2)])
    runtime.call(Left(10_000))
    assert len(leases) == 2
    assert 10_000 >= leases[0] >= leases[1] > 2_000


def test_a_schedule_is_the_clock(app: Application, runtime: Runtime) -> None:
    emails = app.queue.create_queue("emails")
    emails.process(lambda job: job.data)
    job = emails.add("welcome", 1, delay=1)
    handler = handler_of(app)

    def done() -> bool:
        assert handler({"source": "aws.events", "detail-type": "Scheduled Event"}, None) == {"ticked": True}
        runtime.call()
        return job.get_state() == "completed"

    until(done, WAIT_S)


def test_while_the_store_is_away_messages_stay(sqs_url: str) -> None:
    namespace = f"fn{uuid.uuid4().hex[:8]}"
    aws = {"region": "us-east-1", "credentials": {"access_key_id": "x", "secret_access_key": "y"}}
    settings: Any = {
        "driver": "sqs",
        "sqs": {"endpoint_url": sqs_url, "aws": aws},
        "store": {"host": "127.0.0.1", "port": free_port(), "max_retries_per_request": 0},
        "namespace": namespace,
    }
    with create_app(settings) as app:
        app.queue.create_queue("emails").process(lambda job: None)
        runtime = Runtime(sqs_url, f"{namespace}-emails", handler_of(app))
        from stratix_kombu.drivers.sqs.messages import entry_of
        from stratix_kombu.model.record import Ready

        runtime.send(entry_of(Ready("1", "emails", "welcome"), "emails", False)["MessageBody"])
        assert len(runtime.call()) == 1


def test_what_is_refused(app: Application, runtime: Runtime) -> None:
    runtime.send("x")
    with pytest.raises(ConfigurationError, match="no queue of this application with a handler"):
        runtime.call()
    with create_app({"driver": "memory"}) as other, pytest.raises(ConfigurationError, match="for the driver 'sqs'"):
        run_messages(other, {"Records": []})


def test_the_example_and_its_template(sqs_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = yaml.safe_load((FOLDER / "template.yaml").read_text())["Resources"]
    worker = template["Worker"]["Properties"]
    variables = {**worker["Environment"]["Variables"], "STRATIX_STORE": redis_url}
    settings = load_settings(None, {}, variables, known_drivers())
    assert (settings.driver, settings.namespace) == ("sqs", "shop")
    assert template["Emails"]["Properties"]["QueueName"] == "shop-emails"
    assert worker["Events"]["Jobs"]["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STRATIX_SQS_ENDPOINT_URL", sqs_url)
    monkeypatch.setenv("STRATIX_SQS_AWS__REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    module, function = worker["Handler"].split(".")
    spec = importlib.util.spec_from_file_location("lambda_shop", FOLDER / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    shop: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shop)
    with shop.app:
        runtime = Runtime(sqs_url, template["Emails"]["Properties"]["QueueName"], getattr(shop, function))
        job = shop.emails.add("welcome", "ada")
        until(lambda: runtime.call() == [] and job.get_state() == "completed", WAIT_S)
        assert job.refresh().return_value == "sent to ada"
