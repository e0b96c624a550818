"""N hosts in namespaces on one machine: the demo, the network tests and the benchmarks stand on it."""

from vxswitch.lab.meter import Meter, Passage
from vxswitch.lab.netns import Namespace, command, until
from vxswitch.lab.owner import LabError
from vxswitch.lab.probe import LossMeter, PingResult, ping
from vxswitch.lab.store import StoreServer
from vxswitch.lab.switch import SwitchProcess
from vxswitch.lab.topology import Host, Lab
from vxswitch.lab.transfer import Transfer, hear, saying, tcp_transfer

__all__ = [
    "Host",
    "Lab",
    "LabError",
    "LossMeter",
    "Meter",
    "Namespace",
    "Passage",
    "PingResult",
    "StoreServer",
    "SwitchProcess",
    "Transfer",
    "command",
    "hear",
    "ping",
    "saying",
    "tcp_transfer",
    "until",
]
