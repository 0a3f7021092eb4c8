"""Session tokens, and roles whose credentials expire."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from stratix_kombu import DriverUnavailable
from stratix_kombu.drivers.sqs import SQSDriver
from stratix_kombu.testing.drivers import ready
from tests.sqs.conftest import CREDENTIALS
from tests.sqs.front import Front, Request

Make = Callable[..., SQSDriver]
ROLE = "arn:aws:iam::123456789012:role/worker"


def _tokens(front: Front) -> list[str]:
    return [one.headers.get("X-Amz-Security-Token", "") for one in front.requests if one.action == "SendMessageBatch"]


def test_the_token_of_temporary_credentials_is_sent(make: Make, front: Front) -> None:
    make(aws={"region": "us-east-1", "credentials": {**CREDENTIALS, "sessionToken": "t0ken/+="}}).publish(ready("q", 1))
    assert _tokens(front) == ["t0ken/+="]


def test_a_role_that_cannot_be_assumed(make: Make, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", front.url)
    front.denied = {"AssumeRole"}
    driver = make(role_to_assume=ROLE)
    assert driver.check_health() is False
    with pytest.raises(DriverUnavailable, match=r"AccessDenied.*AssumeRole"):
        driver.publish(ready("q", 1))


def test_the_token_of_a_role_is_not_logged(make: Make, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", front.url)
    front.fault = lambda request: (403, "SignatureDoesNotMatch") if request.action == "CreateQueue" else None
    with pytest.raises(DriverUnavailable, match=r"x-amz-security-token:\*\*\* and so on") as refused:
        make(role_to_assume=ROLE).publish(ready("q", 1))
    token = front.requests[-1].headers["X-Amz-Security-Token"]
    assert token
    assert token not in str(refused.value)


@pytest.mark.parametrize(("minutes", "assumed"), [(60, 1), (5, 3)])
def test_a_role_is_assumed_again_before_its_credentials_expire(
    make: Make, front: Front, monkeypatch: pytest.MonkeyPatch, minutes: int, assumed: int
) -> None:
    def expire(request: Request, answer: bytes) -> bytes:
        at = (datetime.now(timezone.utc) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        return re.sub(rb"<Expiration>[^<]*", b"<Expiration>" + at, answer)

    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", front.url)
    front.change_answer = expire
    driver = make(role_to_assume={"arn": ROLE, "externalId": "for-you"})
    for _ in range(3):
        driver.publish(ready("q", 1))
    # With five minutes left they are renewed before each use; with an hour, not at all.
    requests = [one for one in front.requests if one.action == "AssumeRole"]
    assert len(requests) >= assumed
    assert (len(requests) == 1) == (assumed == 1)
    assert "ExternalId=for-you" in requests[0].body
    assert "worker" in requests[0].body
    tokens = _tokens(front)
    assert all(tokens)
    assert len(set(tokens)) == assumed


def test_without_a_region_nothing_goes_to_one_that_nobody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are told theirs would not find it there. Whoever writes a URL for Kombu gets Kombu's region."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(DriverUnavailable, match=r"no region is known: set 'region' of 'aws'.* AWS_DEFAULT_REGION"):
        SQSDriver({"aws": {"credentials": CREDENTIALS}}, namespace="n").publish(ready("q", 1))
    regions = {
        "url": {"url": "sqs://x:y@"},
        "given": {"aws": {"region": "eu-west-1", "credentials": CREDENTIALS}},
        "own server": {"endpoint_url": "http://localhost:4566", "aws": {"credentials": CREDENTIALS}},
    }
    made = {name: SQSDriver(options, namespace="n") for name, options in regions.items()}
    found = {name: one.clients.sqs().meta.region_name for name, one in made.items()}
    assert found == {"url": "us-east-1", "given": "eu-west-1", "own server": "us-east-1"}
