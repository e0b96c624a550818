"""Several real servers that stand in for one another: a primary with replicas and sentinels, and a Redis Cluster.

Each has a ``Seat``. Unless told otherwise that is an address of its own in 127.0.0.0/8, made of this process's id, with
the usual ports: nothing else can have taken one in the meantime, and URLs look as they do elsewhere. Questions to
servers go over unix sockets, which no network namespace hides. With an ``Authority`` all of them speak TLS alone, among
themselves, too, and want a certificate from whoever comes.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import redis
import trustme

from tests.store.servers import BINARIES, PASSWORD, USER, Server, until_now
from vxswitch.store.cluster import ClusterStore
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import TlsSettings
from vxswitch.store.redis_sentinel import SentinelPlace, parse_sentinels
from vxswitch.store.redis_slots import parse_cluster
from vxswitch.store.rules import Rules

SECRET = PASSWORD.replace(" ", "_")
SENTINEL_USER, SENTINEL_SECRET = "watcher", "secret_of_the_sentinels"

_hosts = count(1)


class Seat(NamedTuple):
    """Where a server listens, and what stands before its command so that it does."""

    address: str
    enter: tuple[str, ...] = ()


def loopback(_: int) -> Seat:
    """A loopback address that nothing else uses."""
    number = (os.getpid() % 2**15) * 2**8 + next(_hosts) % 2**8
    return Seat(f"127.{64 + number // 2**16}.{number // 2**8 % 2**8}.{number % 2**8}")


class Authority:
    """Who signs the certificates of a fleet, and one for its clients."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self._ca_file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self._ca_file))
        cert, key = self._issue(directory, "node")
        self.tls = TlsSettings(str(self._ca_file), cert, key)

    @property
    def cli(self) -> list[str]:
        """Options of redis-cli."""
        files = {"--cacert": self.tls.ca_file, "--cert": self.tls.cert_file, "--key": self.tls.key_file}
        return ["--tls", *(str(word) for option in files.items() for word in option)]

    def lines(self, directory: Path, address: str) -> str:
        """What a server or sentinel is to have in its configuration besides ``tls-port``."""
        cert, key = self._issue(directory, address)
        files = f"tls-ca-cert-file {self._ca_file}\ntls-cert-file {cert}\ntls-key-file {key}\n"
        return f"{files}tls-replication yes\ntls-cluster yes\n"

    def _issue(self, directory: Path, name: str) -> tuple[str, str]:
        issued = self._ca.issue_cert(name)
        cert, key = directory / f"{name}.pem", directory / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        return str(cert), str(key)


def listening(directory: Path, address: str, port: int, authority: Authority | None) -> str:
    """How a server or sentinel is to listen, as lines of its configuration."""
    ports = f"port 0\ntls-port {port}\n{authority.lines(directory, address)}" if authority else f"port {port}\n"
    return f"bind {address}\nprotected-mode no\n{ports}"


class Host:
    """A server with an address."""

    def __init__(self, kind: str, directory: Path, seat: Seat, authority: Authority | None, extra: str = "") -> None:
        self.address = seat.address
        directory.mkdir()
        extra = listening(directory, self.address, 6379, authority) + extra.format(address=self.address)
        self.server = Server(kind, directory, extra=extra, enter=seat.enter)

    @property
    def admin(self) -> Any:
        """A client with all rights."""
        return self.server.admin

    @property
    def role(self) -> str:
        """``master`` or ``slave``, as the server sees itself."""
        return str(self.admin.role()[0])


