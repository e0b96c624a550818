"""The privileged room as ports see it (``control.doors.Taps``): TAPs opened, taken over, accepted and let go of.

A TAP of ours that nobody holds is an orphan of an earlier life and is taken over; one that somebody holds is theirs.
"""

from __future__ import annotations

import contextlib
import os

from vxswitch.attach import link, netns, tap
from vxswitch.control.doors import Opened, Place
from vxswitch.errors import ConflictError, NotFoundError, VxswitchError

_IPV6_MIN_MTU = 1280  # RFC 8200 section 5; net/ipv6/addrconf.c, addrconf_notify


class KernelTaps:
    """``control.doors.Taps`` on this host's kernel."""

    def host_name(self, network: str) -> str:
        """See ``control.doors.Taps``, as for all methods."""
        return tap.host_name(network)

    def open_host(self, network: str, mac: bytes, mtu: int) -> Opened:
        name = tap.host_name(network)
        fd, made = _make_or_take_over(name)
        try:
            offloads = tap.prepare(fd)
            link.configure_host(name, mtu, mac, alias=link.alias_of(network))
        except BaseException:
            if made:
                self.forget(fd)
            os.close(fd)
            raise
        return Opened(fd, offloads, made)

    def follow_mtu(self, place: Place | None, ifname: str, was: int | None, mtu: int) -> None:
        where = _netns(place) if place is not None else None
        found = link.link_info(ifname, where)
        if found is None or not found.is_tap:
            raise NotFoundError(f"there is no TAP {ifname} {f'in {place.path} ' if place is not None else ''}any more")
        if found.mtu == mtu or (found.mtu < mtu and found.mtu != was):
            return
        if mtu < _IPV6_MIN_MTU <= found.mtu:
            raise VxswitchError(f"below {_IPV6_MIN_MTU} the kernel takes the IPv6 addresses off {ifname}, for ever")
        link.set_mtu(ifname, mtu, where)

    def accept(self, fd: int, name: str | None) -> Opened:
        tap.verify_passed(fd, name)
        own = tap.duplicate(fd)
        try:
            return Opened(own, tap.prepare(own))
        except BaseException:
            os.close(own)
            raise

    def reopen(self, place: Place, ifname: str) -> Opened:
        where = _netns(place)
        found = link.link_info(ifname, where)
        if found is None or not found.is_tap:
            raise NotFoundError(f"there is no TAP {ifname} in {place.path} any more")
        if not found.orphan:
            raise ConflictError(f"TAP {ifname} in {place.path} is in use by another process")
        with netns.enter(where):
            fd = tap.reattach(ifname)
        try:
            return Opened(fd, tap.prepare(fd))
        except BaseException:
            os.close(fd)
            raise

    def same(self, place: Place) -> bool:
        return netns.same(_netns(place))

    def forget(self, fd: int) -> None:
        with contextlib.suppress(VxswitchError):  # gone already
            tap.set_persist(fd, False)

    def delete_host(self, name: str) -> None:
        link.delete(name)


def _make_or_take_over(name: str) -> tuple[int, bool]:
    try:
        return tap.create(name), True
    except ConflictError:
        found = link.link_info(name)
        if found is None:
            raise
        if not found.is_tap:
            raise ConflictError(f"cannot make TAP {name}: an interface of that name exists and is no TAP") from None
        if not found.orphan:
            raise ConflictError(f"cannot make TAP {name}: it is in use, by another switch in that network?") from None
    return tap.reattach(name), False


def _netns(place: Place) -> netns.Netns:
    return netns.Netns(place.path, place.inode, place.pid)
