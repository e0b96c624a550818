"""What the kernel's errors mean here: errno in, one named meaning out. Each mapping is proved in tests/kernel/.

A send on an unconnected socket with IP_RECVERR may fail with an error that belongs to *another* peer's earlier
datagram (ip(7), IP_RECVERR): ``PENDING`` says that the error queue is to be drained and the send tried once more.
"""

from __future__ import annotations

import errno

from vxswitch.counters import Drop

# May be somebody else's ICMP error, reported at our send (net/ipv4/icmp.c, icmp_err_convert).
PENDING = frozenset(
    (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPROTO, errno.EMSGSIZE, errno.ENOPROTOOPT)
)
# A run is refused where each of its datagrams, or most, would be taken (net/ipv4/udp.c, udp_send_skb):
# EMSGSIZE and, before 6.12, EINVAL = a segment over the MTU; EIO = this route cannot segment.
SEGMENT_TOO_LARGE = frozenset((errno.EMSGSIZE, errno.EINVAL))
NO_SEGMENTATION = frozenset((errno.EIO,))

_SEND = {
    errno.EAGAIN: Drop.UNDERLAY_BUSY,
    errno.ENOBUFS: Drop.UNDERLAY_BUSY,
    errno.ENOMEM: Drop.UNDERLAY_BUSY,
    errno.EMSGSIZE: Drop.UNDERLAY_MTU,
    errno.EADDRNOTAVAIL: Drop.NO_VTEP_ADDRESS,
}
_TAP_WRITE = {
    errno.EAGAIN: Drop.PORT_BUSY,
    errno.ENOBUFS: Drop.PORT_BUSY,
    errno.ENOMEM: Drop.PORT_BUSY,
    errno.EIO: Drop.PORT_DOWN,  # drivers/net/tun.c, tun_get_user: the interface is not up
    errno.EBADFD: Drop.PORT_GONE,  # drivers/net/tun.c, tun_chr_write_iter: no device any more
    errno.EBADF: Drop.PORT_GONE,
    errno.ENODEV: Drop.PORT_GONE,
    errno.EINVAL: Drop.BAD_VNET_HDR,
}
GONE = frozenset((errno.EBADFD, errno.EBADF, errno.ENODEV))


def of_send(error: OSError) -> Drop:
    """The reason under which a datagram dies that the underlay socket refused."""
    return _SEND.get(error.errno or 0, Drop.UNDERLAY_ERROR)


def of_tap_write(error: OSError) -> Drop:
    """The reason under which a frame dies that the TAP refused."""
    return _TAP_WRITE.get(error.errno or 0, Drop.PORT_DOWN)
