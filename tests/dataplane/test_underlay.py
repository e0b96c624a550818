"""The underlay on real sockets: what is sent arrives as the right datagrams, and no error strikes the wrong peer."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import pytest
import uvloop
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from tests.dataplane.wires import ONE4, ONE6, TWO4, TWO6, datagrams, path, plain, runs, send, sniffed, sniffer, underlay
from tests.kernel.namespaces import Namespace, until
from vxswitch.counters import Drop
from vxswitch.dataplane.underlay import PLAIN_SECONDS, Underlay
from vxswitch.model import Vtep
from vxswitch.offload.arena import Arena, Run

pytestmark = pytest.mark.root

Pair = tuple[Namespace, Namespace]
IPPROTO_UDPLITE = 136  # linux/in.h
FOUR, SIX = (ONE4, TWO4), (ONE6, TWO6)
families = pytest.mark.parametrize("ends", [FOUR, SIX], ids=["ipv4", "ipv6"])


def rows(frames: list[bytes]) -> Run:
    """The frames as a run that stands in one piece."""
    whole = b"".join(frames)
    arena = Arena(len(whole) + 100)
    arena.view[50 : 50 + len(whole)] = whole
    run = Run(arena)
    run.fill(arena, 50, len(frames[0]), len(whole))
    return run


def lost(made: Underlay) -> dict[str, int]:
    return made.counts.as_dict(zeros=False)


@pytest.fixture
def one(namespace: Callable[[], Namespace]) -> Namespace:
    """A namespace with its loopback."""
    return namespace()


def open_files() -> int:
    return sum(1 for _ in FilePath("/proc/self/fd").iterdir())


# -- opening and closing ----------------------------------------------------------------------------------------------


def test_vteps_come_and_go_and_leave_nothing_open(one: Namespace) -> None:
    before = open_files()
    a, b, six = Vtep("127.0.0.1"), Vtep("127.0.0.2", 8472), Vtep("::1")
    with underlay(one, a) as made:
        ports = [s.getsockname()[1] for s in made._pools[socket.AF_INET].socks]
        opened, gone = one.call(lambda: made.set_vteps([a, b, six]))
        assert ([r.vtep for r in opened], gone) == ([b, six], [])
        assert ports == [s.getsockname()[1] for s in made._pools[socket.AF_INET].socks], "the first VTEP still sends"
        opened, gone = one.call(lambda: made.set_vteps([b]))
        assert (opened, [r.vtep for r in gone]) == ([], [a, six])
        for receiver in gone:
            receiver.close()
        assert set(made._pools) == {socket.AF_INET}
        assert path(made, Vtep("127.0.0.9")).sock.getsockname()[0] == "127.0.0.2"
    assert open_files() == before


@pytest.mark.parametrize(
    ("vtep", "code"),
    [(Vtep("127.0.0.3"), errno.EADDRINUSE), (Vtep("203.0.113.1"), errno.EADDRNOTAVAIL)],
)
def test_what_cannot_be_bound_leaves_all_as_it_was(one: Namespace, vtep: Vtep, code: int) -> None:
    with plain(one, "127.0.0.3", 4789), underlay(one, Vtep("127.0.0.1")) as made, plain(one, "127.0.0.9") as far:
        way = path(made, Vtep("127.0.0.9", far.getsockname()[1]))
        receivers, pools, files = dict(made.receivers), dict(made._pools), open_files()
        with pytest.raises(OSError) as failure:
            one.call(lambda: made.set_vteps([Vtep("127.0.0.2"), Vtep("::1"), vtep]))
        assert failure.value.errno == code
        assert (made.receivers, made._pools) == (receivers, pools)
        assert open_files() == files
        send(made, way, [b"still here"])
        assert datagrams(far, 1) == [b"still here"]


def test_a_closed_underlay_has_let_go_of_every_descriptor(one: Namespace) -> None:
    before = open_files()
    with underlay(one, Vtep("127.0.0.1"), Vtep("::1"), send_sockets=64):
        assert open_files() > before + 128
    assert open_files() == before


# -- the way out ------------------------------------------------------------------------------------------------------


@families
@pytest.mark.parametrize("sizes", [[100], [100, 100], [1400] * 46, [64] * 128, [1400] * 5 + [3]])
def test_a_run_arrives_as_its_datagrams(pair: Pair, ends: tuple[str, str], sizes: list[int]) -> None:
    one, two = pair
    frames = [bytes([n]) * size for n, size in enumerate(sizes)]
    with underlay(one, Vtep(ends[0])) as made, plain(two, ends[1], 4789) as far:
        way = path(made, Vtep(ends[1]))
        send(made, way, frames)
        assert datagrams(far, len(frames)) == frames
        made.send_rows(way, rows(frames), 0, 0.0)
        assert datagrams(far, len(frames)) == frames
        assert (made.sent, lost(made)) == (2 * len(frames), {})
        assert not way.frames and way.room == 0


@families
@pytest.mark.parametrize(("count", "size"), [(129, 60), (1000, 61), (70, 1400), (128, 1399)])
def test_rows_beyond_what_one_send_takes_are_split(pair: Pair, ends: tuple[str, str], count: int, size: int) -> None:
    one, two = pair
    frames = [n.to_bytes(2, "big") * (size // 2) for n in range(count)] + [b"last"]
    with underlay(one, Vtep(ends[0])) as made, plain(two, ends[1], 4789) as far:
        made.send_rows(path(made, Vtep(ends[1])), rows(frames), 0, 0.0)
        assert datagrams(far, len(frames)) == frames
        assert (made.sent, lost(made)) == (len(frames), {})


@families
def test_segments_over_the_mtu_go_one_by_one_and_only_they_are_lost(pair: Pair, ends: tuple[str, str]) -> None:
    one, two = pair
    with underlay(one, Vtep(ends[0])) as made, plain(two, ends[1], 4789) as far:
        way = path(made, Vtep(ends[1]))
        send(made, way, [bytes(1480)] * 3 + [b"short"])
        made.send_rows(way, rows([bytes(1480)] * 3 + [b"rows"]), 0, 0.0)
        send(made, way, [b"fits", b"fits"])
        assert datagrams(far, 4) == [b"short", b"rows", b"fits", b"fits"]
        assert lost(made) == {"underlay_mtu": 6}
        assert way.peer.plain_until == 0.0, "a segment that is too long is no reason to give up segmentation"


@families
def test_each_run_has_its_own_tos(pair: Pair, ends: tuple[str, str]) -> None:
    one, two = pair
    with underlay(one, Vtep(ends[0])) as made, sniffer(two) as wire:
        way = path(made, Vtep(ends[1]))
        for tos in (0, 2, 0, 0xB9):
            send(made, way, [b"a" * 50], tos)
            made.send_rows(way, rows([b"b" * 50]), tos, 0.0)
        packets = sniffed(wire, 8)
        seen = [p["IP"].tos if ends is FOUR else p["IPv6"].tc for p in packets]
        assert seen == [0, 0, 2, 2, 0, 0, 0xB9, 0xB9]


# -- errors -----------------------------------------------------------------------------------------------------------


class Refusing:
    """A socket that refuses what a device without segmentation would; all else goes through."""

    def __init__(self, sock: socket.socket, target: str, code: int) -> None:
        self.sock, self.target, self.code = sock, target, code
        self.segmented: list[str] = []
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def sendmsg(self, views: Any, ancillary: Any, flags: int, target: tuple[str, int]) -> int:
        self.calls += 1
        segmented = any(level == 17 for level, _, _ in ancillary)
        if segmented:
            self.segmented.append(target[0])
        if segmented and target[0] == self.target:
            raise OSError(self.code, os.strerror(self.code))
        return self.sock.sendmsg(views, ancillary, flags, target)


def test_eio_gives_up_segmentation_towards_that_peer_alone_for_a_minute(one: Namespace) -> None:
    """The kernel's own EIO: __udp_cmsg_send lets UDP-Lite ask for segmentation, udp_send_skb refuses it, as it does
    where IPsec transforms the route (net/ipv4/udp.c). Linux 7 has no UDP-Lite: there a double says it."""
    with (
        underlay(one, Vtep("127.0.0.1"), send_sockets=1) as made,
        plain(one, "127.0.0.2", 4789) as bad_udp,
        plain(one, "127.0.0.3", 4789) as good,
    ):
        to_bad, to_good = path(made, Vtep("127.0.0.2")), path(made, Vtep("127.0.0.3"))
        bad = udp_lite(one, "127.0.0.2", 4789) or bad_udp
        sender = udp_lite(one, "127.0.0.1", 0) or to_bad.sock
        refusing: Any = Refusing(sender, "127.0.0.2" if sender is to_bad.sock else "nobody", errno.EIO)
        counting: Any = Refusing(to_good.sock, "nobody", 0)
        to_bad.sock, to_good.sock = refusing, counting
        for now in (100.0, 101.0, 100.0 + PLAIN_SECONDS - 1, 100.0 + PLAIN_SECONDS + 1):
            for way, far in ((to_bad, bad), (to_good, good)):
                send(made, way, [b"one", b"two"], now=now)
                assert datagrams(far, 2) == [b"one", b"two"]
        assert refusing.segmented.count("127.0.0.2") == 2, "tried at once, and again after a minute"
        assert counting.segmented.count("127.0.0.3") == 4
        assert (made.sent, lost(made)) == (16, {})
        for sock in {bad, sender} - {bad_udp}:
            sock.close()


def udp_lite(namespace: Namespace, address: str, port: int) -> socket.socket | None:
    """A bound UDP-Lite socket (RFC 3828), if the kernel has such."""

    def make() -> socket.socket | None:
        try:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, IPPROTO_UDPLITE)
        except OSError:  # EPROTONOSUPPORT
            return None
        made.bind((address, port))
        made.setblocking(False)
        return made

    return namespace.call(make)


def test_what_our_own_stack_refuses_is_not_tried_again(pair: Pair) -> None:
    """Its EMSGSIZE stands in the error queue, too, but nobody else's error hides it."""
    with underlay(pair[0], Vtep(ONE4), send_sockets=1) as made:
        way = path(made, Vtep(TWO4))
        counting: Any = Refusing(way.sock, "nobody", 0)
        way.sock = counting
        send(made, way, [bytes(1480)])
        assert (lost(made), counting.calls) == ({"underlay_mtu": 1}, 1)


