"""The data planes that are measured side by side."""

from benchmarks.peers.base import Pair, Peer
from benchmarks.peers.kernel import Kernel
from benchmarks.peers.naive import Naive
from benchmarks.peers.ovs import Ovs
from benchmarks.peers.tinc import Tinc
from benchmarks.peers.vde import Vde
from benchmarks.peers.vxswitch import BusyPoll, KernelCut, Vxswitch, Workers
from benchmarks.peers.wireguard import Wireguard

QUICK: tuple[type[Peer], ...] = (Kernel, Tinc, Vxswitch)
ALL: tuple[type[Peer], ...] = (Kernel, Ovs, Tinc, Wireguard, Vde, Naive, Vxswitch, KernelCut, BusyPoll, Workers)

__all__ = ["ALL", "QUICK", "KernelCut", "Pair", "Peer", "Vxswitch"]
