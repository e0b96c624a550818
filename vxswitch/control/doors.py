"""What control asks of the two rooms beside it, which it never imports: the data plane and the privileged room.

``switch`` hands the real ones in; tests hand in fakes. Every method of ``DataPlane`` is quick and called in the loop's
own thread. A method of ``Taps`` may block (netlink, setns) unless it is called quick: control calls those through
``asyncio.to_thread`` and in no other way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vxswitch.counters import Stats
from vxswitch.fdb import LocalPort, Peer
from vxswitch.model import PortSpec, Vtep
from vxswitch.wire.probe import Probe

Clock = Callable[[], float]  # monotonic seconds


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace as it was when a port was attached: where it can be opened, and its inode there."""

    path: str
    inode: int
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A TAP ready for the data plane: its descriptor, the TUN_F_* it accepted, and whether it is new to this host."""

    fd: int
    offloads: int
    made: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the underlay: its name, its MTU in bytes of IP packet, whether it is set up and has a carrier."""

    ifname: str
    mtu: int
    up: bool


class DataPlane(Protocol):
    """The room through which frames go."""

    @property
    def stats(self) -> Stats:
        """Counts that are not drops."""
        ...

    def set_vteps(self, vteps: Sequence[Vtep]) -> None:
        """Be these VTEPs. OSError (EADDRINUSE, EADDRNOTAVAIL) leaves everything as it was."""
        ...

    def add_port(self, spec: PortSpec, fd: int) -> LocalPort:
        """Forward for this TAP from now on; the descriptor belongs to the port."""
        ...

    def remove_port(self, port: LocalPort) -> None:
        """Stop, withdraw the rows behind the port, close its descriptor."""
        ...

    def update_port(self, port: LocalPort, spec: PortSpec) -> None:
        """Other limits for a port that forwards."""
        ...

    def say(self, port: LocalPort, frame: bytes) -> None:
        """Send a frame of the switch's own to what is behind a port."""

    def ask_station(self, port: LocalPort, mac: bytes, address: bytes) -> None:
        """Ask a station behind a port whether it still has this address, 4 or 16 bytes: its answer is heard."""
        ...

    def poll(self, now: float) -> None:
        """Cold housekeeping, four times a second."""
        ...

    def drops(self) -> dict[str, int]:
        """Frames dropped since the start, every reason present."""
        ...

    def frames(self) -> tuple[int, int]:
        """Wire frames (offered, delivered), from and to TAPs and VTEPs together."""
        ...

    def offloads(self, port: LocalPort) -> dict[str, Any]:
        """What the port's TAP may hand over unfinished."""
        ...

    def trace(self, vni: int, src: bytes, dst: bytes, frame: bytes, port: LocalPort | None) -> list[dict[str, Any]]:
        """The way one frame would take, stage by stage: ``stage``, ``verdict``, ``detail``."""
        ...

    def follow_probes(
        self, on_answer: Callable[[str, Probe, float], None], on_unreachable: Callable[[str], None]
    ) -> None:
        """Tell of every answer to a probe, and of addresses that ICMP errors come back for."""
        ...

    def send_probe(self, peer: Peer, way: int, datagram: bytes) -> int:
        """Send a probe by the source port that ``way`` chooses; 0, or the ``Drop`` under which it died."""
        ...

    def close(self) -> None:
        """Close every port and socket."""
        ...


class Taps(Protocol):
    """The privileged room, as far as ports need it. Everything raises VxswitchError with a line for a human."""

    def host_name(self, network: str) -> str:
        """The name of the host's own TAP in a network."""
        ...

    def open_host(self, network: str, mac: bytes, mtu: int) -> Opened:
        """The host's own TAP, made or taken over from a switch that is no more, configured and up."""
        ...

    def follow_mtu(self, place: Place | None, ifname: str, was: int | None, mtu: int) -> None:
        """Give a TAP of ours this MTU if it has the one it ``was`` given, or a larger one than this.

        ``place`` None: on the host. ``was`` None: not known. A smaller one that somebody else chose stays.
        """
        ...

    def accept(self, fd: int, name: str | None) -> Opened:
        """Check a descriptor that another process passed; the one returned is a duplicate, set up for us. Quick."""
        ...

    def reopen(self, place: Place, ifname: str) -> Opened:
        """A new descriptor of a persistent TAP that stands in a namespace. It keeps the namespace alive.

        NotFoundError when the namespace or the TAP is not there any more.
        """
        ...

    def same(self, place: Place) -> bool:
        """Whether the path still leads to that namespace; one stat. Quick."""
        ...

    def forget(self, fd: int) -> None:
        """Let the device go with its last descriptor; one that has vanished already is no error. Quick."""
        ...

    def delete_host(self, name: str) -> None:
        """Remove a TAP of our own namespace by name, if it is there."""
        ...
