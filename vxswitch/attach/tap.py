"""Making, naming and setting TAP devices: python-pytun creates them, plain ioctls on the descriptor do the rest.

A TAP lives as long as one descriptor of it is open, or for ever once TUNSETPERSIST is set. The descriptor made by
pytun is duplicated and the pytun object closed at once: both name one open file, the kernel detaches the queue when
the last one closes, so the duplicate alone carries the queue. pytun's own ``.up()``, ``.mtu`` and ``.hwaddr`` are not
used: they act by *name* in the caller's namespace, which after a move is another device or none.

A descriptor holds the network namespace it was *opened* in. ``create`` is therefore called outside the container, and
``link.move_into`` takes the device inside; only ``reattach`` of a TAP that survived its owner has to open inside.

Every queue has IFF_VNET_HDR and IFF_MULTI_QUEUE. Offloads and the size of the vnet header belong to the *device*: those
of a previous owner stay, so each new owner calls ``prepare``. The answer of TUNGETIFF is the only true name, in any
namespace, and must equal the name asked for: TUNSETIFF cuts at 15 bytes without a word.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import struct
from dataclasses import dataclass

import pytun

from vxswitch.errors import ConflictError, NotFoundError, UsageError, VxswitchError

# linux/if_tun.h; the numbers are those of every architecture with the generic _IOC layout (x86, arm, riscv, s390).
TUNSETIFF = 0x400454CA
TUNSETPERSIST = 0x400454CB
TUNSETOFFLOAD = 0x400454D0
TUNGETIFF = 0x800454D2
TUNSETVNETHDRSZ = 0x400454D8

# linux/if_tun.h, flags of TUNSETIFF and TUNGETIFF
IFF_TUN = 0x0001
IFF_TAP = 0x0002
IFF_MULTI_QUEUE = 0x0100
IFF_PERSIST = 0x0800
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
IFF_TUN_EXCL = 0x8000

# linux/if_tun.h, bits of TUNSETOFFLOAD: what the reader of the TAP takes unfinished
TUN_F_CSUM = 0x01
TUN_F_TSO4 = 0x02
TUN_F_TSO6 = 0x04
TUN_F_TSO_ECN = 0x08
TUN_F_UFO = 0x10
TUN_F_USO4 = 0x20
TUN_F_USO6 = 0x40

OFFLOADS_TSO = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
OFFLOADS_FULL = OFFLOADS_TSO | TUN_F_USO4 | TUN_F_USO6  # USO: kernel >= 6.2, both bits or EINVAL

VNET_HEADER_SIZE = 10  # struct virtio_net_hdr, linux/virtio_net.h

IFNAMSIZ = 16  # linux/if.h, the closing zero byte included
QUEUE_FLAGS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE
HOST_PREFIX = "vx-"
TEMPORARY_PREFIX = "vxt-"
TUN_DEVICE = "/dev/net/tun"

_TUN_DEVICE_NUMBER = os.makedev(10, 200)  # Documentation/admin-guide/devices.txt: misc 10, TUN_MINOR 200
_IFREQ = struct.Struct("16sH22x")  # struct ifreq, linux/if.h: ifr_name, ifr_flags, the rest of the union


@dataclass(frozen=True, slots=True)
class TapIdentity:
    """What TUNGETIFF says: the device's present name, in whichever namespace it stands, and its IFF_* flags."""

    name: str
    flags: int

    @property
    def persistent(self) -> bool:
        return bool(self.flags & IFF_PERSIST)


def host_name(network: str) -> str:
    """Name of the host's own TAP in ``network``: ``vx-NAME``, a long NAME cut to 7 characters and 4 digits of hash."""
    if len(network) <= IFNAMSIZ - 1 - len(HOST_PREFIX):
        return HOST_PREFIX + network
    return f"{HOST_PREFIX}{network[:7]}-{hashlib.blake2s(network.encode()).hexdigest()[:4]}"


def temporary_name() -> str:
    """A name no other TAP has, worn until the device is moved and renamed: ``vxt-`` and 10 random hex digits."""
    return TEMPORARY_PREFIX + secrets.token_hex(5)


def check_ifname(name: str) -> str:
    """The name itself; UsageError if the kernel would refuse it (dev_valid_name), cut it or take '%' for a pattern."""
    size = len(os.fsencode(name))
    if not 1 <= size < IFNAMSIZ:
        raise UsageError(f"interface name {name!r}: {size} bytes, want 1 to {IFNAMSIZ - 1}")
    if name in (".", "..") or any(c in "/:%" or c.isspace() or not c.isprintable() for c in name):
        raise UsageError(f"interface name {name!r}: '.', '..', '/', ':', '%' and spaces are not allowed")
    return name


def create(name: str, *, exclusive: bool = True, persistent: bool = True) -> int:
    """Make a TAP in the caller's namespace; a non-blocking, non-inheritable descriptor that the caller closes.

    ``exclusive`` refuses a name that is taken (IFF_TUN_EXCL); without it the queue joins a TAP of that name, if
    there is one made with the same flags. Raises ConflictError, UsageError or VxswitchError.
    """
    fd = _open_queue(name, QUEUE_FLAGS | (IFF_TUN_EXCL if exclusive else 0))
    try:
        if persistent:
            set_persist(fd, True)
    except VxswitchError:
        os.close(fd)
        raise
    return fd


