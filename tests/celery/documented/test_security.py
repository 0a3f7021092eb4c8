"""Security: https://docs.celeryq.dev/en/stable/userguide/security.html"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from trustme import KeyType

from tests.celery.beside import beside
from tests.celery.workers import ROOT


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_signed_messages(redis_url: str, tmp_path: Path, pool: str) -> None:
    """ "Enforcing the workers to only accept signed messages, you should set accept_content to ['auth']"."""
    issued = trustme.CA(key_type=KeyType.RSA).issue_cert("127.0.0.1", key_type=KeyType.RSA)
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "worker.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "worker.key"))
    settings = {
        "security_key": str(tmp_path / "worker.key"),
        "security_certificate": str(tmp_path / "worker.pem"),
        "security_cert_store": str(tmp_path / "*.pem"),
        "security_digest": "sha256",
        "task_serializer": "auth",
        "event_serializer": "auth",
        "accept_content": ["auth"],
        "result_accept_content": ["json"],
    }
    with beside(redis_url, redis_url, pool, documented="signed", **settings) as pair:
        answers = []
        for side in (pair.stock, pair.bridge):
            done = subprocess.run(
                [sys.executable, "-m", "tests.celery.documented.signed"],
                cwd=ROOT,
                env=side.project.environment(),
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            answers.append(json.loads(done.stdout))
    assert answers == [[3, 4, 6, 2, ["x", 1], True]] * 2
