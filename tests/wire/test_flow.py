"""Flow entropy (RFC 7348 section 5) and decision keys: one flow one value, both ways; many flows well spread."""

import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    fragment6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from vxswitch.wire import flow, ip

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
FORTH = Ether(src=A, dst=B)
BACK = Ether(src=B, dst=A)
BUCKETS = 64
ROOT = Path(flow.__file__).parents[2]


def entropy(frame: Packet | bytes) -> int:
    """The hash of a frame that lies somewhere inside a buffer."""
    raw = bytes(frame)
    return flow.entropy(memoryview(b"\xa5" * 7 + raw + b"\xa5" * 60), 7, len(raw))


def v4(sport: int = 1234, dport: int = 80, layer: type[Packet] = TCP, **fields: object) -> Packet:
    return FORTH / IP(src="10.0.0.1", dst="10.0.0.2", **fields) / layer(sport=sport, dport=dport) / Raw(b"x" * 40)


def v6(sport: int = 1234, dport: int = 80, layer: type[Packet] = TCP, **fields: object) -> Packet:
    return FORTH / IPv6(src="fd00::1", dst="fd00::2", **fields) / layer(sport=sport, dport=dport) / Raw(b"x" * 40)


def v6_behind(*extensions: Packet, sport: int = 1234) -> Packet:
    packet = FORTH / IPv6(src="fd00::1", dst="fd00::2")
    for extension in extensions:
        packet /= extension
    return packet / UDP(sport=sport, dport=80)


@pytest.mark.parametrize("layer", [TCP, UDP, SCTP])
@pytest.mark.parametrize("network", [IP, IPv6])
def test_R16_both_directions_of_a_flow_agree(layer: type[Packet], network: type[Packet]) -> None:
    near, far = ("10.0.0.1", "10.0.0.2") if network is IP else ("fd00::1", "fd00::2")
    for near_port, far_port in [(1234, 80), (80, 1234), (5000, 5000)]:
        forth = FORTH / network(src=near, dst=far) / layer(sport=near_port, dport=far_port)
        back = BACK / network(src=far, dst=near) / layer(sport=far_port, dport=near_port)
        assert entropy(forth) == entropy(back)


def test_R16_directions_agree_without_ip_too() -> None:
    assert entropy(FORTH / ARP(psrc="10.0.0.1", pdst="10.0.0.2")) == entropy(
        BACK / ARP(psrc="10.0.0.2", pdst="10.0.0.1")
    )


@pytest.mark.parametrize("build", [v4, v6])
def test_R16_what_changes_within_a_flow_does_not_count(build) -> None:
    other = build()
    other[TCP].seq, other[TCP].flags, other[Raw].load = 99, "FA", b"other and longer" * 20
    if IP in other:
        other[IP].ttl, other[IP].id, other[IP].tos = 3, 77, 0xB9
    else:
        other[IPv6].hlim, other[IPv6].fl, other[IPv6].tc = 3, 77, 0xB9
    assert entropy(other) == entropy(build())


@pytest.mark.parametrize("build", [v4, v6])
def test_R16_each_field_counts(build) -> None:
    frames = [build(), build(sport=1235), build(dport=81), build(layer=UDP), build(), build(), build()]
    frames[-3][Ether].src = "02:00:00:00:00:0c"
    frames[-2][Ether].dst = "02:00:00:00:00:0c"
    frames[-1][1].dst = frames[-1][1].src
    assert len({entropy(frame) for frame in frames}) == len(frames)


def test_R16_the_pairing_of_endpoints_counts() -> None:
    # 10.0.0.1:1000 -> 10.0.0.2:2000 is not 10.0.0.1:2000 -> 10.0.0.2:1000.
    assert entropy(v4(1000, 2000)) != entropy(v4(2000, 1000))


def test_ports_are_found_behind_ipv4_options() -> None:
    options = [IPOption_NOP()] * 12
    assert entropy(v4(options=options)) == entropy(v4())
    assert entropy(v4(1235, options=options)) == entropy(v4(1235))


def test_R16_all_fragments_of_an_ipv4_packet_agree() -> None:
    whole = v4(layer=UDP)
    whole[Raw].load = b"x" * 3000
    fragments = [entropy(part) for part in fragment(whole, fragsize=1000)]
    assert len(fragments) > 2
    assert len(set(fragments)) == 1


def test_R16_all_fragments_of_an_ipv6_packet_agree() -> None:
    packet = (
        FORTH / IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrFragment() / UDP(sport=1, dport=2) / Raw(b"x" * 3000)
    )
    fragments = [entropy(part) for part in fragment6(packet, 1000)]
    assert len(fragments) > 2
    assert len(set(fragments)) == 1