def reattach(name: str) -> int:
    """A queue of the persistent TAP ``name`` in the caller's namespace, which the descriptor then keeps alive.

    Raises NotFoundError if there is no such TAP, VxswitchError if it was made with other flags.
    """
    fd = _open_queue(name, QUEUE_FLAGS)
    if identify(fd).persistent:
        return fd
    os.close(fd)  # made by this very call, or another program's own: either way it is as it was before
    raise NotFoundError(f"cannot re-attach to TAP {name}: there is no persistent TAP of that name here")


def identify(fd: int) -> TapIdentity:
    """Name and flags of the device behind ``fd``; VxswitchError if it is no TAP or the device is gone."""
    try:
        raw_name, flags = _IFREQ.unpack(fcntl.ioctl(fd, TUNGETIFF, bytes(_IFREQ.size)))
    except OSError as error:
        if error.errno == errno.EBADFD:
            raise VxswitchError(f"descriptor {fd}: its TAP is gone, or none was ever attached to it") from None
        raise VxswitchError(f"descriptor {fd} is not a TAP: {error.strerror}") from None
    return TapIdentity(os.fsdecode(raw_name.rstrip(b"\0")), flags)


def verify_passed(fd: int, expected_name: str | None = None) -> TapIdentity:
    """Check a descriptor that came from another process and make it non-blocking; VxswitchError says what is wrong.

    The device number is looked at first: no ioctl is sent to something that only pretends to know it. IFF_NO_PI
    cannot be checked: TUNGETIFF sets the same bit for "no filter" (IFF_NOFILTER, linux/if_tun.h).
    """
    status = os.fstat(fd)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _TUN_DEVICE_NUMBER:
        raise VxswitchError(f"descriptor passed is not one of {TUN_DEVICE}: pass that of a TAP")
    found = identify(fd)
    for flag, word in ((IFF_TAP, "IFF_TAP"), (IFF_VNET_HDR, "IFF_VNET_HDR")):
        if not found.flags & flag:
            raise VxswitchError(f"descriptor passed is of {found.name}, made without {word}: make it a TAP with it")
    if expected_name is not None and found.name != expected_name:
        raise VxswitchError(f"descriptor passed is of {found.name}, the message says {expected_name}")
    os.set_blocking(fd, False)
    return found


def duplicate(fd: int) -> int:
    """Another descriptor of the same queue, not inheritable, with a life of its own."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)


def prepare(fd: int, wanted: int = OFFLOADS_FULL) -> int:
    """What each new owner of a TAP does: set the vnet header to 10 bytes and the offloads, which are returned."""
    set_vnet_header_size(fd, VNET_HEADER_SIZE)
    return set_offloads(fd, wanted)


def set_offloads(fd: int, mask: int = OFFLOADS_FULL) -> int:
    """Ask for the TUN_F_* of ``mask``, then without USO, then CSUM alone, then none; what the kernel accepted."""
    for attempt in dict.fromkeys((mask, mask & OFFLOADS_TSO, mask & TUN_F_CSUM, 0)):
        try:
            fcntl.ioctl(fd, TUNSETOFFLOAD, attempt)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise _failed(fd, "set the offloads", error) from None
        else:
            return attempt
    raise VxswitchError(f"TAP {identify(fd).name}: the kernel refuses even to switch its offloads off")


def set_vnet_header_size(fd: int, size: int = VNET_HEADER_SIZE) -> None:
    """Bytes before each frame that is read or written: 10, or 12 with num_buffers, or 24 with tunnel fields."""
    try:
        fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", size))
    except OSError as error:
        raise _failed(fd, f"set a vnet header of {size} bytes", error) from None


def set_persist(fd: int, persistent: bool) -> None:
    """Whether the device outlives its last descriptor. Off and closed by all, it is gone wherever it stands."""
    try:
        fcntl.ioctl(fd, TUNSETPERSIST, int(persistent))
    except OSError as error:
        raise _failed(fd, "change persistence", error) from None


def _open_queue(name: str, flags: int) -> int:
    check_ifname(name)
    try:
        device = pytun.TunTapDevice(name=name, flags=flags, dev=TUN_DEVICE)
    except OSError as error:  # pytun.Error is one
        raise _refused(name, flags, error) from None
    try:
        fd = duplicate(device.fileno())
    finally:
        device.close()
    os.set_blocking(fd, False)
    found = identify(fd).name
    if found != name:
        os.close(fd)
        raise VxswitchError(f"cannot make TAP {name}: the kernel named it {found}")
    return fd


def _refused(name: str, flags: int, error: OSError) -> VxswitchError:
    match error.errno:
        case errno.EBUSY:
            return ConflictError(f"cannot make TAP {name}: the name is taken: remove it with `ip link del {name}`")
        case errno.EINVAL if not flags & IFF_TUN_EXCL:
            return ConflictError(f"cannot attach to {name}: it is not a TAP made with multi_queue")
        case errno.EINVAL:
            return ConflictError(f"cannot make TAP {name}: an interface of that name exists and is not a TAP")
        case errno.EPERM | errno.EACCES:
            return VxswitchError(f"cannot make TAP {name}: {error.strerror}: this needs root or CAP_NET_ADMIN")
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return VxswitchError(f"cannot make TAP {name}: no {TUN_DEVICE}: `modprobe tun`, or pass the device in")
    return VxswitchError(f"cannot make TAP {name}: {error}")


def _failed(fd: int, what: str, error: OSError) -> VxswitchError:
    return VxswitchError(f"TAP {identify(fd).name}: cannot {what}: {error.strerror}")
