"""netlink: sockets where they are wanted, errors that name the thing, dumps that are asked again, and uvloop."""

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

from tests.kernel.namespaces import Namespace
from vxswitch.attach import link, netlink
from vxswitch.attach.netns import resolve
from vxswitch.errors import VxswitchError

Make = Callable[[], Namespace]


def test_opened_speaks_to_the_namespace_it_is_told(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    inner.ip("link", "add", "here0", "type", "veth", "peer", "name", "here1")
    target = resolve(inner.name)

    def names(where: bool) -> set[str]:
        with netlink.opened(target if where else None) as ipr:
            return {message.get("ifname") for message in netlink.dump(ipr.get_links)}

    assert outer.call(lambda: names(True)) == {"lo", "here0", "here1"}
    assert outer.call(lambda: names(False)) == {"lo"}


def test_opened_leaves_no_descriptor(namespace: Make) -> None:
    target = resolve(namespace().name)
    before = sorted(Path("/proc/self/fd").iterdir())
    for _ in range(5):
        assert link.exists("lo", target)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_it_works_from_a_thread_under_a_running_loop(namespace: Make, run: Callable[..., object]) -> None:
    """pyroute2 fails when called under a running uvloop; in a thread of it there is no running loop."""
    target = resolve(namespace().name)

    async def ask() -> list[bool]:
        return await asyncio.gather(*(asyncio.to_thread(link.exists, "lo", target) for _ in range(8)))

    assert run(ask()) == [True] * 8


def test_asking_names_what_was_asked_and_why_it_failed() -> None:
    with pytest.raises(VxswitchError, match=r"\Acannot do it: No such device\Z"), netlink.asking("do it"):
        raise NetlinkError(errno.ENODEV)
    with pytest.raises(VxswitchError, match="root or CAP_NET_ADMIN"), netlink.asking("do it"):
        raise NetlinkError(errno.EPERM)


def test_an_interrupted_dump_is_asked_again() -> None:
    answers = iter([NetlinkDumpInterrupted(), NetlinkDumpInterrupted(), ["whole"]])

    def ask() -> list[str]:
        answer = next(answers)
        if isinstance(answer, list):
            return answer
        raise answer

    assert netlink.dump(ask) == ["whole"]


def test_a_dump_that_is_always_interrupted_is_given_up() -> None:
    def ask() -> list[str]:
        raise NetlinkDumpInterrupted

    with pytest.raises(VxswitchError, match="they changed during each"):
        netlink.dump(ask)
