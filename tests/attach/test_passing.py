"""passing: messages with descriptors, their limits, and what becomes of descriptors when a message is refused."""

import array
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vxswitch.attach import passing
from vxswitch.errors import (
    ConflictError,
    NotFoundError,
    NotReachableError,
    StoreUnavailableError,
    UsageError,
    VxswitchError,
)

Keep = Callable[[int], int]
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Two ends of one SOCK_SEQPACKET connection."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        yield left, right


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def raw_send(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])


def test_an_object_and_its_descriptors_arrive_together(ends: Ends, keep: Keep) -> None:
    left, right = ends
    reader, writer = os.pipe()
    passing.send_message(left, {"op": "attach", "ips": ["10.1.0.2/24"]}, [keep(writer)])
    obj, fds = passing.recv_message(right)
    assert obj == {"op": "attach", "ips": ["10.1.0.2/24"]}
    (passed,) = [keep(fd) for fd in fds]
    assert not os.get_inheritable(passed)
    os.write(passed, b"through")
    assert os.read(keep(reader), 100) == b"through"


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())))
def test_any_object_comes_back_as_it_was(obj: dict[str, object]) -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        passing.send_message(left, obj)
        assert passing.recv_message(right) == (obj, [])


@pytest.mark.parametrize("count", [passing.MAX_FDS, passing.MAX_FDS + 1])
def test_sixteen_descriptors_pass_and_seventeen_do_not(ends: Ends, keep: Keep, count: int) -> None:
    left, right = ends
    one = keep(os.open("/dev/null", os.O_RDWR))
    before = open_descriptors()
    raw_send(left, b"{}", [one] * count)
    if count <= passing.MAX_FDS:
        _, fds = passing.recv_message(right)
        assert len(fds) == count
        passing.close_all(fds)
    else:
        with pytest.raises(UsageError, match="more than 16 descriptors"):
            passing.recv_message(right)
    assert open_descriptors() == before


@pytest.mark.parametrize("size", [passing.MAX_BYTES, passing.MAX_BYTES + 1])
def test_64_kib_pass_and_one_byte_more_does_not(ends: Ends, keep: Keep, size: int) -> None:
    left, right = ends
    one = keep(os.open("/dev/null", os.O_RDWR))
    before = open_descriptors()
    raw_send(left, b'{"k":"' + b"x" * (size - 8) + b'"}', [one])
    if size <= passing.MAX_BYTES:
        obj, fds = passing.recv_message(right)
        assert len(obj["k"]) == size - 8
        passing.close_all(fds)
    else:
        with pytest.raises(UsageError, match="longer than 65536 bytes"):
            passing.recv_message(right)
    assert open_descriptors() == before


@pytest.mark.parametrize("data", [b"nonsense", b"[1]", b'"text"', b"\xff\xfe{", b"{", b"[" * 60000, b"null"])
def test_what_is_no_json_object_is_refused_and_its_descriptors_are_closed(ends: Ends, keep: Keep, data: bytes) -> None:
    left, right = ends
    one = keep(os.open("/dev/null", os.O_RDWR))
    before = open_descriptors()
    raw_send(left, data, [one, one])
    with pytest.raises(UsageError, match="message refused"):
        passing.recv_message(right)
    assert open_descriptors() == before


def test_the_end_of_the_stream_is_eof(ends: Ends) -> None:
    left, right = ends
    left.close()
    with pytest.raises(EOFError):
        passing.recv_message(right)


def test_an_empty_message_with_descriptors_leaves_none(ends: Ends, keep: Keep) -> None:
    left, right = ends
    one = keep(os.open("/dev/null", os.O_RDWR))
    before = open_descriptors()
    raw_send(left, b"", [one])
    with pytest.raises(EOFError):
        passing.recv_message(right)
    assert open_descriptors() == before


def test_a_sender_is_told_of_the_limits(ends: Ends, keep: Keep) -> None:
    left, _ = ends
    one = keep(os.open("/dev/null", os.O_RDWR))
    with pytest.raises(UsageError, match="with 17 descriptors"):
        passing.send_message(left, {}, [one] * 17)
    with pytest.raises(UsageError, match="at most 65536"):
        passing.send_message(left, {"k": "x" * passing.MAX_BYTES})


@pytest.mark.parametrize(
    "error",
    [VxswitchError("a"), UsageError("b"), ConflictError("c"), NotFoundError("d"), StoreUnavailableError("e")],
)
def test_errors_travel_by_class_and_line(error: VxswitchError) -> None:
    back = passing.error_from(json.loads(json.dumps(passing.error_to(error)))["error"])
    assert (type(back), str(back), back.exit_code) == (type(error), str(error), error.exit_code)


def test_an_error_class_of_a_newer_switch_is_still_an_error() -> None:
    assert str(passing.error_from({"type": "NewerError", "message": "what"})) == "what"
    assert str(passing.error_from("text")) == "text"

    class LocalError(ConflictError):
        pass

    assert passing.error_to(LocalError("x")) == {"error": {"type": "ConflictError", "message": "x"}}


def answering(path: Path, answer: bytes | None) -> threading.Thread:
    """A thread that takes one connection on ``path``, reads one message, answers (None: closes) and ends."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(70000)
            if answer is not None:
                connection.send(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_request_gives_the_answer(tmp_path: Path) -> None:
    thread = answering(tmp_path / "s", b'{"port":"p1"}')
    assert passing.request(str(tmp_path / "s"), {"op": "attach"}) == {"port": "p1"}
    thread.join()


def test_request_raises_the_switchs_error(tmp_path: Path) -> None:
    thread = answering(tmp_path / "s", b'{"error":{"type":"NotFoundError","message":"no network blue"}}')
    with pytest.raises(NotFoundError, match=r"\Ano network blue\Z"):
        passing.request(str(tmp_path / "s"), {"op": "attach"})
    thread.join()


def test_request_to_a_switch_that_hangs_up(tmp_path: Path) -> None:
    thread = answering(tmp_path / "s", None)
    with pytest.raises(VxswitchError, match="closed the connection"):
        passing.request(str(tmp_path / "s"), {"op": "attach"})
    thread.join()


def test_request_without_a_switch_is_not_reachable(tmp_path: Path) -> None:
    with pytest.raises(NotReachableError, match="is `vxswitch run` up") as caught:
        passing.request(str(tmp_path / "nothing"), {})
    assert caught.value.exit_code == 3
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(tmp_path / "dead"))
    with pytest.raises(NotReachableError):
        passing.request(str(tmp_path / "dead"), {})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(str(tmp_path / "stream"))
        stream.listen()
        with pytest.raises(NotReachableError, match="cannot use"):
            passing.request(str(tmp_path / "stream"), {})
    with pytest.raises(NotReachableError, match="too long"):
        passing.request("/" + "x" * 200, {})


def test_request_to_a_switch_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        with pytest.raises(VxswitchError, match=r"no answer within 0\.05 s"):
            passing.request(str(tmp_path / "mute"), {}, timeout=0.05)
