"""Whether what goes into the door leaves this host: the only one who knows is the host, so it is asked.

Every so often (``Plane.check_door``) a small frame goes through the door, as any frame would, to VTEPs that nobody is.
The route to them leads into a TAP of ours, the ``exit``. Where the host forwards what comes by the door the frame comes
out there; where a firewall or a filter swallows it (Docker sets the policy of FORWARD to DROP) nothing does, and the
kernel is left alone with super-frames that would vanish like that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from vxswitch.dataplane.kernel_cut import Door
from vxswitch.dataplane.slot import VNET_LEN, Slot
from vxswitch.dataplane.underlay import Underlay
from vxswitch.fdb import Peer
from vxswitch.model import Vtep
from vxswitch.wire import ethernet, virtio, vxlan

_LOCAL_EXPERIMENT = bytes.fromhex("88b5")  # IEEE 802, local experimental ethertype 1
_TOKEN_LEN = 8
_READS = 64  # at a time; nobody else has a reason to send there
_HEADER = vxlan.header(1)


class Trial:
    """Owns the descriptor of the exit. ``targets``: one address per family that the host has."""

    def __init__(self, door: Door, underlay: Underlay, fd: int, targets: Iterable[str]) -> None:
        self._door = door
        self._underlay = underlay
        self._fd = fd
        self._peers = [Peer(Vtep(target)) for target in targets]
        self._slot = Slot(VNET_LEN + ethernet.HEADER_LEN + _TOKEN_LEN)
        self._room = bytearray(1 << 16)
        self._missing: set[bytes] = set()

    def ask(self) -> None:
        """Send one frame to each target that we have a VTEP for; what has not come back by now never will."""
        self.passed()
        self._missing.clear()
        for peer in self._peers:
            path = self._underlay.path(peer, 0)
            if path is not None:
                token = os.urandom(_TOKEN_LEN)
                self._missing.add(token)
                self._door.send(self._frame(token), path, _HEADER, 0)

    def _frame(self, token: bytes) -> Slot:
        frame = virtio.NONE + bytes(ethernet.ETHERTYPE) + _LOCAL_EXPERIMENT + token
        self._slot.view[:] = frame
        self._slot.take(0, len(frame))
        return self._slot

    def passed(self) -> bool:
        """Every frame of the last ``ask`` has come out."""
        for _ in range(_READS):
            try:
                n = os.readv(self._fd, (self._room,))
            except OSError:
                break
            self._missing.discard(bytes(self._room[n - _TOKEN_LEN : n]))
        return not self._missing

    def close(self) -> None:
        """The exit, which is not persistent, goes with its descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
