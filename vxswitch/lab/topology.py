"""The lab: N hosts on one machine, joined by an underlay.

    vxl-ID-h1  eth0 ---- h1 \\
    vxl-ID-h2  eth0 ---- h2  br0  vxl-ID-net   (the store listens here)
    vxl-ID-h3  eth0 ---- h3 /
    vxl-ID-web                                 (a container: nothing but lo until something is attached)

Every host, every container and the underlay itself is a network namespace; no link, address or table of the
machine is touched, so any number of labs stand side by side with the same addresses. The underlay is
dual-stack (10.77.0.0/16, fd77::/64, no duplicate address detection: addresses work at once).

With `wire_like` the underlay carries what a wire carries: MTU-sized packets with finished checksums. Without
it a veth passes whole super-frames with partial checksums. With `direct` two hosts share one veth, no bridge.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import TracebackType
from typing import Self

from vxswitch.lab import owner as owners
from vxswitch.lab.netns import Namespace, ip_batch
from vxswitch.lab.owner import LabError
from vxswitch.lab.store import StoreServer
from vxswitch.lab.switch import SwitchProcess

MAX_HOSTS = 250
_NET4, _NET6 = IPv4Address("10.77.0.0"), IPv6Address("fd77::")
_BRIDGE_INDEX = 255


class Host(Namespace):
    """One host of the underlay; `index` counts from 1, its interface is `eth0`."""

    def __init__(self, name: str, index: int, directory: Path) -> None:
        super().__init__(name, f"h{index}")
        self.index = index
        self.directory = directory
        self.ip4, self.ip6 = underlay_addresses(index)

    def switch(
        self,
        *args: str,
        node: str | None = None,
        env: Mapping[str, str] | None = None,
        wait: bool = True,
        timeout: float = 20.0,
    ) -> SwitchProcess:
        """Start `vxswitch run ARGS` here and wait for `ready` (with `wait=False` the caller does).

        `--vtep` is the host's IPv4 address unless given among `args`; `node` (the host's label by default)
        names the node, its state and its socket. `env` adds environment variables.
        """
        name = node or self.label
        vtep = () if "--vtep" in args else ("--vtep", self.ip4)
        switch = SwitchProcess(self, self.directory / name, ("--node", name, *vtep, *args), env)
        if wait:
            switch.start(timeout)
        else:
            switch.launch()
        return switch


class Lab:
    """Context manager: makes the hosts and the underlay on entry, removes everything on exit."""

    def __init__(
        self,
        name: str | None = None,
        hosts: int = 3,
        *,
        mtu: int = 1500,
        wire_like: bool = False,
        direct: bool = False,
    ) -> None:
        if not 1 <= hosts <= MAX_HOSTS or (direct and hosts != 2):
            raise LabError(f"{hosts} hosts: 1 to {MAX_HOSTS} are possible, exactly 2 on a direct veth")
        self.mtu = mtu
        self.wire_like = wire_like
        self.direct = direct
        self._name = name
        self._count = hosts
        self._owner: owners.Owner | None = None
        self._net: Namespace | None = None
        self._stores = 0
        self.hosts: list[Host] = []
        self.containers: list[Namespace] = []

    @property
    def owner(self) -> owners.Owner:
        if self._owner is None:
            raise LabError("the lab is not open: use it in a `with` statement")
        return self._owner

    @property
    def net(self) -> Namespace:
        """The underlay's own namespace: the bridge, and the stores."""
        if self._net is None:
            raise LabError("the lab is not open: use it in a `with` statement")
        return self._net

    @property
    def id(self) -> str:
        return self.owner.id

    @property
    def directory(self) -> Path:
        """Sockets, state and logs; removed with the lab."""
        return self.owner.directory

    def __enter__(self) -> Self:
        owners.sweep()
        self._owner = owners.claim(self._name)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the lab; harmless when it is gone or was kept. Signals wait until it is done."""
        if self._owner is None:
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            self._remove()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _remove(self) -> None:
        for namespace in (*self.containers, *self.hosts, self._net):
            if namespace is not None:
                namespace.end_all()
        owner, self._owner = self.owner, None
        owners.remove(owner)

    def keep(self) -> None:
        """Let the lab stand after this process, until `vxswitch lab down ID`; `close` then does nothing."""
        owners.keep(self.owner)
        self._owner = None

    # -- building ---------------------------------------------------------------------------------------

    def _build(self) -> None:
        prefix = self.owner.prefix
        self._net = Namespace(f"{prefix}net", "net")
        self.hosts = [Host(f"{prefix}h{i}", i, self.directory) for i in range(1, self._count + 1)]
        ip_batch(f"netns add {namespace.name}" for namespace in (self.net, *self.hosts))
        self.net.ip("link set lo up")
        if self.direct:
            first, second = self.hosts
            ip_batch([f"link add name eth0 netns {first.name} type veth peer name eth0 netns {second.name}"])
        else:
            self._build_bridge()
        for host in self.hosts:
            host.ip(
                "link set lo up",
                f"link set eth0 mtu {self.mtu} up",
                f"address add {host.ip4}/16 dev eth0",
                f"address add {host.ip6}/64 dev eth0 nodad",
            )
            # Interfaces made from here on have no link-local address and say nothing unasked: what is counted was sent.
            host.run(["sysctl", "-qw", "net.ipv6.conf.default.addr_gen_mode=1"])
        if self.wire_like:
            self._make_wire_like()

    def _build_bridge(self) -> None:
        """One veth per host; the bridge takes addresses too, for the store."""
        ip_batch(
            f"link add name eth0 netns {host.name} type veth peer name {host.label} netns {self.net.name}"
            for host in self.hosts
        )
        ip4, ip6 = underlay_addresses(_BRIDGE_INDEX)
        lines = [f"link add br0 mtu {self.mtu} type bridge mcast_snooping 0 forward_delay 0"]
        lines += [f"link set {host.label} mtu {self.mtu} master br0 up" for host in self.hosts]
        lines += [f"link set br0 mtu {self.mtu} up", f"address add {ip4}/16 dev br0"]
        self.net.ip(*lines, f"address add {ip6}/64 dev br0 nodad")

    def _make_wire_like(self) -> None:
        """Finished checksums and MTU-sized packets on the link; only the receiving host may join them again.

        `tx off` on both ends of a veth: the sender must cut and sum. A bridge port with GRO would join
        what passes through the "wire", so it is off there.
        """
        for host in self.hosts:
            host.run(["ethtool", "-K", "eth0", "tx", "off", "gro", "on"])
            if not self.direct:
                self.net.run(["ethtool", "-K", host.label, "tx", "off", "gro", "off"])

    # -- what a user of the lab asks for ----------------------------------------------------------------

    def container(self, label: str) -> Namespace:
        """A namespace with nothing but `lo`, as a container engine would make."""
        namespace = Namespace(f"{self.owner.prefix}{label}", label)
        ip_batch([f"netns add {namespace.name}"])
        self.containers.append(namespace)
        namespace.ip("link set lo up")
        return namespace

    def redis(self, *, ipv6: bool = False, persist: bool = False) -> StoreServer:
        """Start a store on an underlay address (one per family) that every host reaches."""
        self._stores += 1
        directory = self.directory / f"store{self._stores}"
        store = StoreServer(self.net, underlay_addresses(_BRIDGE_INDEX)[ipv6], directory, persist)
        store.start()
        return store

    @staticmethod
    def sweep() -> list[str]:
        """Remove what crashed labs left on this machine; returns their ids."""
        return owners.sweep()


def underlay_addresses(index: int) -> tuple[str, str]:
    """IPv4 and IPv6 address of host `index` on the underlay."""
    return str(_NET4 + index), str(_NET6 + index)
