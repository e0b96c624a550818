"""What both stores say about network records: what may be created, and when two records contradict each other."""

from __future__ import annotations

import ipaddress

from vxswitch.errors import ConflictError, StoreUnavailableError, UsageError
from vxswitch.model import NetworkRecord, check_network_name, check_vni


def check_record(record: NetworkRecord) -> NetworkRecord:
    """A record that may be created (``vni`` 0: still to be allocated), or UsageError."""
    check_network_name(record.name)
    if record.vni != 0:
        check_vni(record.vni)
    for subnet in record.subnets:
        try:
            ipaddress.ip_network(subnet)
        except ValueError as error:
            raise UsageError(f"network {record.name}: subnet {subnet!r}: {error}") from None
    if record.mtu is not None and not 68 <= record.mtu <= 65535:  # 68: RFC 791; 65535: the IP length field
        raise UsageError(f"network {record.name}: MTU {record.mtu}: want a number from 68 to 65535")
    return record


def same_or_conflict(existing: NetworkRecord, wanted: NetworkRecord) -> NetworkRecord:
    """The existing record if it is what is wanted (any VNI, if 0 is), else ConflictError with the first difference."""
    for field in NetworkRecord.__slots__:
        have, want = getattr(existing, field), getattr(wanted, field)
        if have != want and not (field == "vni" and want == 0):
            raise ConflictError(f"network {wanted.name} exists with {field} {have!r}, not {want!r}")
    return existing


def vni_in_use(wanted: NetworkRecord, other: str) -> ConflictError:
    """The VNI belongs to another name."""
    return ConflictError(f"network {wanted.name}: VNI {wanted.vni} is in use by network {other}")


def closed_after_loss(wanted: NetworkRecord, seconds: float) -> StoreUnavailableError:
    """New networks wait: one of those that were there might have its VNI."""
    return StoreUnavailableError(
        f"network {wanted.name}: the store has lost its data, and makes new networks again when all nodes had the time "
        f"to tell theirs, in {seconds:.1f} s"
    )


def not_registered(wanted: NetworkRecord) -> StoreUnavailableError:
    """The store does not know this node (any more): its next heartbeat tells why."""
    return StoreUnavailableError(f"network {wanted.name}: this node is not registered in the store yet")