def test_before_linux_6_9_a_run_has_64_segments(one: Namespace) -> None:
    """EINVAL says so (udp.h, UDP_MAX_SEGMENTS); that run goes one by one, the next ones are shorter."""
    with underlay(one, Vtep("127.0.0.1"), send_sockets=1) as made, plain(one, "127.0.0.2", 4789) as far:
        way = path(made, Vtep("127.0.0.2"))
        refusing: Any = Refusing(way.sock, "127.0.0.2", errno.EINVAL)
        real, way.sock = way.sock, refusing
        send(made, way, [b"%03d" % n for n in range(128)])
        assert datagrams(far, 128) == [b"%03d" % n for n in range(128)]
        assert (made.max_segments, lost(made)) == (64, {})
        way.sock = real
        made.send_rows(way, rows([b"%03d" % n for n in range(100)]), 0, 0.0)
        assert datagrams(far, 100) == [b"%03d" % n for n in range(100)]


def test_a_dead_peers_errors_cost_a_live_peer_no_frame(one: Namespace) -> None:
    """A thousand ICMP errors, all to the one socket that both peers share; nobody drains but the sends themselves."""
    with underlay(one, Vtep("127.0.0.1"), send_sockets=1) as made, plain(one, "127.0.0.2", 4789) as live:
        dead, alive = path(made, Vtep("127.0.0.3")), path(made, Vtep("127.0.0.2"))
        for n in range(1000):
            send(made, dead, [b"nobody"])
            send(made, alive, [b"%04d" % n] * (1 + n % 2))
        expected = [b"%04d" % n for n in range(1000) for _ in range(1 + n % 2)]
        assert datagrams(live, len(expected)) == expected
        assert made.errors >= 999
        assert (made.sent, lost(made)) == (2500, {})


