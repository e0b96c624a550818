"""The way of one frame, run dry: the real stages, asked in the real order, told one by one.

Nothing is learned, counted or sent. What the stages need that only a live frame would teach (that its source stands
behind the port) is taken as given.
"""

from __future__ import annotations

from vxswitch.counters import ALIVE, Drop
from vxswitch.dataplane import groups, neighbours, stages
from vxswitch.dataplane.asking import HOLD
from vxswitch.dataplane.fan import KEPT_COPIES
from vxswitch.dataplane.flow import flow_key
from vxswitch.dataplane.port import Port
from vxswitch.dataplane.underlay import Underlay
from vxswitch.fdb import Peer, Table
from vxswitch.model import format_mac
from vxswitch.wire import ethernet, ip
from vxswitch.wire.flow import entropy
from vxswitch.wire.neighbour import listen

Stage = dict[str, str]


def trace(underlay: Underlay, table: Table, port: Port, frame: bytes) -> list[Stage]:
    """What would happen to ``frame`` (without vnet header) if ``port`` sent it now: [{stage, verdict, detail}]."""
    told: list[Stage] = []
    dst, src = frame[: ethernet.SRC], frame[ethernet.SRC : ethernet.ETHERTYPE]
    tags = ethernet.tag_count(frame, 0, len(frame))
    stripped = tags if table.vlan == "strip" and tags > 0 else 0
    alive = (
        _tell(told, "runt", _runt(frame), f"{len(frame)} bytes from port {port.id}")
        and _tell(told, "vlan", Drop.VLAN_POLICY if tags < 0 else ALIVE, f"{tags} tags, policy {table.vlan}")
        and _tell(
            told,
            "size",
            stages.size(table, len(frame) - stripped * ethernet.TAG_LEN, tags - stripped),
            f"MTU {table.mtu}",
        )
        and _tell(told, "source", stages.local_source(port, src), format_mac(src))
        and _address(told, port, frame, tags)
        and _tell(told, "group", stages.group_destination(dst), format_mac(dst))
    )
    if alive and not _neighbour(told, underlay, table, port, frame):
        _lookup(told, underlay, table, port, frame)
    return told


def trace_in(table: Table, src: bytes, dst: bytes, frame: bytes) -> list[Stage]:
    """What would happen to ``frame`` if the VTEP behind which ``src`` stands had sent it here now."""
    told: list[Stage] = []
    row = table.lookup(src)
    peer = row.hop if row is not None and isinstance(row.hop, Peer) else next(iter(table.senders.values()), None)
    _tell(told, "vni", ALIVE, f"{table.vni} is network {table.name}")
    if peer is None:
        _tell(told, "sender", Drop.UNKNOWN_VTEP, "no VTEP is known in this network")
        return told
    tags = ethernet.tag_count(frame, 0, len(frame))
    alive = (
        _tell(told, "sender", ALIVE, f"VTEP {peer.vtep}")
        and _tell(told, "source", stages.remote_source(table, peer, src), format_mac(src))
        and _tell(told, "vlan", stages.vlan_in(table, tags), f"{tags} tags, policy {table.vlan}")
        and _tell(told, "size", stages.size_in(table, len(frame), tags), f"MTU {table.mtu_in}")
        and _tell(told, "group", stages.group_destination(dst), format_mac(dst))
    )
    if alive:
        _lookup_in(told, table, frame)
    return told


def _lookup_in(told: list[Stage], table: Table, frame: bytes) -> None:
    dst = frame[: ethernet.SRC]
    row = None if dst[0] & 1 else table.lookup(dst)
    if row is not None and row.hop is not None:
        where = _hop_name(row.hop)
        if _tell(told, "lookup", stages.unicast_from_vtep(row), f"{row.basis} row: {where}"):
            _tell(told, "deliver", ALIVE, f"to {where}")
        return
    if not dst[0] & 1 and not _tell(told, "unknown", stages.unknown_unicast(table), f"policy {table.unknown}"):
        return
    way = groups.way(table, frame, 0, len(frame), Drop.NO_FLOOD_PEERS)
    ports = way.audience.ports
    stage, what = ("flood", "") if way.listeners is None else ("listeners", _kept(frame, len(ports)))
    if _tell(told, stage, ALIVE if ports else way.nowhere, f"{len(ports)} local ports{what}"):
        for hop in ports:
            _tell(told, "deliver", ALIVE, f"to {_hop_name(hop)}")


