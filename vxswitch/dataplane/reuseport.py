"""Several receiving sockets on one address and port, and the program that says which of them a datagram is for.

The sockets are one SO_REUSEPORT group (socket(7)). A classic BPF program on the group answers with a socket's number,
counted in the order of binding. What is for a MAC that is somebody's goes to his socket: whoever reads a port receives
for it, too. Anything else is divided by the outer UDP source port, modulo the number of sockets. A sender keeps one
source port for one inner flow (RFC 7348 section 5), so either way one inner flow stays with one socket, and in order.

MACs are found by their last four bytes, in a tree: 1,024 of them take ten comparisons. Two that end alike are not told
apart, nor networks: then one is received by a process that does not read its port, which costs a little and loses
nothing.

Sockets of a group share their port without complaint, with anybody's of the same user. So before the group is bound
one plain socket tries the port alone: "address in use" is still found. A stranger who joins the group later gets
nothing: the program never names him.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType

from vxswitch.dataplane.sockets import UnderlayOptions, receive_socket
from vxswitch.model import Vtep
from vxswitch.wire import ip, vxlan

SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h

# linux/filter.h and linux/bpf_common.h: instructions of classic BPF, and where the network header begins
_SOCK_FILTER = struct.Struct("=HBBI")
_SOCK_FPROG = struct.Struct("@HP")
_LDX_MSH_B, _LDX_IMM = 0xB1, 0x01  # X = 4 * (byte & 15); X = k
_LD_W_ABS, _LD_H_IND = 0x20, 0x48  # A = 32 bits at k; A = 16 bits at X + k
_JA, _JEQ_K, _JGE_K = 0x05, 0x15, 0x35
_MOD_K, _RET_K, _RET_A = 0x94, 0x06, 0x16
_SKF_NET_OFF = 0x100000000 - 0x100000  # -0x100000 as 32 bits

MAX_OWNED = 1024  # MACs in a program of at most 4096 instructions (BPF_MAXINSNS)
_LEAF = 8  # MACs that are compared one by one
_END_OF_MAC = vxlan.HEADER_LEN + 2  # the last four bytes of the inner destination, from the end of UDP's header

Instruction = tuple[int, int, int, int]  # operation, how many to skip if true and if false, operand


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


def steer(sock: socket.socket, family: int, count: int, owners: Mapping[bytes, int] = MappingProxyType({})) -> None:
    """Put the program onto the group of a bound socket, in place of the one before.

    ``owners``: whose socket it is that gets what is for a MAC. Beyond ``MAX_OWNED``, or what the kernel has room for
    (net.core.optmem_max), the rest is divided like anything else.
    """
    by_source_port = _by_source_port(family, count)
    owned = sorted({int.from_bytes(mac[2:], "big"): owner for mac, owner in owners.items()}.items())[:MAX_OWNED]
    while owned:
        try:
            _attach(sock, [(_LD_W_ABS, 0, 0, _END_OF_MAC), *_find(owned, by_source_port)])
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            owned = owned[: len(owned) // 2]
        else:
            return
    _attach(sock, by_source_port)


def _attach(sock: socket.socket, program: list[Instruction]) -> None:
    code = b"".join(_SOCK_FILTER.pack(*instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    told = _SOCK_FPROG.pack(len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, told)


def _by_source_port(family: int, count: int) -> list[Instruction]:
    """It begins behind the UDP header, so the port is found from the network header; an outer IPv6 header has no
    extensions."""
    where = (_LDX_MSH_B, 0, 0, _SKF_NET_OFF) if family == socket.AF_INET else (_LDX_IMM, 0, 0, ip.V6_HEADER_LEN)
    return [where, (_LD_H_IND, 0, 0, _SKF_NET_OFF), (_MOD_K, 0, 0, count), (_RET_A, 0, 0, 0)]


def _find(owned: list[tuple[int, int]], otherwise: list[Instruction]) -> list[Instruction]:
    """Answer with the owner of what is in A; ``owned`` is sorted."""
    if len(owned) <= _LEAF:
        found = [((_JEQ_K, 0, 1, end), (_RET_K, 0, 0, owner)) for end, owner in owned]
        return [*chain.from_iterable(found), *otherwise]
    half = len(owned) // 2
    lower, upper = _find(owned[:half], otherwise), _find(owned[half:], otherwise)
    return [(_JGE_K, 0, 1, owned[half][0]), (_JA, 0, 0, len(lower)), *lower, *upper]