CHAINS = {
    "hop-by-hop": [IPv6ExtHdrHopByHop()],
    "long hop-by-hop": [IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(20))])],
    "routing": [IPv6ExtHdrRouting(addresses=["fd00::9"])],
    "destination options": [IPv6ExtHdrDestOpt()],
    "all": [IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting(addresses=["fd00::9"]), IPv6ExtHdrDestOpt()],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_ports_are_found_behind_ipv6_extension_headers(chain: str) -> None:
    plain = FORTH / IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1234, dport=80)
    assert entropy(v6_behind(*CHAINS[chain])) == entropy(plain)
    assert entropy(v6_behind(*CHAINS[chain], sport=4321)) != entropy(plain)


def test_a_chain_over_the_bound_counts_without_ports() -> None:
    chain = [IPv6ExtHdrDestOpt()] * 5
    assert entropy(v6_behind(*chain)) == entropy(v6_behind(*chain, sport=4321))


@pytest.mark.parametrize("build", [v4, v6])
def test_ports_that_were_cut_off_do_not_count(build) -> None:
    cut = len(bytes(build())) - 60 + 3  # one byte of the four is missing: 60 is TCP header and payload
    first, second = bytes(build())[:cut], bytes(build(dport=81 << 8))[:cut]
    assert entropy(first) == entropy(second)


def test_of_what_is_not_ip_macs_and_ethertype_count() -> None:
    odd = [Ether(src=A, dst=B, type=0x88B5), Ether(src=A, dst=B, type=0x88B6), Ether(src=A, dst=A, type=0x88B5)]
    assert len({entropy(frame / Raw(b"one")) for frame in odd}) == len(odd)
    assert entropy(odd[0] / Raw(b"one")) == entropy(odd[0] / Raw(b"another"))
    assert entropy(odd[0]) == entropy(odd[0] / Raw(b"one"))


def test_a_runt_has_no_flow() -> None:
    assert [entropy(bytes(range(size))) for size in range(14)] == [0] * 14


def test_R16_the_hash_is_the_same_in_every_process() -> None:
    frame = bytes(v4())
    code = f"from vxswitch.wire import flow; print(flow.entropy(bytes.fromhex('{frame.hex()}'), 0, {len(frame)}))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {f"{entropy(frame)}\n"}


def raw_v4(
    src: int, dst: int, sport: int, dport: int, macs: bytes = bytes.fromhex("02000000000b02000000000a")
) -> bytes:
    """An IPv4/UDP frame, header checksums zero: written out, because scapy builds 2,000 a second."""
    header = bytes.fromhex("0800 4500 001c 0000 4000 4011 0000") + src.to_bytes(4, "big") + dst.to_bytes(4, "big")
    return macs + header + sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes.fromhex("0008 0000")


NET = 0x0A000000
COUNT = 100 * BUCKETS


def by_mac() -> Iterator[bytes]:
    for number in range(COUNT):
        yield bytes.fromhex("ffffffffffff") + (0x020000000000 + number).to_bytes(6, "big") + b"\x08\x06"


