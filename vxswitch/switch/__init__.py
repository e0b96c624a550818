"""The composition root: the only room that knows every other one.

door       what only the host can tell before anything is opened: our VTEP addresses and their devices
kernel     the privileged room as ports see it: open, take over, let go of TAPs
compose    the rooms, made and handed to each other
following  the underlay as the kernel changes it: addresses, devices, MTU
serving    the life of the process: start, ready, signals, SIGHUP, the end
"""

from vxswitch.switch.serving import serve

__all__ = ["serve"]