@pytest.mark.parametrize("burst", [1, 128])
def test_errors_from_afar_cost_a_live_peer_no_frame(pair: Pair, burst: int) -> None:
    """Across a wire they come while the next frames are being sent, and as many at once as a run had datagrams."""
    one, two = pair
    one.execute("ethtool", "-K", "u0", "tx-udp-segmentation", "off")
    two.execute("sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_msgs_burst=100000000")
    two.ip("address", "add", "192.0.2.3/24", "dev", "u0")
    with underlay(one, Vtep(ONE4), send_sockets=1) as made, plain(two, TWO4, 4789) as live:
        dead, alive = path(made, Vtep("192.0.2.3")), path(made, Vtep(TWO4))
        for n in range(1000):
            send(made, dead, [b"nobody"] * burst)
            send(made, alive, [b"%04d" % n])
        assert datagrams(live, 1000) == [b"%04d" % n for n in range(1000)]
        assert lost(made) == {} and made.errors > 900


def test_the_reader_of_errors_stays_alive_under_uvloop(one: Namespace) -> None:
    """uvloop stops a reader for good at its first POLLERR; the epoll's descriptor never shows one."""
    with underlay(one, Vtep("127.0.0.1")) as made, plain(one, "127.0.0.2", 4789) as live:
        ways = [(path(made, Vtep("127.0.0.3"), n), path(made, Vtep("127.0.0.2"), n)) for n in range(8)]

        async def run() -> None:
            asyncio.get_running_loop().add_reader(made.epoll.fileno(), made.on_errors)
            for n in range(1000):
                for way in ways[n % 8]:
                    send(made, way, [b"x"])
                await asyncio.sleep(0)
            before = made.errors
            send(made, ways[0][0], [b"once more"])
            for _ in range(10_000):  # only the reader can see it: nobody sends
                if made.errors > before:
                    return
                await asyncio.sleep(0.001)

        uvloop.new_event_loop().run_until_complete(run())
        assert made.errors >= 1001
        assert len(datagrams(live, 1000)) == 1000
        assert lost(made) == {}


