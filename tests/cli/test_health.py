"""``health`` and ``metrics`` for probes and Prometheus."""

from __future__ import annotations

import json
from pathlib import Path

from stratix_kombu import Application
from stratix_kombu.model.record import WorkerInfo
from tests.cli.conftest import Cli, call
from tests.waiting import WAIT_S, until


def test_health(app: Application, cli: Cli) -> None:
    alone = cli.call("health")
    assert (alone.exit_code, alone.stderr) == (1, "no worker is present anywhere\n")
    said = ["driver   healthy", "store    healthy", "workers  not healthy", "clock    healthy"]
    assert alone.stdout.splitlines() == said
    assert cli("health", "--workers", "none", "--quiet") == []
    queue = app.queue.create_queue("emails", concurrency=4)
    queue.process(lambda job: None)
    with app:
        app.start()
        until(lambda: [one.idle_ms is not None for one in queue.get_workers()] == [True], WAIT_S)
        shown = cli("health", "--workers", "host")
        assert shown[2] == "workers  healthy"
        assert shown[4].split() == ["queue", "worker", "concurrency", "stuck", "took", "messages", "ago"]
        assert (shown[5].split()[0], shown[5].split()[2]) == ("emails", "4")
        result = json.loads("\n".join(cli("health", "--json")))
        assert (result["ok"], result["problems"], result["workers"][0]["queue"]) == (True, [], "emails")
        away = WorkerInfo(id="away", queue="emails", host="elsewhere", pid=1, concurrency=1, idle_ms=60_000)
        app.queue.store.transitions.renew([away], [], 30_000)
        late = cli.call("health", "--quiet")
        assert (late.exit_code, late.output) == (1, "")
        assert cli("health", "--within", "5 minutes", "--quiet") == []


def test_what_does_not_answer(tmp_path: Path) -> None:
    file = tmp_path / "away.toml"
    file.write_text('driver = "memory"\nstore = "redis://127.0.0.1:1/0"\n')
    result = call("health", "--config", str(file))
    assert result.exit_code == 1
    assert "the store does not answer" in result.stderr


def test_for_prometheus(app: Application, cli: Cli) -> None:
    app.queue.get_queue("emails").add("n")
    assert 'queue_size{queue="emails",status="waiting"} 1.0' in cli("metrics", "--prometheus")
    assert "in Prometheus's format" in cli.refused("metrics", "emails", "--prometheus", code=2)
    assert "is not in the range" in cli.refused("metrics", "--serve", "99999", code=2)
