"""Clients of boto3: one for all threads of a process, with credentials that are good when they are used."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, DeferredRefreshableCredentials
from botocore.session import Session
from kombu import Connection

from stratix_kombu import forks
from stratix_kombu.drivers.sqs.options import ROLE
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.text import host_and_port

KOMBU_REGION = "us-east-1"
"""Where Kombu looks for a queue if it is told no region, whatever boto3 knows of."""
NO_REGION = (
    "sqs: no region is known: set 'region' of 'aws' (in a file [sqs.aws], or STRATIX_SQS_AWS__REGION), "
    "AWS_DEFAULT_REGION, or a profile of boto3"
)
CONFIG: Mapping[str, Any] = {
    "retries": {"mode": "standard", "total_max_attempts": 1},  # the driver itself tries again, and minds the time
    "max_pool_connections": 50,
}
LONGEST_POLL_S = 20.0


class Clients:
    """Made from Kombu's URL and transport options, which are read with the first use. ``is_kombus``: somebody wrote
    that URL, for whom Kombu's default region applies."""

    def __init__(
        self, url: str, options: Mapping[str, Any], timeout_s: float, tries: int, is_kombus: bool = False
    ) -> None:
        self._url = url
        self._options = options
        self._is_kombus = is_kombus
        self._timeout_s = timeout_s
        self._tries = tries
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self._lock = threading.Lock()
        forks.register(self)

    def after_fork(self) -> None:
        """Closing them waits for locks of their pools; idle HTTP connections say nothing, so they are kept."""
        for client in self._clients.values():
            forks.keep(client)
        self._clients, self._lock = {}, threading.Lock()

    def sqs(self, queue: Mapping[str, Any] | None = None, polls: bool = False) -> Any:
        """The client; for a predefined queue in its own region and with its own keys, if it has some. One that
        ``polls`` waits for an answer longer than the longest poll."""
        own = queue or {}
        key = (str(own.get("region") or ""), str(own.get("access_key_id") or ""), polls)
        with self._lock:
            if key not in self._clients:
                session, arguments = self._session(own)
                for one in (False, True):
                    config = self._config(LONGEST_POLL_S + self._timeout_s if one else None)
                    self._clients[(*key[:2], one)] = session.client("sqs", config=config, **arguments)
            return self._clients[key]

    def close(self) -> None:
        """Close idle connections; the clients can be used again."""
        with self._lock:
            for client in self._clients.values():
                client.close()

    def _session(self, own: Mapping[str, Any]) -> tuple[boto3.Session, dict[str, Any]]:
        """Whose credentials are used, and where the service is."""
        connection = Connection(self._url)
        endpoint = None
        if connection.hostname is not None:
            where = host_and_port(connection.hostname, "" if connection.port is None else connection.port)
            endpoint = f"{'https' if self._options.get('is_secure') else 'http'}://{where.removesuffix(':')}"
        if own.get("access_key_id"):
            session = boto3.Session(
                aws_access_key_id=own["access_key_id"], aws_secret_access_key=own.get("secret_access_key")
            )
        else:
            session = boto3.Session(
                aws_access_key_id=connection.userid,
                aws_secret_access_key=connection.password,
                aws_session_token=self._options.get("session_token") if connection.userid else None,
            )
        region = own.get("region") or self._options.get("region") or session.region_name or self._region_of(endpoint)
        if self._options.get("sts_role_arn"):
            session = self._in_a_role(session, region)
        return session, {"region_name": region, "endpoint_url": endpoint}

    def _region_of(self, endpoint: str | None) -> str:
        """Where nobody names one. A server of one's own has none; otherwise jobs would go where no worker is."""
        if endpoint is None and not self._is_kombus:
            raise ConfigurationError(NO_REGION)
        return KOMBU_REGION

    def _config(self, read_s: float | None = None) -> Config:
        """An answer may take ``read_s`` seconds, by default so that all tries together stay within the time."""
        one_s = self._timeout_s / self._tries
        given = dict(self._options.get("client-config") or {})
        connect_s = min(float(given.get("connect_timeout", one_s)), one_s)
        times = {"connect_timeout": connect_s, "read_timeout": one_s if read_s is None else read_s}
        return Config(**{**CONFIG, **given, **times})

    def _in_a_role(self, source: boto3.Session, region: str) -> boto3.Session:
        """A session whose credentials are those of the role; botocore asks for new ones before they expire."""
        role = self._options.get(ROLE) or {}
        request = {
            "RoleArn": self._options["sts_role_arn"],
            "RoleSessionName": re.sub(r"[^\w+=,.@-]", "-", f"stratix-{socket.gethostname()}")[:64],
            **({"ExternalId": role["external_id"]} if role.get("external_id") else {}),
        }
        sts = source.client("sts", region_name=region, config=self._config())

        def assume() -> dict[str, Any]:
            found = sts.assume_role(**request)["Credentials"]
            return {
                "access_key": found["AccessKeyId"],
                "secret_key": found["SecretAccessKey"],
                "token": found["SessionToken"],
                "expiry_time": found["Expiration"].isoformat(),
            }

        session = Session()
        session.register_component("credential_provider", CredentialResolver([_Role(assume)]))
        return boto3.Session(botocore_session=session)


class _Role(CredentialProvider):
    METHOD = "stratix-assume-role"

    def __init__(self, assume: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self._assume = assume

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(refresh_using=self._assume, method=self.METHOD)