def _address(told: list[Stage], port: Port, frame: bytes, tags: int) -> bool:
    if port.addresses is None:
        return True
    verdict = stages.local_address(port, frame, 0, len(frame), tags)
    return _tell(told, "address", verdict, f"{len(port.addresses)} addresses given to the port")


def _neighbour(told: list[Stage], underlay: Underlay, table: Table, port: Port, frame: bytes) -> bool:
    """Whether it is a question that is not flooded: answered, or asked of one VTEP alone."""
    said = listen(frame, 0, len(frame))
    if said is None or said.mac != frame[ethernet.SRC : ethernet.ETHERTYPE]:
        return False
    owner = neighbours.owner(table, said, frame[: ethernet.SRC])
    if owner is None or not isinstance(owner.hop, Peer):
        return False
    if neighbours.vouched_for(owner):
        _tell(told, "neighbour", ALIVE, f"answered for {format_mac(owner.mac)}")
        _tell(told, "deliver", ALIVE, f"to {_hop_name(port)}")
    else:
        _tell(told, "neighbour", ALIVE, f"{format_mac(owner.mac)} is asked alone")
        _encap(told, underlay, owner.hop, frame)
    return True


def _runt(frame: bytes) -> int:
    return Drop.RUNT_FRAME if len(frame) < ethernet.HEADER_LEN else ALIVE


def _tell(told: list[Stage], stage: str, verdict: int, detail: str) -> bool:
    told.append({"stage": stage, "verdict": Drop(verdict).label if verdict else "ok", "detail": detail})
    return not verdict


def _lookup(told: list[Stage], underlay: Underlay, table: Table, port: Port, frame: bytes) -> None:
    dst = frame[: ethernet.SRC]
    row = None if dst[0] & 1 else table.lookup(dst)
    if row is None or row.hop is None:
        what = "group address" if dst[0] & 1 else "unknown unicast"
        policy = f"policy {table.unknown}" + (f": waits {HOLD:g} s for an answer" if table.unknown == "ask" else "")
        if not dst[0] & 1 and not _tell(told, "unknown", stages.unknown_unicast(table), policy):
            return
        _flood(told, underlay, table, port, frame, what)
        return
    where = _hop_name(row.hop)
    if not _tell(told, "lookup", stages.unicast_from_port(row, port), f"{row.basis} row: {where}"):
        return
    if isinstance(row.hop, Peer):
        _encap(told, underlay, row.hop, frame)
    else:
        _tell(told, "deliver", ALIVE, f"to {where}")


def _flood(told: list[Stage], underlay: Underlay, table: Table, port: Port, frame: bytes, what: str) -> None:
    way = groups.way(table, frame, 0, len(frame), stages.no_hops(table))
    ports, vteps = way.audience
    others = [hop for hop in ports if hop is not port]
    hops = len(others) + len(vteps)
    detail = f"{what}: {len(others)} ports, {len(vteps)} VTEPs"
    if way.listeners is not None:
        detail += _kept(frame, hops) + f", budget for {'copies' if way.listeners.joined else 'floods'}"
    stage = "flood" if way.listeners is None else "listeners"
    if not _tell(told, stage, ALIVE if hops else way.nowhere, detail):
        return
    for hop in others:
        _tell(told, "deliver", ALIVE, f"to {_hop_name(hop)}")
    for peer in vteps:
        _encap(told, underlay, peer, frame)


def _kept(frame: bytes, copies: int) -> str:
    """Whether the next frames of a group flow go by what is decided about this one."""
    kept = flow_key(memoryview(frame), 0, len(frame), 0) is not None and copies <= KEPT_COPIES
    return ", decided once for the flow" if kept else ", decided for each frame"


def _encap(told: list[Stage], underlay: Underlay, peer: Peer, frame: bytes) -> None:
    path = underlay.path(peer, entropy(frame, 0, len(frame)))
    if path is None:
        _tell(told, "encap", Drop.NO_VTEP_ADDRESS, f"no local VTEP of the family of {peer.vtep}")
        return
    address, source_port = path.sock.getsockname()[:2]
    state = "" if peer.live else ", suspended"
    tos = ip.tos(frame, 0, len(frame)) & ip.ECN_MASK
    _tell(told, "encap", ALIVE, f"from {address} port {source_port} to {peer.vtep}, ToS {tos}{state}")


def _hop_name(hop: object) -> str:
    if isinstance(hop, Peer):
        return f"VTEP {hop.vtep}" + (f" of node {hop.node}" if hop.node else "")
    return f"port {hop.id}" if isinstance(hop, Port) else str(hop)