SWEEPS = {
    "client ports in a row": lambda: (raw_v4(NET + 1, NET + 2, 32768 + n, 80) for n in range(COUNT)),
    "client ports, every second one": lambda: (raw_v4(NET + 1, NET + 2, 32768 + 2 * n, 443) for n in range(COUNT)),
    "server ports in a row": lambda: (raw_v4(NET + 1, NET + 2, 40000, n + 1) for n in range(COUNT)),
    "both ports together": lambda: (raw_v4(NET + 1, NET + 2, 10000 + n, 10000 + n) for n in range(COUNT)),
    "client addresses": lambda: (raw_v4(NET + 256 + n, NET + 2, 5000, 5000) for n in range(COUNT)),
    "addresses on both sides": lambda: (raw_v4(NET + n % 80, NET + 256 + n // 80, 1, 2) for n in range(COUNT)),
    "MACs alone": by_mac,
}


def chi_square(frames: Iterable[bytes]) -> float:
    """Pearson's statistic of the frames' spread over BUCKETS buckets, each expected to get 100."""
    counts = Counter(flow.entropy(frame, 0, len(frame)) % BUCKETS for frame in frames)
    expected = COUNT / BUCKETS
    return sum((counts[bucket] - expected) ** 2 / expected for bucket in range(BUCKETS))


@pytest.mark.parametrize("sweep", SWEEPS)
def test_R17_flows_spread_over_64_buckets(sweep: str) -> None:
    # 63 degrees of freedom: a random spread stays below 114 with p = 0.9999 (chi-square tables).
    assert chi_square(SWEEPS[sweep]()) < 114


@pytest.mark.parametrize("sweep", SWEEPS)
def test_R17_few_flows_use_many_buckets(sweep: str) -> None:
    # 64 random throws into 64 buckets hit 40.6 on average, fewer than 30 once in about 10,000 tries.
    first = [frame for frame, _ in zip(SWEEPS[sweep](), range(BUCKETS), strict=False)]
    assert len({flow.entropy(frame, 0, len(frame)) % BUCKETS for frame in first}) >= 30


def test_all_16_bits_are_used() -> None:
    values = [flow.entropy(frame, 0, len(frame)) for frame in SWEEPS["client ports in a row"]()]
    assert max(values) < 1 << flow.ENTROPY_BITS
    for bit in range(flow.ENTROPY_BITS):
        ones = sum(value >> bit & 1 for value in values)
        assert 0.45 * COUNT < ones < 0.55 * COUNT


def key(frame: Packet, layout: struct.Struct = flow.KEY_V4) -> tuple[Any, ...]:
    return layout.unpack_from(memoryview(b"\xa5" * 7 + bytes(frame)), 7)


def test_key_sizes() -> None:
    assert flow.KEY_V4.size == 14 + ip.V4_HEADER_LEN + 4
    assert flow.KEY_V6.size == 14 + ip.V6_HEADER_LEN + 4


def test_key_v4_leaves_out_what_changes_within_a_flow() -> None:
    other = v4(ttl=3, id=4711)
    other[TCP].seq, other[Raw].load = 99, b"longer" * 50
    assert key(other) == key(v4())
    assert hash(key(other)) == hash(key(v4()))


def test_key_v6_leaves_out_what_changes_within_a_flow() -> None:
    other = v6(hlim=3)
    other[TCP].seq, other[Raw].load = 99, b"longer" * 50
    assert key(other, flow.KEY_V6) == key(v6(), flow.KEY_V6)


@pytest.mark.parametrize(
    "fields",
    [{"tos": 1}, {"tos": 0xB8}, {"flags": "MF"}, {"frag": 7}, {"proto": 17}, {"src": "10.9.9.9"}, {"dst": "10.9.9.9"}],
)
def test_key_v4_holds_each_deciding_field(fields: dict[str, object]) -> None:
    base = {"src": "10.0.0.1", "dst": "10.0.0.2", "proto": 6}
    changed = FORTH / IP(**(base | fields)) / Raw(b"\x00\x01\x00\x02")
    assert key(changed) != key(FORTH / IP(**base) / Raw(b"\x00\x01\x00\x02"))


@pytest.mark.parametrize("fields", [{"tc": 1}, {"tc": 0xB8}, {"nh": 17}, {"src": "fd00::9"}, {"dst": "fd00::9"}])
def test_key_v6_holds_each_deciding_field(fields: dict[str, object]) -> None:
    base = {"src": "fd00::1", "dst": "fd00::2", "nh": 6}
    changed = FORTH / IPv6(**(base | fields)) / Raw(b"\x00\x01\x00\x02")
    assert key(changed, flow.KEY_V6) != key(FORTH / IPv6(**base) / Raw(b"\x00\x01\x00\x02"), flow.KEY_V6)


@pytest.mark.parametrize("build", [v4, v6])
def test_key_holds_macs_ethertype_and_ports(build) -> None:
    layout = flow.KEY_V4 if build is v4 else flow.KEY_V6
    frames = [build(), build(sport=1), build(dport=1), build(), build(), build()]
    frames[3][Ether].src = frames[4][Ether].dst = "02:00:00:00:00:0c"
    frames[5][Ether].type = 0x88B5
    assert len({key(frame, layout) for frame in frames}) == len(frames)


def test_echo_keys_hold_the_type_and_neither_checksum_nor_number() -> None:
    one, other = (FORTH / IP() / ICMP(type=8, id=n, seq=n) / Raw(bytes([n]) * 20) for n in (1, 2))
    assert key(one, flow.ECHO_V4) == key(other, flow.ECHO_V4) != key(FORTH / IP() / ICMP(type=0), flow.ECHO_V4)
    assert key(one, flow.ECHO_V4)[-1] in flow.ECHO_V4_TYPES
    one, other = (FORTH / IPv6() / ICMPv6EchoRequest(id=n, seq=n, data=bytes([n]) * 20) for n in (1, 2))
    assert key(one, flow.ECHO_V6) == key(other, flow.ECHO_V6) != key(FORTH / IPv6() / ICMPv6EchoReply(), flow.ECHO_V6)
    assert key(one, flow.ECHO_V6)[-1] in flow.ECHO_V6_TYPES


def test_key_fields_are_named() -> None:
    fragmented = key(FORTH / IP(flags="MF", frag=3, proto=1) / ICMP())
    assert fragmented[flow.KEY_V4_FRAGMENT] & ip.V4_FRAGMENTED == ip.V4_MF | 3
    assert fragmented[flow.KEY_V4_PROTOCOL] == ip.PROTO_ICMP
    assert key(v4(flags="DF"))[flow.KEY_V4_FRAGMENT] & ip.V4_FRAGMENTED == 0
    assert key(v6(layer=UDP), flow.KEY_V6)[flow.KEY_V6_PROTOCOL] == ip.PROTO_UDP


@pytest.mark.parametrize("layer", [TCP, UDP, SCTP])
def test_protocols_with_ports_are_those_whose_ports_scapy_puts_first(layer: type[Packet]) -> None:
    packet = v4(0x1234, 0x5678, layer)
    assert IP(bytes(packet[IP])).proto in flow.PORT_PROTOCOLS
    assert key(packet)[-1][-4:].hex() == "12345678"
