"""A local port: the TAP's end of the switch, and what the way of a frame needs to know about it.

``read`` takes one frame or super-frame, ``write`` gives one back; both speak ``[virtio_net_hdr 10][frame]``, as the
kernel does on a TAP with IFF_VNET_HDR. Neither raises: a TAP whose device is gone says so by its return value, once,
and ``state`` keeps it; whether its link is up is ``links``' matter. Tests and tracers put another class with the same
two methods in its place.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from io import FileIO
from typing import TYPE_CHECKING

from vxswitch.counters import ALIVE, Drop
from vxswitch.dataplane import meanings
from vxswitch.dataplane.bucket import Bucket
from vxswitch.fdb import LocalPort, Table
from vxswitch.model import PortSpec
from vxswitch.wire import vxlan

if TYPE_CHECKING:
    from vxswitch.dataplane.flow import FlowCache

# linux/if_tun.h, TUN_F_*: what a TAP may hand over unfinished
OFFLOAD_BITS = {"csum": 0x01, "tso4": 0x02, "tso6": 0x04, "tso_ecn": 0x08, "uso4": 0x20, "uso6": 0x40}
_MIN_RATE_BURST = 1 << 16  # bytes: one super-frame


class Port(LocalPort):
    """Identity, policy and decision cache of a local port; how bytes get in and out is its subclasses' matter."""

    __slots__ = (
        "addresses",
        "alone",
        "antispoof",
        "bits",
        "bum",
        "copies",
        "flows",
        "frames",
        "header",
        "joins_udp",
        "limited",
        "offloads",
        "table",
    )

    def __init__(self, spec: PortSpec, table: Table, flows: FlowCache, now: float) -> None:
        super().__init__(spec.id, spec.mac, spec.max_macs)
        self.table = table
        self.flows = flows
        self.alone = True  # the last burst was one frame, or none
        self.header = vxlan.header(spec.vni)
        self.antispoof = spec.antispoof
        self.addresses = None if spec.addresses is None else frozenset(spec.addresses)
        self.offloads = spec.offloads
        self.joins_udp = bool(spec.offloads & OFFLOAD_BITS["uso4"])  # its kernel knows GSO_UDP_L4 (linux 6.2)
        self.bum = Bucket(spec.bum_pps, spec.bum_burst, now)
        self.copies = copies_of(spec, now)
        self.frames = Bucket(spec.pps, max(1, spec.pps // 10), now) if spec.pps else None
        bytes_per_s = spec.rate_bits / 8 if spec.rate_bits else 0.0
        self.bits = Bucket(bytes_per_s, max(_MIN_RATE_BURST, bytes_per_s / 10), now) if bytes_per_s else None
        self.limited = self.frames is not None or self.bits is not None

    def admit(self, frames: int, length: int, now: float) -> bool:
        """The port's own rate limits, for what it sends: ``frames`` wire frames of ``length`` bytes in all."""
        if self.frames is not None and not self.frames.take(frames, now):
            return False
        return self.bits is None or self.bits.take(length, now)

    def read(self, slot: memoryview) -> int:
        """Read one frame into ``slot``: its length with the vnet header, 0 = none there, -1 = the port is gone."""
        raise NotImplementedError

    def write(self, view: memoryview) -> int:
        """Write one frame with its vnet header: ALIVE, or the reason it died. ``view`` is borrowed for the call."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the device."""


def copies_of(spec: PortSpec, now: float) -> Bucket | None:
    """The budget for copies to listeners of multicast groups: a tenth of a second's at once."""
    return Bucket(spec.mcast_copies, max(1, spec.mcast_copies // 10), now) if spec.mcast_copies else None


class TapPort(Port):
    """A port on a TAP's file descriptor, which it owns. A TAP read gives one packet; a short slot would cut it."""

    __slots__ = ("fd", "read_into")

    def __init__(self, spec: PortSpec, table: Table, flows: FlowCache, now: float, fd: int) -> None:
        super().__init__(spec, table, flows, now)
        self.fd = fd
        self.read_into: Callable[[memoryview], int | None] = FileIO(fd, "rb", closefd=False).readinto

    def read(self, slot: memoryview) -> int:
        try:
            return self.read_into(slot) or 0  # None: nothing there
        except OSError as error:
            if error.errno in meanings.GONE:
                self.state = "gone"
                return -1
            return 0

    def write(self, view: memoryview) -> int:
        try:
            os.write(self.fd, view)
        except OSError as error:
            verdict = meanings.of_tap_write(error)
            if verdict is Drop.PORT_GONE:
                self.state = "gone"
            return verdict
        return ALIVE

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