class Sentinel:
    """One sentinel process; its user may do what the documentation says and no more."""

    def __init__(
        self, kind: str, directory: Path, seat: Seat, authority: Authority | None, primary: str, down_ms: int
    ) -> None:
        self.address = seat.address
        self._path = directory / "s"
        directory.mkdir()
        config = directory / "sentinel.conf"  # it writes down there what it has learned
        config.write_text(
            f"{listening(directory, self.address, 26379, authority)}unixsocket {self._path}\ndir {directory}\n"
            f"sentinel announce-ip {self.address}\n"
            f"sentinel monitor main {primary} 6379 2\nsentinel down-after-milliseconds main {down_ms}\n"
            "sentinel failover-timeout main 2000\n"
            f"user {SENTINEL_USER} on >{SENTINEL_SECRET} -@all +ping +sentinel|master\n"
        )
        command = [*seat.enter, BINARIES[kind], str(config), "--sentinel"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def knows(self) -> tuple[int, int]:
        """How many replicas and other sentinels it knows."""
        try:
            told = self.told()
        except redis.RedisError:
            return 0, 0
        return int(told["num-slaves"]), int(told["num-other-sentinels"])

    def told(self) -> dict[str, Any]:
        """What it says of the primary."""
        return dict(self._admin.sentinel_master("main"))

    @property
    def _admin(self) -> Any:
        return redis.Redis(unix_socket_path=str(self._path), protocol=2, decode_responses=True)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this sentinel."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End at once."""
        self._process.kill()
        self._process.wait()


class SentinelFleet:
    """One primary, two replicas, three sentinels, which replace a primary that is silent for ``down_ms``."""

    def __init__(
        self,
        kind: str,
        directory: Path,
        seat: Callable[[int], Seat] = loopback,
        *,
        down_ms: int = 60000,
        encrypted: bool = False,
    ) -> None:
        authority = Authority(directory) if encrypted else None
        self.tls = authority.tls if authority else None
        announce = "replica-announce-ip {address}\nrepl-diskless-sync-delay 0\nrepl-backlog-size 1mb\n"
        self.hosts = [Host(kind, directory / "h0", seat(0), authority, announce)]
        primary = self.hosts[0].address
        for number in (1, 2):
            follow = f"{announce}replicaof {primary} 6379\n"
            self.hosts.append(Host(kind, directory / f"h{number}", seat(number), authority, follow))
        until_now(lambda: all(host.admin.info()["master_link_status"] == "up" for host in self.hosts[1:]))
        self.sentinels = [Sentinel(kind, directory / f"s{n}", seat(n), authority, primary, down_ms) for n in range(3)]
        until_now(lambda: all(sentinel.knows() == (2, 2) for sentinel in self.sentinels))

    @property
    def url(self) -> str:
        """Where the store is."""
        return f"redis+sentinel://{USER}@{','.join(sentinel.address for sentinel in self.sentinels)}/main"

    def store(self, cluster: str, rules: Rules) -> RedisStore:
        """A node's store."""
        return RedisStore(self.place(), cluster, rules)

    def place(self, name: str = "main", sentinel_secret: str = SENTINEL_SECRET) -> SentinelPlace:
        """Where the primary of this name is."""
        url = self.url.replace("/main", f"/{name}")
        return parse_sentinels(url, SECRET, self.tls, SENTINEL_USER, sentinel_secret)

    def delete_all(self, prefix: str) -> None:
        """Delete keys by their prefix."""
        admin = self.primary().admin
        for key in list(admin.scan_iter(f"{prefix}*")):
            admin.delete(key)

    def primary(self) -> Host:
        """The server that the sentinels name."""
        address = self.sentinels[-1].told()["ip"]
        return next(host for host in self.hosts if host.address == address)

    def settled(self) -> bool:
        """All sentinels name the same primary, no failover is under way, and there is a replica for the next one."""
        told = [sentinel.told() for sentinel in self.sentinels]
        if any(said["flags"] != "master" or said["ip"] != told[0]["ip"] for said in told):
            return False
        replication = self.primary().admin.info("replication")
        return any(value["state"] == "online" for key, value in replication.items() if re.fullmatch("slave[0-9]+", key))

    def close(self) -> None:
        """End everything."""
        for process in (*self.sentinels, *(host.server for host in self.hosts)):
            process.kill()


class ClusterFleet:
    """Three primaries with all slots, and one replica each for the first ``replicas`` of them."""

    def __init__(
        self,
        kind: str,
        directory: Path,
        seat: Callable[[int], Seat] = loopback,
        *,
        replicas: int = 0,
        timeout_ms: int = 15000,
        encrypted: bool = False,
    ) -> None:
        self._authority = Authority(directory) if encrypted else None
        extra = (
            f"cluster-enabled yes\ncluster-announce-ip {{address}}\ncluster-node-timeout {timeout_ms}\n"
            "cluster-replica-validity-factor 0\nrepl-diskless-sync-delay 0\n"
        )
        self.hosts = [Host(kind, directory / f"h{n}", seat(n), self._authority, extra) for n in range(3 + replicas)]
        self._enter = seat(0).enter
        addresses = [f"{host.address}:6379" for host in self.hosts]
        self.cli("--cluster", "create", *addresses[:3], "--cluster-yes")
        for number in range(replicas):
            chief = self.hosts[number].admin.cluster("MYID")
            as_replica = ("--cluster-slave", "--cluster-master-id", chief)
            self.cli("--cluster", "add-node", addresses[3 + number], addresses[number], *as_replica)
        until_now(lambda: all(host.admin.cluster("INFO")["cluster_state"] == "ok" for host in self.hosts))
        until_now(lambda: all(host.admin.info()["master_link_status"] == "up" for host in self.hosts[3:]))

    @property
    def url(self) -> str:
        """Where the store is."""
        return f"redis+cluster://{USER}@{','.join(host.address for host in self.hosts[:3])}"

    def store(self, cluster: str, rules: Rules) -> ClusterStore:
        """A node's store."""
        tls = self._authority.tls if self._authority else None
        return ClusterStore(*parse_cluster(self.url, SECRET, tls), cluster, rules)

    def replicated(self) -> Host:
        """The primary that has a replica."""
        running = [host for host in self.hosts if host.server.running and host.role == "master"]
        return next(host for host in running if host.admin.info()["connected_slaves"])

    def owner(self, key: str) -> Host:
        """The server that owns a key's slot, as the servers themselves see it."""
        for host in self.hosts:
            if host.server.running:
                try:
                    host.admin.execute_command("EXISTS", key)
                except redis.ResponseError:
                    continue
                return host
        raise AssertionError(f"nobody owns {key}")

    def slot(self, key: str) -> int:
        """The slot of a key."""
        return int(self.hosts[0].admin.cluster("KEYSLOT", key))

    def delete_all(self, prefix: str) -> None:
        """Delete keys by their prefix, on every primary."""
        for host in self.hosts:
            if host.role == "master":
                for key in list(host.admin.scan_iter(f"{prefix}*")):
                    host.admin.delete(key)

    def cli(self, *words: str) -> None:
        """Have redis-cli do something to the cluster."""
        tls = self._authority.cli if self._authority else []
        subprocess.run([*self._enter, "redis-cli", *tls, *words], check=True, capture_output=True, timeout=30)

    def close(self) -> None:
        """End everything."""
        for host in self.hosts:
            host.server.kill()


class Move:
    """One slot goes from its owner to another primary, step by step, as ``redis-cli --cluster reshard`` does it."""

    def __init__(self, fleet: ClusterFleet, key: str) -> None:
        self.slot = fleet.slot(key)
        self.source = fleet.owner(key)
        self.target = next(h for h in fleet.hosts if h.role == "master" and h is not self.source)
        self._primaries = [h for h in fleet.hosts if h.role == "master"]

    def begin(self) -> None:
        """Both say that the slot is on its way."""
        self.target.admin.execute_command("CLUSTER SETSLOT", self.slot, "IMPORTING", self._id(self.source))
        self.source.admin.execute_command("CLUSTER SETSLOT", self.slot, "MIGRATING", self._id(self.target))

    def move_keys(self, *names: str) -> None:
        """These keys go, all without names."""
        keys = names or self.source.admin.execute_command("CLUSTER GETKEYSINSLOT", self.slot, 1000)
        self.source.admin.execute_command("MIGRATE", self.target.address, 6379, "", 0, 5000, "KEYS", *keys)

    def end(self) -> None:
        """The slot has its new owner."""
        for host in (self.target, self.source, *self._primaries):
            host.admin.execute_command("CLUSTER SETSLOT", self.slot, "NODE", self._id(self.target))

    def _id(self, host: Host) -> Any:
        return host.admin.execute_command("CLUSTER MYID")
