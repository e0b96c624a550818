from __future__ import annotations

import socket
import tempfile
import threading
from pathlib import Path

import pytest

from tests.cli.fake_api import Asked, FakeApi
from vxswitch.client import Client, path_of
from vxswitch.errors import (
    ConflictError,
    NotFoundError,
    NotReachableError,
    StoreUnavailableError,
    UsageError,
    VxswitchError,
)


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(prefix="vx-client-") as directory:
        yield Path(directory) / "s"


@pytest.fixture
def api(place):
    with FakeApi(place) as served:
        yield served


@pytest.fixture
def raw_server(place):
    """Answers each connection with the given bytes once it has been asked something, then hangs up."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(place))
    listening.listen()
    threads = []

    def serve(answer: bytes) -> None:
        def once() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threads.append(threading.Thread(target=once))
        threads[-1].start()

    yield serve
    for thread in threads:
        thread.join()
    listening.close()


def test_get_passes_the_query_and_gives_the_document(api):
    api.answer("GET", "/v1/fdb?network=a%2Fb", [{"mac": "02:00:00:00:00:01"}])
    assert Client(str(api.path)).get("/v1/fdb", network="a/b", mac=None) == [{"mac": "02:00:00:00:00:01"}]


def test_post_passes_the_body(api):
    api.answer("POST", "/v1/networks", {"vni": 4096})
    assert Client(str(api.path)).post("/v1/networks", {"name": "ü"}) == {"vni": 4096}
    assert api.asked == [Asked("POST", "/v1/networks", {"name": "ü"})]


def test_post_without_a_body_sends_an_empty_object(api):
    api.answer("POST", "/v1/x", {})
    Client(str(api.path)).post("/v1/x")
    assert api.asked == [Asked("POST", "/v1/x", {})]


def test_delete_may_answer_nothing(api):
    api.answer("DELETE", "/v1/networks/a", b"")
    assert Client(str(api.path)).delete("/v1/networks/a") is None


def test_text(api):
    api.answer("GET", "/metrics", b"vxswitch_up 1\n")
    assert Client(str(api.path)).text("/metrics") == "vxswitch_up 1\n"
    api.refuse("GET", "/metrics", 500, "no")
    with pytest.raises(VxswitchError, match="no"):
        Client(str(api.path)).text("/metrics")


def test_paths_cannot_be_led_astray():
    assert path_of("networks", "../x?y#z") == "/v1/networks/..%2Fx%3Fy%23z"


@pytest.mark.parametrize(
    ("status", "exit_code", "kind"),
    [
        (400, 2, UsageError),
        (404, 1, NotFoundError),
        (409, 2, ConflictError),
        (503, 1, StoreUnavailableError),
        (500, 1, VxswitchError),
        (422, 2, UsageError),
    ],
)
def test_a_refusal_is_raised_as_what_it_means(api, status, exit_code, kind):
    api.refuse("GET", "/v1/x", status, "because", exit_code)
    with pytest.raises(VxswitchError) as caught:
        Client(str(api.path)).get("/v1/x")
    assert type(caught.value) is kind
    assert str(caught.value) == "because" and caught.value.exit_code == exit_code


@pytest.mark.parametrize("content", [b"404: Not Found", b"[]", b'{"error": "x"}', b"5", b'{"error": {}}', b"\xff"])
def test_an_error_that_is_not_ours_says_so(api, content):
    api.answer("GET", "/v1/x", content, 404)
    with pytest.raises(VxswitchError, match="HTTP 404: is it the same version") as caught:
        Client(str(api.path)).get("/v1/x")
    assert type(caught.value) is VxswitchError


def test_an_answer_that_is_not_json(api):
    api.answer("GET", "/v1/x", b"<html>")
    with pytest.raises(VxswitchError, match="not JSON"):
        Client(str(api.path)).get("/v1/x")


def test_nobody_listens(place):
    with pytest.raises(NotReachableError, match=f"{place}.*vxswitch run") as caught:
        Client(str(place)).get("/v1/status")
    assert caught.value.exit_code == 3


def test_a_socket_left_by_a_switch_that_died(place):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
    with pytest.raises(NotReachableError, match="vxswitch run"):
        Client(str(place)).get("/v1/status")


def test_a_file_in_the_way_of_the_socket(place):
    place.touch()
    with pytest.raises(NotReachableError, match="no switch answers"):
        Client(str(place / "s")).get("/v1/status")


def test_a_path_that_is_too_long():
    with pytest.raises(UsageError, match="too long"):
        Client("/" + "x" * 200).get("/v1/status")


def test_a_switch_that_hangs(place):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()
        with pytest.raises(NotReachableError, match=r"no answer within 0\.05 s"):
            Client(str(place), timeout=0.05).get("/v1/status")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", b"SSH-2.0-x\r\n", b"\x00" * 70000]
)
def test_a_switch_that_dies_or_is_none(raw_server, place, answer):
    raw_server(answer)
    with pytest.raises(NotReachableError, match=r"hung up or does not speak HTTP|no answer from"):
        Client(str(place), timeout=5).get("/v1/status")
