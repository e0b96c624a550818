"""The books of two switches that only talk to each other: every wire frame arrived, or died under a name.

    each switch   frames in + copies == frames out + drops by name; what it made itself counts as a copy, less what
                  it took for itself or holds
    underlay      datagrams that one sent == what the other received or found its buffer too full for; a veth that
                  drops says so in its own statistics, and of a joined run the kernel counts one
    a UDP load    no more is missing than what was dropped by name, by the queues of the TAPs, or by the receiver

Asked for over the control sockets and from the kernel, when all is quiet.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from benchmarks.load import Load
from vxswitch.client import Client
from vxswitch.lab import Host, Namespace, SwitchProcess

UDP_MAX_SEGMENTS: Final = 128  # linux/udp.h


@dataclass(frozen=True, slots=True)
class Account:
    """One switch's own counts, in wire frames; subtract two to get what lies between."""

    frames_in: int
    frames_out: int
    copies: int
    to_ports: int
    from_ports: int
    drops: Counter[str]

    @classmethod
    def of(cls, switch: SwitchProcess) -> Self:
        """As the switch says now."""
        client = Client(str(switch.socket))
        stats: dict[str, Any] = client.get("/v1/stats")
        ports: list[dict[str, Any]] = client.get("/v1/ports")
        return cls(
            stats["frames_in"],
            stats["frames_out"],
            stats["copies"] + stats["originated"] - stats["absorbed"] - stats["held"],
            sum(port["tx_frames"] for port in ports),
            sum(port["rx_frames"] for port in ports),
            Counter(client.get("/v1/drops")),
        )

    def __sub__(self, before: Account) -> Account:
        return Account(
            self.frames_in - before.frames_in,
            self.frames_out - before.frames_out,
            self.copies - before.copies,
            self.to_ports - before.to_ports,
            self.from_ports - before.from_ports,
            self.drops - before.drops,
        )

    @property
    def unaccounted(self) -> int:
        """Frames that came in and neither went out nor died by name."""
        return self.frames_in + self.copies - self.frames_out - self.drops.total()

    @property
    def hidden(self) -> int:
        """How many more datagrams an overflow may have cost: the kernel counts a run that it has joined as one."""
        return self.drops["underlay_overflow"] * (UDP_MAX_SEGMENTS - 1)

    @property
    def sent(self) -> int:
        """Datagrams given to the underlay."""
        return self.frames_out - self.to_ports

    @property
    def received(self) -> int:
        """Datagrams that reached the underlay socket, whether it had room for them or not."""
        return self.frames_in - self.from_ports


class Books:
    """What two switches did since this was made, which must be when all is quiet, as must be when they are asked."""

    def __init__(self, switches: list[SwitchProcess], hosts: list[Host], ends: list[Namespace]) -> None:
        self.switches = switches
        self.hosts = hosts
        self.ends = ends
        self._before = [Account.of(switch) for switch in switches]
        self._queues = [dropped(where, "eth0") for where in (*hosts, *ends)]
        self._refused = [refused(host) for host in hosts]

    def accounts(self) -> list[Account]:
        """One for each switch."""
        return [Account.of(s) - before for s, before in zip(self.switches, self._before, strict=True)]

    def balanced(self, timeout: float) -> tuple[list[Account], list[str]]:
        """The accounts, and what does not add up. Frames may still be on their way: asked again for a while."""
        deadline = time.monotonic() + timeout
        while (faults := self._faults(accounts := self.accounts())) and time.monotonic() < deadline:
            time.sleep(0.2)
        return accounts, faults

    def _faults(self, accounts: list[Account]) -> list[str]:
        found = [
            f"switch {n}: {a.unaccounted} frames without a name" for n, a in enumerate(accounts, 1) if a.unaccounted
        ]
        by_veth = self._dropped(self.hosts, self._queues[: len(self.hosts)])
        for here, there in ((0, 1), (1, 0)):
            missing = accounts[here].sent - accounts[there].received
            if not 0 <= missing <= by_veth + accounts[there].hidden:
                said = [dict(refused(self.hosts[host]) - self._refused[host]) for host in (here, there)]
                found.append(
                    f"underlay {here + 1} to {there + 1}: {missing} missing, the veth dropped {by_veth}, "
                    f"the sender's kernel counts {said[0]}, the receiver's {said[1]}"
                )
        return found

    def unexplained(self, load: Load, accounts: list[Account]) -> list[str]:
        """What is missing of a UDP load between the ends that nobody has dropped by name, in words."""
        named = sum(account.drops.total() + account.hidden for account in accounts) + load.overflowed
        queues = self._dropped(self.ends, self._queues[len(self.hosts) :])
        if load.lost <= named + queues:
            return []
        return [f"UDP: {load.lost} missing, {named} of them named, {queues} dropped by queues"]

    @staticmethod
    def _dropped(where: Sequence[Namespace], before: list[int]) -> int:
        return sum(dropped(one, "eth0") - then for one, then in zip(where, before, strict=True))


def dropped(where: Namespace, device: str) -> int:
    """Packets that a device or its queueing discipline dropped, in both directions (a super-frame counts once)."""
    (link,) = json.loads(where.run(["ip", "-j", "-s", "link", "show", "dev", device]).stdout)
    queues = json.loads(where.run(["tc", "-j", "-s", "qdisc", "show", "dev", device]).stdout)
    by_device = sum(int(link["stats64"][way]["dropped"]) for way in ("rx", "tx"))
    return by_device + sum(int(queue.get("drops", 0)) for queue in queues)


def refused(where: Namespace) -> Counter[str]:
    """What the kernel counts of IP and UDP that came to nothing (/proc/net/snmp, RFC 4293 and RFC 4113)."""
    lines = where.run(["cat", "/proc/net/snmp"]).stdout.splitlines()
    found: Counter[str] = Counter()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        kind, *columns = names.split()
        for name, value in zip(columns, values.split()[1:], strict=True):
            if kind in ("Ip:", "Udp:") and name.endswith(("Errors", "Discards", "NoRoutes", "NoPorts", "Fails")):
                found[kind + name] = int(value)
    return found
