"""That something about links and addresses has changed is heard, and a flood of it breaks nothing."""

from __future__ import annotations

import select
from collections.abc import Callable

from tests.kernel.namespaces import Namespace
from vxswitch.attach import news


def stirred(sock: object) -> bool:
    """There is news; it is thrown away."""
    found = bool(select.select([sock], [], [], 1.0)[0])
    while select.select([sock], [], [], 0.05)[0]:
        news.drain(sock)  # type: ignore[arg-type]
    return found


def test_addresses_and_links_of_this_namespace_are_news(namespace: Callable[[], Namespace]) -> None:
    one = namespace()
    with one.call(news.open_news) as sock:
        for words in (
            "link add d0 type bridge",
            "link set d0 mtu 1400",
            "address add 192.0.2.1/24 dev d0",
            "address add 2001:db8::1/64 dev d0",
            "address del 192.0.2.1/24 dev d0",
            "link del d0",
        ):
            one.ip(*words.split())
            assert stirred(sock), words


def test_more_news_than_the_socket_holds_is_no_error(namespace: Callable[[], Namespace]) -> None:
    """At POLLERR uvloop would stop reading for good."""
    one = namespace()
    with one.call(news.open_news) as sock:
        sock.setsockopt(1, 8, 2048)  # SOL_SOCKET, SO_RCVBUF
        one.ip("link", "add", "d0", "type", "bridge")
        for mtu in range(1400, 1440):
            one.ip("link", "set", "d0", "mtu", str(mtu))
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        assert poll.poll(0) == [(sock.fileno(), select.POLLIN)]
        assert stirred(sock)
