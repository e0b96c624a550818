"""A VXLAN tunnel as anybody would first write it in Python: one read, one sendto per frame, and back.

    naive_switch.py TAP VNI PEER    joins a TAP (which must exist in this namespace's reach) with one VTEP

It checks nothing, learns nothing and counts nothing: it is the floor below which no design should fall.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
PORT = 4789


def main(tap: str, vni: str, peer: str) -> None:
    """Forward until ended."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI))
    underlay = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    underlay.bind(("", PORT))
    header = struct.pack("!II", 0x08000000, int(vni) << 8)  # RFC 7348 section 5
    selector = selectors.EpollSelector()
    selector.register(device, selectors.EVENT_READ)
    selector.register(underlay, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fd == device:
                underlay.sendto(header + os.read(device, 65536), (peer, PORT))
            else:
                os.write(device, underlay.recv(65536)[len(header) :])


if __name__ == "__main__":
    main(*sys.argv[1:])