def test_what_is_sent_to_a_source_port_is_stray(one: Namespace) -> None:
    with underlay(one, Vtep("127.0.0.1")) as made, plain(one, "127.0.0.2") as stranger:
        targets = [s.getsockname() for s in made._pools[socket.AF_INET].socks]
        for n in range(200):
            stranger.sendto(b"" if n % 3 else b"x" * 9000, targets[n % 8])

        def all_counted() -> bool:
            made.on_errors()
            return made.counts.by_reason[Drop.STRAY_DATAGRAM] >= 200

        until(all_counted, "200 stray datagrams")
        assert lost(made) == {"stray_datagram": 200}


# -- the way in -------------------------------------------------------------------------------------------------------


@families
def test_what_one_switch_sends_another_receives_as_runs(pair: Pair, ends: tuple[str, str]) -> None:
    one, two = pair
    frames = [n.to_bytes(2, "big") * 50 for n in range(64)]
    with underlay(one, Vtep(ends[0])) as near, underlay(two, Vtep(ends[1])) as far:
        (receiver,) = far.receivers.values()
        for tos in (0, 1, 0xB9):
            send(near, path(near, Vtep(ends[1])), frames, tos)
            got = runs(receiver, 64)
            assert [row for run in got for row in run] == frames
            assert len(got) < 64, "nothing was joined"
            assert (receiver.address, receiver.tos) == (ends[0], tos)
        assert (receiver.frames, receiver.ctrunc) == (3 * 64, 0)
        assert not receiver.recv_run()


def test_an_empty_datagram_is_one_too(one: Namespace) -> None:
    with underlay(one, Vtep("127.0.0.1")) as made, plain(one, "127.0.0.2") as stranger:
        (receiver,) = made.receivers.values()
        stranger.sendto(b"", ("127.0.0.1", 4789))
        until(receiver.recv_run, "the empty datagram")
        assert (receiver.run.count, receiver.run.total, receiver.frames) == (1, 0, 1)


def test_what_the_receive_buffer_could_not_take_is_counted(one: Namespace) -> None:
    """Sent == received + underlay_overflow, exactly; and nothing is counted twice."""
    with underlay(one, Vtep("127.0.0.1"), receive_buffer=1 << 16) as made, plain(one, "127.0.0.2") as stranger:
        (receiver,) = made.receivers.values()
        for _ in range(3):
            for _ in range(500):
                stranger.sendto(bytes(1000), ("127.0.0.1", 4789))
            while receiver.recv_run():
                pass
            made.poll()
            made.poll()
        overflow = made.counts.by_reason[Drop.UNDERLAY_OVERFLOW]
        assert overflow > 0 and receiver.frames + overflow == 1500
        for _ in range(300):
            stranger.sendto(bytes(1000), ("127.0.0.1", 4789))
            assert receiver.recv_run()
        made.poll()
        assert made.counts.by_reason[Drop.UNDERLAY_OVERFLOW] == overflow, "a paced run loses nothing"


def test_R20_R21_a_wrong_outer_checksum_is_dropped_and_counted_by_its_name(one: Namespace) -> None:
    """The kernel drops it, and its socket count does not say why: it must not pass for a full receive buffer."""

    def send_wrong(to: str, version: type[IP] | type[IPv6], domain: int) -> None:
        with socket.socket(domain, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for size in (22, 64, 1000):  # the kernel judges short ones at once, long ones as they are read
                packet = version(src=to, dst=to) / UDP(sport=50000, dport=4789, chksum=0x1234) / Raw(bytes(size))
                raw.sendto(bytes(packet), (to, 0))

    for to, version, domain in (("127.0.0.1", IP, socket.AF_INET), ("::1", IPv6, socket.AF_INET6)):
        with underlay(one, Vtep(to)) as made:
            (receiver,) = made.receivers.values()
            one.call(made.poll)
            one.call(lambda to=to, version=version, domain=domain: send_wrong(to, version, domain))
            assert not receiver.recv_run()
            one.call(made.poll)
            assert made.counts.as_dict(zeros=False) == {"bad_outer_checksum": 3}
