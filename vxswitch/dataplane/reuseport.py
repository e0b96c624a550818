"""Several receiving sockets on one address and port, and the program that says which of them a datagram is for.

The sockets are one SO_REUSEPORT group (socket(7)). A classic BPF program on the group answers with a socket's number,
counted in the order of binding: the outer UDP source port modulo the number of sockets. A sender keeps one source port
for one inner flow (RFC 7348 section 5), so one inner flow stays with one socket, and in order.

Sockets of a group share their port without complaint, with anybody's of the same user. So before the group is bound
one plain socket tries the port alone: "address in use" is still found. A stranger who joins the group later gets
nothing: the program never names him.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from vxswitch.dataplane.sockets import UnderlayOptions, receive_socket
from vxswitch.model import Vtep
from vxswitch.wire import ip

SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h

# linux/filter.h and linux/bpf_common.h: instructions of classic BPF, and where the network header begins
_SOCK_FILTER = struct.Struct("=HBBI")
_SOCK_FPROG = struct.Struct("@HP")
_LDX_MSH_B, _LDX_IMM = 0xB1, 0x01  # X = 4 * (byte & 15); X = k
_LD_H_IND = 0x48  # A = 16 bits at X + k
_MOD_K, _RET_A = 0x94, 0x16
_SKF_NET_OFF = 0x100000000 - 0x100000  # -0x100000 as 32 bits


def receive_group(vtep: Vtep, options: UnderlayOptions, count: int) -> list[socket.socket]:
    """``count`` receiving sockets of one group, in order. OSError from bind: nothing is left open."""
    receive_socket(vtep, options).close()
    socks: list[socket.socket] = []
    try:
        while len(socks) < count:
            socks.append(receive_socket(vtep, options, shared=True))
        steer(socks[0], vtep.family, count)
    except BaseException:
        for sock in socks:
            sock.close()
        raise
    return socks


def steer(sock: socket.socket, family: int, count: int) -> None:
    """Put the program onto the group of a bound socket. It begins behind the UDP header, so the port is found from
    the network header; an outer IPv6 header has no extensions."""
    where = (_LDX_MSH_B, _SKF_NET_OFF) if family == socket.AF_INET else (_LDX_IMM, ip.V6_HEADER_LEN)
    code = b"".join(
        _SOCK_FILTER.pack(operation, 0, 0, k)
        for operation, k in (where, (_LD_H_IND, _SKF_NET_OFF), (_MOD_K, count), (_RET_A, 0))
    )
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _SOCK_FPROG.pack(len(code) // _SOCK_FILTER.size, ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
