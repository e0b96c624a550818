"""The frame that ``vxswitch trace`` sends through the pipeline: as small as the question, as real as it has to be.

With addresses it is an IPv4 or IPv6 packet of TCP, UDP or ICMP echo; without, a frame of the ethertype that IEEE 802
keeps for local experiments. Checksums are left zero: no stage looks at them.
"""

from __future__ import annotations

import ipaddress
import struct

from vxswitch.errors import UsageError

ETH_P_EXPERIMENT = 0x88B5  # IEEE 802-2014 section 9.2.3.2
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD
_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58  # IANA protocol numbers
_SOURCE_PORT = 40000  # any would do: only its share in the flow's hash matters

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def build(
    src: bytes, dst: bytes, src_ip: str | None, dst_ip: str | None, proto: str | None, dport: int | None
) -> bytes:
    """An Ethernet frame from ``src`` to ``dst``; UsageError if a protocol is asked for without addresses to match."""
    if src_ip is None or dst_ip is None:
        if proto is not None:
            raise UsageError(f"trace --{proto}: the addresses are not known: give IP addresses for --src and --dst")
        return dst + src + struct.pack("!H", ETH_P_EXPERIMENT) + bytes(46)
    a, b = ipaddress.ip_address(src_ip), ipaddress.ip_address(dst_ip)
    if a.version != b.version:
        raise UsageError(f"trace: {a} and {b} are of different families")
    payload = _payload(proto, dport)
    packet = _ipv4(a, b, proto, payload) if a.version == 4 else _ipv6(a, b, proto, payload)
    return dst + src + struct.pack("!H", _ETH_P_IP if a.version == 4 else _ETH_P_IPV6) + packet


def _payload(proto: str | None, dport: int | None) -> bytes:
    if proto == "tcp":
        return struct.pack("!HHIIBBHHH", _SOURCE_PORT, dport or 0, 0, 0, 5 << 4, 0x02, 65535, 0, 0)  # a SYN
    if proto == "udp":
        return struct.pack("!HHHH", _SOURCE_PORT, dport or 0, 8, 0)
    return bytes(8)


def _ipv4(src: Address, dst: Address, proto: str | None, payload: bytes) -> bytes:
    number = {"tcp": _TCP, "udp": _UDP}.get(proto or "", _ICMP)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, number, 0)
    return head + src.packed + dst.packed + payload


def _ipv6(src: Address, dst: Address, proto: str | None, payload: bytes) -> bytes:
    number = {"tcp": _TCP, "udp": _UDP}.get(proto or "", _ICMPV6)
    return struct.pack("!IHBB", 6 << 28, len(payload), number, 64) + src.packed + dst.packed + payload
