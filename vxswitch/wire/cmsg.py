"""Ancillary data and socket options of the underlay sockets: numbers and codecs (cmsg(3), udp(7), ip(7), ipv6(7)).

What a UDP socket says beside the bytes. Sending, a control message asks the kernel to cut a run (UDP_SEGMENT) or sets
the outer ToS. Receiving, it tells the segment size of a joined run (UDP_GRO), the outer ToS, and the largest fragment
if the datagram was reassembled. From the error queue (MSG_ERRQUEUE) it tells which ICMP or local error struck whom.

Control messages have the shape that socket.sendmsg and socket.recvmsg use: (level, type, data). Integers are in host
order, except the addresses. The standard library's socket module names only some of these numbers, and fewer of them
in Python 3.11; all stand here, with the header that they come from. SO_* are asm-generic's: MIPS, SPARC, PA-RISC and
Alpha number them differently.
"""

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

ControlMessage: TypeAlias = tuple[int, int, bytes]

# include/linux/socket.h of the kernel source: AF_*, SOL_*
AF_INET: Final = 2
AF_INET6: Final = 10
SOL_IP: Final = 0
SOL_UDP: Final = 17
SOL_IPV6: Final = 41

# asm-generic/socket.h
SOL_SOCKET: Final = 1
SO_NO_CHECK: Final = 11
SO_MEMINFO: Final = 55

# linux/udp.h
UDP_NO_CHECK6_RX: Final = 102
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104

# linux/in.h
IP_TOS: Final = 1
IP_MTU_DISCOVER: Final = 10
IP_RECVERR: Final = 11
IP_RECVTOS: Final = 13
IP_RECVFRAGSIZE: Final = 25
IP_PMTUDISC_PROBE: Final = 3

# linux/in6.h
IPV6_MTU_DISCOVER: Final = 23
IPV6_RECVERR: Final = 25
IPV6_DONTFRAG: Final = 62
IPV6_AUTOFLOWLABEL: Final = 70
IPV6_RECVTCLASS: Final = 66
IPV6_TCLASS: Final = 67
IPV6_RECVFRAGSIZE: Final = 77
IPV6_PMTUDISC_PROBE: Final = 3

# linux/errqueue.h
SO_EE_ORIGIN_LOCAL: Final = 1
SO_EE_ORIGIN_ICMP: Final = 2
SO_EE_ORIGIN_ICMP6: Final = 3

# linux/sock_diag.h: SO_MEMINFO yields SK_MEMINFO_VARS 32-bit numbers, this one counts datagrams lost to a full buffer.
MEMINFO: Final = struct.Struct("=9I")
SK_MEMINFO_DROPS: Final = 8

# Room for UDP_GRO, ToS and fragment size, or for one extended error with an IPv6 offender, and some to spare.
ANCILLARY_LEN: Final = 128

_INT: Final = struct.Struct("=i")
_U16: Final = struct.Struct("=H")
_EXTENDED_ERR: Final = struct.Struct("=IBBBxII")  # sock_extended_err: errno, origin, type, code, pad, info, data
_FAMILY: Final = struct.Struct("=H")
_SOCKADDR_IN: Final = struct.Struct("=HH4s")  # family, port, address (linux/in.h)
_SOCKADDR_IN6: Final = struct.Struct("=HHI16s")  # family, port, flow information, address (linux/in6.h)


class ExtendedError(NamedTuple):
    """One entry of a socket's error queue (struct sock_extended_err)."""

    errno: int
    origin: int  # SO_EE_ORIGIN_*: LOCAL is our own stack's word, ICMP and ICMP6 can be forged
    type: int  # of the ICMP message, if it was one
    code: int
    info: int  # the path MTU, if errno is EMSGSIZE
    offender: bytes  # who sent the ICMP message: 4 or 16 address bytes; empty if unknown or local


def segment_cmsg(size: int) -> list[ControlMessage]:
    """Ask the kernel to cut what is sent into datagrams of `size` bytes, 1..65535, the last one may be shorter."""
    return [(SOL_UDP, UDP_SEGMENT, _U16.pack(size))]


def tos_cmsg(family: int, tos: int) -> list[ControlMessage]:
    """Set the outer ToS (AF_INET) or traffic class (AF_INET6), 0..255, of what is sent."""
    if family == AF_INET6:
        return [(SOL_IPV6, IPV6_TCLASS, _INT.pack(tos))]
    return [(SOL_IP, IP_TOS, _INT.pack(tos))]


def parse(cmsgs: Iterable[ControlMessage]) -> tuple[int, int, int]:
    """Control messages of a received run -> (gro_size, tos, frag_size), 0 for whatever was not said.

    gro_size: bytes per datagram of a joined run; tos: outer ToS or traffic class; frag_size: bytes of the largest
    fragment of a reassembled datagram. A control message of an unexpected size (cut by MSG_CTRUNC) is passed over.
    """
    gro_size = tos = frag_size = 0
    for level, kind, data in cmsgs:
        if len(data) == _INT.size:
            if level == SOL_UDP and kind == UDP_GRO:
                gro_size = _INT.unpack(data)[0]
            elif level == SOL_IPV6 and kind == IPV6_TCLASS:
                tos = _INT.unpack(data)[0]
            elif (level == SOL_IP and kind == IP_RECVFRAGSIZE) or (level == SOL_IPV6 and kind == IPV6_RECVFRAGSIZE):
                frag_size = _INT.unpack(data)[0]
        elif level == SOL_IP and kind == IP_TOS and len(data) == 1:
            tos = data[0]
    return gro_size, tos, frag_size


def parse_extended_error(cmsgs: Iterable[ControlMessage]) -> ExtendedError | None:
    """The extended error among the control messages of a MSG_ERRQUEUE read; None if there is none that is whole."""
    for level, kind, data in cmsgs:
        ours = (level == SOL_IP and kind == IP_RECVERR) or (level == SOL_IPV6 and kind == IPV6_RECVERR)
        if ours and len(data) >= _EXTENDED_ERR.size:
            errno, origin, ee_type, code, info, _ = _EXTENDED_ERR.unpack_from(data)
            return ExtendedError(errno, origin, ee_type, code, info, _offender(data[_EXTENDED_ERR.size :]))
    return None


def _offender(sockaddr: bytes) -> bytes:
    """The address in a sockaddr_in or sockaddr_in6; empty for any other family (AF_UNSPEC: a local error)."""
    if len(sockaddr) < _FAMILY.size:
        return b""
    family = _FAMILY.unpack_from(sockaddr)[0]
    for layout, layout_family in ((_SOCKADDR_IN, AF_INET), (_SOCKADDR_IN6, AF_INET6)):
        if family == layout_family and len(sockaddr) >= layout.size:
            address: bytes = layout.unpack_from(sockaddr)[-1]
            return address
    return b""
