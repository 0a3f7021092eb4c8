"""Several Redis servers that belong together: a master and its replica, Sentinel with both, a cluster."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests.services import end, free_port, require, start_redis, wait_for_port
from tests.waiting import until

PASSWORD = "data-s3cret"
SENTINEL_PASSWORD = "sentinel-s3cret"
MASTER = "mymaster"
DOWN_AFTER_MS = 500


@dataclass
class Pair:
    """A master and its replica, which can change places; no client hears of it."""

    master: int
    replica: int
    """Their ports."""

    @property
    def url(self) -> str:
        """Of the server that is the master now."""
        return f"redis://127.0.0.1:{self.master}/0"

    def swap(self) -> None:
        """The replica has all that was written before. Open connections to both stay as they are."""
        with Redis(port=self.master) as master, Redis(port=self.replica) as replica:
            master.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
            until(lambda: _offset(master) == _offset(replica), 30)
            replica.replicaof("NO", "ONE")
            master.replicaof("127.0.0.1", str(self.replica))
            master.execute_command("CLIENT", "UNPAUSE")
        self.master, self.replica = self.replica, self.master


def _offset(server: Any) -> int:
    found = server.info("replication")
    return int(found["slave_repl_offset"] if found["role"] == "slave" else found["master_repl_offset"])


@contextmanager
def redis_pair() -> Iterator[Pair]:
    """Ready: the replica follows."""
    pair = Pair(free_port(), free_port())
    with tempfile.TemporaryDirectory(prefix="stratix-pair-") as folder:
        quick = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]
        processes = [start_redis(folder, pair.master, *quick)]
        try:
            wait_for_port(pair.master, processes[0])
            processes.append(start_redis(folder, pair.replica, *quick, "--replicaof", f"127.0.0.1 {pair.master}"))
            wait_for_port(pair.replica, processes[1])
            with Redis(port=pair.replica) as replica:
                until(lambda: replica.info("replication").get("master_link_status") == "up", 30)
            yield pair
        finally:
            for process in processes:
                end(process)


@dataclass
class SentinelServers:
    """A master, its replicas and three sentinels, all with passwords; two sentinels must agree."""

    ports: list[int]
    """Of the servers; the first begins as the master."""
    sentinels: list[int]
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """The options as documented."""
        return {
            "sentinels": [{"host": "127.0.0.1", "port": port} for port in self.sentinels],
            "name": MASTER,
            "sentinelPassword": SENTINEL_PASSWORD,
            "password": PASSWORD,
        }

    def client(self, port: int) -> Any:
        secret = SENTINEL_PASSWORD if port in self.sentinels else PASSWORD
        return Redis(port=port, password=secret, decode_responses=True)

    def master(self) -> int:
        """The port of the server that the first sentinel takes for the master."""
        with self.client(self.sentinels[0]) as sentinel:
            return int(sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])

    def replicated(self) -> bool:
        """Whether the replica has all that the master had when this was asked."""
        with self.client(self.master()) as client:
            client.set("marker", "1")  # WAIT is about what its own connection has written, and so all before it
            return int(client.wait(1, 60_000)) == 1

    def planned_failover(self) -> int:
        """Begin one; the port of the master until now, which goes on taking writes for about ten seconds."""
        port = self.master()
        with self.client(self.sentinels[0]) as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", MASTER)
        return port

    def kill_master(self) -> int:
        """Kill the master without any chance to tidy up; its port."""
        port = self.master()
        self.processes[port].kill()
        self.processes[port].wait()
        return port


@contextmanager
def sentinel_servers(replicas: int = 1) -> Iterator[SentinelServers]:
    """Ready: the replicas follow, and each sentinel knows them and the other sentinels."""
    servers = SentinelServers([free_port() for _ in range(1 + replicas)], [free_port() for _ in range(3)])
    with tempfile.TemporaryDirectory(prefix="stratix-sentinel-") as folder:
        try:
            first, *others = servers.ports
            common = ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"]
            servers.processes[first] = start_redis(folder, first, *common)
            for port in others:
                servers.processes[port] = start_redis(folder, port, *common, "--replicaof", f"127.0.0.1 {first}")
            for port in servers.sentinels:
                servers.processes[port] = _start_sentinel(Path(folder), port, first)
            for port, process in servers.processes.items():
                wait_for_port(port, process)
            until(lambda: all(_knows_all(servers, port) for port in servers.sentinels), 60)
            yield servers
        finally:
            for process in servers.processes.values():
                end(process)


def _start_sentinel(folder: Path, port: int, master: int) -> subprocess.Popen[bytes]:
    file = folder / f"sentinel-{port}.conf"
    file.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nrequirepass {SENTINEL_PASSWORD}\n"
        f"sentinel sentinel-pass {SENTINEL_PASSWORD}\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {master} 2\nsentinel auth-pass {MASTER} {PASSWORD}\n"
        f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\nsentinel failover-timeout {MASTER} 5000\n"
    )
    binary = require("redis-server")
    return subprocess.Popen([binary, str(file), "--sentinel"], stdout=subprocess.DEVNULL)


def _knows_all(servers: SentinelServers, port: int) -> bool:
    with suppress(RedisError), servers.client(port) as sentinel:
        known = sentinel.sentinel_master(MASTER)
        replicas = sentinel.sentinel_slaves(MASTER)
        followed = [one for one in replicas if one["master-link-status"] == "ok"]
        all_follow = len(followed) == len(servers.ports) - 1
        return bool(known["num-other-sentinels"] == 2 and all_follow and not known["is_odown"])
    return False


@dataclass
class ClusterServers:
    """Three nodes, each with a third of the slots."""

    ports: list[int]
    password: str

    @property
    def options(self) -> dict[str, Any]:
        """The options as documented."""
        nodes = [{"host": "127.0.0.1", "port": port} for port in self.ports]
        return {"cluster": nodes, "options": {"redisOptions": {"password": self.password}}}

    def client(self, port: int) -> Any:
        return Redis(port=port, password=self.password, decode_responses=True)

    def owner(self, slot: int) -> int:
        """The port of the node that a slot belongs to."""
        with self.client(self.ports[0]) as client:
            for low, high, master, *_ in client.execute_command("CLUSTER SLOTS"):
                if low <= slot <= high:
                    return int(master[1])
        raise AssertionError(f"no node has the slot {slot}")

    def slot(self, key: str) -> int:
        with self.client(self.ports[0]) as client:
            return int(client.execute_command("CLUSTER KEYSLOT", key))

    def begin_move(self, slot: int, target: int) -> None:
        """From now on the slot is neither wholly here nor there."""
        source = self.owner(slot)
        with self.client(source) as old, self.client(target) as new:
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", old.execute_command("CLUSTER MYID"))
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", new.execute_command("CLUSTER MYID"))

    def move_some(self, slot: int, target: int, count: int) -> int:
        """Move at most ``count`` keys; how many it were."""
        with self.client(self.owner(slot)) as old:
            keys = old.execute_command("CLUSTER GETKEYSINSLOT", slot, count)
            if keys:
                auth = ("AUTH", self.password)
                old.execute_command("MIGRATE", "127.0.0.1", target, "", 0, 5000, *auth, "KEYS", *keys)
            return len(keys)

    def end_move(self, slot: int, target: int) -> None:
        """The slot belongs to ``target``."""
        with self.client(target) as new:
            name = new.execute_command("CLUSTER MYID")
        for port in (target, *(one for one in self.ports if one != target)):
            with self.client(port) as client:
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", name)


@contextmanager
def cluster_servers() -> Iterator[ClusterServers]:
    """Ready: every node answers for its slots."""
    require("redis-cli")
    ports = [free_port() for _ in range(3)]
    servers = ClusterServers(ports, PASSWORD)
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="stratix-cluster-") as folder:
        try:
            for port in ports:
                own = Path(folder) / str(port)
                own.mkdir()
                cluster = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
                secret = ["--requirepass", PASSWORD, "--masterauth", PASSWORD]
                processes.append(start_redis(str(own), port, *cluster, *secret))
            for port, process in zip(ports, processes, strict=True):
                wait_for_port(port, process)
            _join(ports)
            until(lambda: all(_is_whole(servers, port) for port in ports), 60)
            yield servers
        finally:
            for process in processes:
                end(process)


def _join(ports: list[int]) -> None:
    nodes = [f"127.0.0.1:{port}" for port in ports]
    done = subprocess.run(
        ["redis-cli", "-a", PASSWORD, "--no-auth-warning", "--cluster", "create", *nodes, "--cluster-yes"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _is_whole(servers: ClusterServers, port: int) -> bool:
    with servers.client(port) as client:
        info = client.execute_command("CLUSTER INFO")
        text = info if isinstance(info, str) else "\n".join(f"{key}:{value}" for key, value in info.items())
        return "cluster_state:ok" in text and "cluster_slots_ok:16384" in text
