"""The files for containers: they are what they say, and their commands run."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from stratix_kombu import create_app
from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.registry import known_drivers
from tests.services import free_port
from tests.waiting import WAIT_S, until

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "deploy"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def dockerfile() -> dict[str, list[str]]:
    """Its instructions."""
    text = re.sub(r"\\\n\s*", "", (FOLDER / "Dockerfile").read_text())
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            found.setdefault(name, []).append(rest)
    return found


def container() -> dict[str, Any]:
    (found,) = documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment_of_the_image() -> dict[str, str]:
    words = [word for line in dockerfile()["ENV"] for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


def test_all_say_the_same_of_the_application() -> None:
    image = environment_of_the_image()
    said = {one["name"]: one.get("value", "redis://redis:6379/0") for one in container()["env"]}
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["worker"]
    for environment in ({**image, **said}, {**image, **compose["environment"]}):
        settings = load_settings(None, {}, environment, known_drivers())
        assert (settings.driver, settings.namespace, settings.shutdown_timeout) == ("redis", "shop", 30.0)
        assert settings.metrics is not None
        assert settings.metrics.port == container()["ports"][0]["containerPort"] == int(dockerfile()["EXPOSE"][0])
    assert json.loads(dockerfile()["CMD"][0]) == container()["command"]
    assert said["STRATIX_APP"] == image["STRATIX_APP"]
    assert (FOLDER / "shop.py").name in dockerfile()["COPY"][0]


def test_there_is_time_to_end() -> None:
    deployment, scaled = documents("kubernetes.yaml")
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 30
    assert scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert documents("keda-sqs.yaml")[1]["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    assert compose["services"]["worker"]["stop_grace_period"] == "40s"


def test_the_query_asks_for_what_is_exported() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    from stratix_kombu.metrics import metrics_text

    query = documents("kubernetes.yaml")[1]["spec"]["triggers"][0]["metadata"]["query"]
    (metric,) = re.findall(r"\((\w+)\{", query)
    with create_app({"driver": "memory", "namespace": f"deploy{uuid.uuid4().hex[:8]}"}) as app:
        app.queue.get_queue("emails").add("n")
        found = {one.name: one for one in text_string_to_metric_families(metrics_text(app))}
    assert [one.labels for one in found[metric].samples] == [{"queue": "emails"}]


def test_the_worker_runs_and_answers_the_probes(redis_url: str) -> None:
    port, namespace = free_port(), f"deploy{uuid.uuid4().hex[:8]}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("STRATIX_")},
        **environment_of_the_image(),
        "STRATIX_REDIS_URL": redis_url,
        "STRATIX_NAMESPACE": namespace,
        "STRATIX_METRICS_PORT": str(port),
    }
    command = [str(Path(sys.executable).with_name("stratix-kombu")), *container()["command"][1:]]
    with (
        create_app({"redis": {"url": redis_url}, "namespace": namespace}) as outside,
        subprocess.Popen(command, cwd=FOLDER, env=environment, stderr=subprocess.PIPE, text=True) as worker,
    ):
        try:
            assert outside.queue.get_queue("emails").add("welcome", "ada").wait_until_finished(90) == "sent to ada"
            until(lambda: _probe(port) == 0, WAIT_S)
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                with urlopen(f"http://127.0.0.1:{port}{container()[probe]['httpGet']['path']}", timeout=10) as page:
                    assert page.status == 200
        finally:
            worker.send_signal(signal.SIGTERM)
            _, said = worker.communicate(timeout=90)
    assert worker.returncode == 0, said
    assert _probe(port) != 0
    assert all(json.loads(line) for line in said.splitlines() if line.startswith("{"))


def _probe(port: int) -> int:
    """The image's own health check."""
    (check,) = dockerfile()["HEALTHCHECK"]
    command = json.loads(check.partition("CMD ")[2])
    if not Path("/bin/bash").exists():
        pytest.fail("the health check needs bash")
    script = command[2].replace("9100", str(port))
    return subprocess.run([*command[:2], script], capture_output=True, timeout=30).returncode
