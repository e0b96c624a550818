"""The kernel's vxlan device as peer: a bridge and a container's veth behind it, as Docker and others build it.

Underlay: one veth between the two hosts, finished checksums on the peer's side (`tx off`), as a wire would bring them.
`virtual` leaves the veth as it is made: the kernel then sends inner checksums unfinished and whole super-frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.net import traffic
from tests.net.containers import Container, attach, drops, rows
from tests.net.kernel_peer import KernelPeer, finish_checksums, kernel_peer
from tests.net.wire import BROADCAST, Wire, frame
from vxswitch.lab import Lab, SwitchProcess, ping

OUR_IP6 = "fd09::1"


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Our container and the kernel's, with the inner MTU."""

    switch: SwitchProcess
    ours: Container
    theirs: KernelPeer
    mtu: int

    def everything(self, way: str) -> None:
        """Ping, TCP and UDP over both inner families, towards the kernel or from it."""
        ours, theirs = self.ours, self.theirs
        if way == "to_kernel":
            traffic.everything(ours.namespace, theirs.namespace, theirs.ip, self.mtu)
            traffic.everything(ours.namespace, theirs.namespace, theirs.ip6, self.mtu, 5_000_000)
        else:
            traffic.everything(theirs.namespace, ours.namespace, ours.ip, self.mtu)
            traffic.everything(theirs.namespace, ours.namespace, OUR_IP6, self.mtu, 5_000_000)


def tunnel(lab: Lab, *, ipv6: bool = False, port: int = 4789, options: str = "", like_wire: bool = True) -> Tunnel:
    """A switch on the first host, a kernel VTEP on the second, a container behind each."""
    one, two = lab.hosts
    if like_wire:
        finish_checksums(two)
    own, other = (f"[{one.ip6}]:{port}", f"[{two.ip6}]:{port}") if ipv6 else (f"{one.ip4}:{port}", f"{two.ip4}:{port}")
    mtu = 1500 - (70 if ipv6 else 50)
    theirs = kernel_peer(lab, two, one.ip6 if ipv6 else one.ip4, vni=100, mtu=mtu, port=port, options=options)
    switch = one.switch("--vtep", own, "--store", "static:", "--network", "red=100", "--peer", other)
    ours = attach(lab, switch, "red", "ours", "10.9.0.1", ip6=OUR_IP6)
    assert ours.mtu == mtu
    return Tunnel(switch, ours, theirs, mtu)


@pytest.fixture(scope="module", params=["ipv4", "ipv6", "port8472", "zerosum"])
def joined(request: pytest.FixtureRequest) -> Iterator[Tunnel]:
    with Lab(hosts=2, direct=True) as lab:
        match request.param:
            case "ipv4":
                yield tunnel(lab)
            case "ipv6":
                yield tunnel(lab, ipv6=True)
            case "port8472":
                yield tunnel(lab, port=8472)
            case _:
                yield tunnel(lab, options="noudpcsum")


@pytest.mark.parametrize("way", ["to_kernel", "from_kernel"])
def test_R15_R19_R25_ping_tcp_and_udp_with_a_kernel_vtep(joined: Tunnel, way: str) -> None:
    joined.everything(way)


def test_R03_what_the_kernel_vtep_sends_is_learned(joined: Tunnel) -> None:
    assert ping(joined.ours.namespace, joined.theirs.ip, count=1).lost == 0
    row = rows(joined.switch, "red")[joined.theirs.mac]
    assert (row["hop"], row["source"], row["node"]) == ("remote", "learned", None)


def test_broadcast_and_odd_frames_pass_both_ways(joined: Tunnel) -> None:
    """To and from the container behind the kernel's bridge, byte for byte."""
    ours, theirs = joined.ours, joined.theirs
    with Wire(ours.namespace) as here, Wire(theirs.namespace) as there:
        for source, destination, src, dst in (
            (here, there, ours.mac, theirs.mac),
            (there, here, theirs.mac, ours.mac),
        ):
            odd = [frame(BROADCAST, src, b"to all"), frame(dst, src), frame(dst, src, b"\x40" * 20, 0x0800)]
            for data in odd:
                source.send(data)
            assert sorted(destination.take(len(odd), odd.__contains__)) == sorted(odd)


def test_one_network_over_vteps_of_both_families_and_of_another_port() -> None:
    """R25: our switch between a kernel VTEP on IPv4 and one on IPv6 and port 8472, which do not know each other."""
    with Lab(hosts=3) as lab:
        one, two, three = lab.hosts
        finish_checksums(two)
        finish_checksums(three)
        near = kernel_peer(lab, two, one.ip4, vni=100, mtu=1430, label="four")
        far = kernel_peer(
            lab,
            three,
            one.ip6,
            vni=100,
            mtu=1430,
            label="six",
            number=3,
            port=8472,
            remote_port=4789,
            options="nolearning",
        )
        vteps = ("--vtep", one.ip4, "--vtep", one.ip6)
        peers = ("--peer", two.ip4, "--peer", f"[{three.ip6}]:8472")
        switch = one.switch(*vteps, *peers, "--network", "red=100")
        ours = attach(lab, switch, "red", "ours", "10.9.0.1", ip6=OUR_IP6)
        assert ours.mtu == 1430
        for other in (near, far):
            traffic.everything(ours.namespace, other.namespace, other.ip, 1430, 10_000_000)
            traffic.everything(other.namespace, ours.namespace, OUR_IP6, 1430, 10_000_000)
        near.namespace.ip(f"neigh replace {far.ip} lladdr {far.mac} dev eth0")
        assert ping(near.namespace, far.ip, count=1, wait=0.2).received == 0
        assert drops(switch)["split_horizon"] == 1


@pytest.fixture(scope="module", params=["ipv4", "ipv6"])
def virtual(request: pytest.FixtureRequest) -> Iterator[Tunnel]:
    with Lab(hosts=2, direct=True) as lab:
        yield tunnel(lab, ipv6=request.param == "ipv6", like_wire=False)


@pytest.mark.parametrize("way", ["to_kernel", "from_kernel"])
def test_ping_tcp_and_udp_with_a_kernel_vtep_on_a_virtual_underlay(virtual: Tunnel, way: str) -> None:
    virtual.everything(way)
