"""netns: what the user may say, knowing a namespace again, and stepping in and out."""

import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attach.unprivileged import as_nobody
from tests.kernel.namespaces import Namespace, until
from tests.kernel.tun import Tun
from vxswitch.attach import netns
from vxswitch.errors import NotFoundError, UsageError, VxswitchError

Make = Callable[[], Namespace]


def own_inode() -> int:
    """Of the calling thread's namespace."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def test_a_name_is_that_of_ip_netns(namespace: Make) -> None:
    here = namespace()
    assert netns.resolve(here.name) == netns.Netns(here.path, here.inode, None)


def test_a_path_is_made_absolute(namespace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here = namespace()
    monkeypatch.chdir("/run/netns")
    assert netns.resolve(f"./{here.name}") == netns.Netns(here.path, here.inode, None)


def test_a_number_is_a_process(namespace: Make) -> None:
    here = namespace()
    with subprocess.Popen(["ip", "netns", "exec", here.name, "cat"], stdin=subprocess.PIPE) as process:
        path = f"/proc/{process.pid}/ns/net"
        until(lambda: Path(path).stat().st_ino == here.inode, "the process inside")
        assert netns.resolve(str(process.pid)) == netns.Netns(path, here.inode, process.pid)
        found = netns.resolve(str(process.pid))
        assert netns.same(found)
        process.communicate()
    assert not netns.same(found)
    with pytest.raises(NotFoundError, match="may have ended"):
        netns.resolve(str(process.pid))


def test_a_name_of_digits_wins_over_a_process_id() -> None:
    here = Namespace(str(2**31 + secrets.randbelow(2**31)))  # no process has such an id
    try:
        assert netns.resolve(here.name) == netns.Netns(here.path, here.inode, None)
    finally:
        here.remove()


def test_what_does_not_exist_is_said_with_a_hint() -> None:
    with pytest.raises(NotFoundError, match=r"no network namespace 'nowhere-1': .*ip netns list"):
        netns.resolve("nowhere-1")
    with pytest.raises(NotFoundError, match="/proc/nowhere/ns/net does not exist"):
        netns.resolve("/proc/nowhere/ns/net")
    for text in ("", ".", ".."):
        with pytest.raises(UsageError, match="want a name, a path or a process id"):
            netns.resolve(text)


@pytest.mark.parametrize("path", ["/proc/self/ns/mnt", "/etc/hostname", "/proc/self", "/dev/null"])
def test_other_files_are_no_namespaces(path: str) -> None:
    with pytest.raises(UsageError, match="is not a network namespace"):
        netns.resolve(path)


def test_a_fifo_does_not_stop_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError):
        netns.resolve(str(tmp_path / "fifo"))


def test_same_ends_with_the_namespace_and_with_another_under_its_name(namespace: Make) -> None:
    here = namespace()
    found = netns.resolve(here.name)
    assert netns.same(found)
    with here.call(lambda: Tun("pin0")):  # keeps the old one alive, so that its number cannot be given out again
        here.remove()
        assert not netns.same(found)
        again = Namespace(here.name)
        try:
            assert again.inode != found.inode
            assert not netns.same(found)
            with pytest.raises(NotFoundError, match="not the one recorded"), netns.enter(found):
                pytest.fail("entered another namespace")
        finally:
            again.remove()


def test_same_is_false_for_a_plain_file_of_that_number(tmp_path: Path) -> None:
    """What is left at the path when a namespace was unmounted but its file was not removed."""
    plain = tmp_path / "plain"
    plain.touch()
    assert not netns.same(netns.Netns(str(plain), plain.stat().st_ino))


def test_enter_moves_the_thread_in_and_back(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    target = netns.resolve(inner.name)

    def visit() -> tuple[int, int, int]:
        before = own_inode()
        with netns.enter(target):
            inside = own_inode()
        return before, inside, own_inode()

    assert outer.call(visit) == (outer.inode, inner.inode, outer.inode)


def test_enter_comes_back_after_an_error(namespace: Make) -> None:
    home = own_inode()
    with pytest.raises(ZeroDivisionError), netns.enter(netns.resolve(namespace().name)):
        assert own_inode() != home
        raise ZeroDivisionError
    assert own_inode() == home


def test_enter_leaves_no_descriptor(namespace: Make) -> None:
    target = netns.resolve(namespace().name)
    before = sorted(Path("/proc/self/fd").iterdir())
    with netns.enter(target):
        pass
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_enter_without_the_right_says_so(namespace: Make) -> None:
    target = netns.resolve(namespace().name)

    def visit() -> str:
        with netns.enter(target):
            return "entered"

    assert as_nobody(visit).startswith(f"VxswitchError: may not enter network namespace {target.path}")


def test_a_foreign_process_is_not_looked_into() -> None:
    said = as_nobody(lambda: str(netns.resolve("1")))
    assert said.startswith("VxswitchError: may not open network namespace /proc/1/ns/net")


def test_opened_is_a_descriptor_of_it(namespace: Make) -> None:
    here = namespace()
    with netns.opened(netns.resolve(here.name)) as fd:
        assert os.fstat(fd).st_ino == here.inode
    with pytest.raises(VxswitchError), netns.opened(netns.Netns(here.path, here.inode + 1)):
        pytest.fail("opened another namespace")
