"""Where a URL leads, what went wrong in words, and links over TCP, TLS and a network that swallows everything."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from tests.store.nodes import FAST, Node, record
from tests.store.servers import BINARIES, DEADLINE, PASSWORD, USER, Server, free_port, until, until_now
from vxswitch.errors import UsageError
from vxswitch.store import redis_connect
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import (
    COMMANDS,
    Endpoint,
    Link,
    LinkDownError,
    ServerRefusedError,
    TlsSettings,
    acl_rules,
    parse_endpoint,
)

CERTS = Path(__file__).parent / "certs"
VNI = 4096


# URLs.


@pytest.mark.parametrize(
    ("url", "password", "expected"),
    [
        ("redis://host", None, Endpoint("redis://host:6379", "host")),
        ("redis://host:7000/3", None, Endpoint("redis://host:7000", "host", 7000, db=3)),
        ("redis://host?db=3", None, Endpoint("redis://host:6379", "host", db=3)),
        ("redis://u:p%40@host", None, Endpoint("redis://host:6379", "host", username="u", password="p@")),
        ("redis://:p@host", "better", Endpoint("redis://host:6379", "host", password="better")),
        ("redis://u@[fd00::1]:7000", "p", Endpoint("redis://[fd00::1]:7000", "fd00::1", 7000, "", 0, "u", "p")),
        ("rediss://host", None, Endpoint("rediss://host:6379", "host", tls=TlsSettings())),
        ("unix:///run/a%20b", None, Endpoint("unix:///run/a b", path="/run/a b")),
        ("unix://u@/run/s?db=2", "p", Endpoint("unix:///run/s", path="/run/s", db=2, username="u", password="p")),
    ],
)
def test_urls(url: str, password: str | None, expected: Endpoint) -> None:
    assert parse_endpoint(url, password, None) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "redis://",
        "redis://:hunter2@host:port",
        "redis://:hunter2@host/db",
        "unix://",
        "unix://relative",
        "",
    ],
)
def test_urls_that_lead_nowhere(url: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_endpoint(url, "hunter2", None)
    assert "hunter2" not in str(error.value)


def test_no_password_shows() -> None:
    endpoint = parse_endpoint("redis://user:hunter2@host", None, None)
    assert "hunter2" not in f"{endpoint!r} {endpoint} {endpoint.shown}"


# Rights.


def test_the_documented_acl_is_the_one_that_is_used() -> None:
    assert redis_connect.__doc__ is not None
    line = re.search(r"user NAME on >PASSWORD (.*?)\n\n?\Z", redis_connect.__doc__, re.DOTALL)
    assert line is not None
    assert line[1].split() == acl_rules("CLUSTER").split()
    assert len(COMMANDS.split()) == len(set(COMMANDS.split()))


@pytest.mark.parametrize(
    "forbidden",
    [
        ("CONFIG", "GET", "*"),
        ("FUNCTION", "LIST"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("EVAL", "return 1", "0"),
        ("GET", "vx:{*/0}:x"),
        ("HGET", "other", "x"),
        ("CLIENT", "LIST"),
        ("ACL", "LIST"),
        ("PUBLISH", "channel", "x"),
        ("SHUTDOWN",),
    ],
)
async def test_the_user_may_do_nothing_else(shared_server: Server, forbidden: tuple[str, ...]) -> None:
    link = await Link.open(shared_server.endpoint(), FAST)
    try:
        with pytest.raises(ServerRefusedError) as error:
            await link.call(*forbidden)
        assert error.value.code == "NOPERM"
        assert await link.call("PING") == b"PONG"
    finally:
        await link.close()


# What went wrong.


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        (Endpoint("x", path="/nowhere/at/all"), "connection"),
        (Endpoint("x", host="127.0.0.1", port=1), "connection"),
        (Endpoint("x", host="does-not-exist.invalid"), "connection"),
    ],
)
async def test_nobody_there(endpoint: Endpoint, code: str) -> None:
    with pytest.raises(LinkDownError) as error:
        await Link.open(endpoint, FAST)
    assert (error.value.code, error.value.degraded) == (code, False)


async def test_wrong_password(shared_server: Server) -> None:
    endpoint = Endpoint("x", path=str(shared_server.path), username=USER, password="wrong")
    with pytest.raises(LinkDownError) as error:
        await Link.open(endpoint, FAST)
    assert (error.value.code, error.value.degraded) == ("NOAUTH", True)


async def test_another_protocol(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(greet, tmp_path / "s"):
        with pytest.raises(LinkDownError):
            await Link.open(Endpoint("x", path=str(tmp_path / "s")), FAST)


async def test_an_answer_that_comes_too_late_is_nobodys(server: Server) -> None:
    link = await Link.open(server.endpoint(), FAST)
    server.admin.client_pause(int(FAST.command_timeout * 2000))
    with pytest.raises(LinkDownError) as error:
        await link.call("PING")
    assert error.value.code == "timeout"
    with pytest.raises(LinkDownError):
        await link.call("INFO")
    assert link.broken.is_set()
    await link.close()


async def test_errors_of_scripts_are_told_without_the_script(server: Server) -> None:
    source = "redis.call('HSET', KEYS[1], 'a', 'b')"
    sha = str(server.admin.script_load(source))
    link = await Link.open(server.endpoint(), FAST)
    server.admin.set("vx:{c/0}:string", "x")
    server.admin.execute_command("ACL", "SETUSER", USER, "-hset")
    for user_may, code in ((False, "NOPERM"), (True, "WRONGTYPE")):
        if user_may:
            server.admin.execute_command("ACL", "SETUSER", USER, "+hset")
        with pytest.raises(ServerRefusedError) as error:
            await link.call("EVALSHA", sha, 1, "vx:{c/0}:string")
        assert error.value.code == code
        assert str(error.value).startswith(code)
        assert "user_script" not in str(error.value)
    await link.close()


# Over the network.


@pytest.fixture(params=sorted(BINARIES))
def tcp_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, int]]:
    """A server that listens on TCP, too."""
    port = free_port()
    server = Server(request.param, tmp_path, extra=f"bind 127.0.0.1\nport {port}\n")
    yield server, port
    server.kill()


class SwallowingProxy:
    """Forwards to a port until it is told to swallow: then nothing comes through, and nothing is refused."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.open = asyncio.Event()
        self.open.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """The port to connect to."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            self.open.set()
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.open.wait()
        theirs_in, theirs_out = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pump(reader, theirs_out), self._pump(theirs_in, writer))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.open.wait()
                sink.write(data)
        except OSError:
            pass
        finally:
            sink.close()


async def test_a_network_that_swallows_everything_is_noticed(tcp_server: tuple[Server, int]) -> None:
    _, port = tcp_server
    proxy = SwallowingProxy(port)
    async with proxy.listening() as door:
        password = PASSWORD.replace(" ", "_")
        endpoint = parse_endpoint(f"redis://{USER}@127.0.0.1:{door}", password, None)
        node = Node(RedisStore(endpoint, "c", FAST), record("one"))
        await node.start()
        await node.store.join(VNI)
        await until(lambda: node.store.status().state == "up" and node.table(VNI).snapshots)
        proxy.open.clear()
        await until(lambda: node.store.status().state == "down")
        assert node.store.status().reason == "no answer in time"
        assert node.store.status().url == f"redis://127.0.0.1:{door}"
        proxy.open.set()
        await until(lambda: node.store.status().state == "up")
        await node.close()


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[int]:
    """Debian's Redis with TLS and client certificates required; its port."""
    port, path = free_port(), tmp_path / "s"
    config = (
        f'port 0\ntls-port {port}\nbind 127.0.0.1\nunixsocket {path}\nsave ""\ndir {tmp_path}\nloglevel warning\n'
        f"tls-ca-cert-file {CERTS}/ca.pem\ntls-cert-file {CERTS}/server.pem\ntls-key-file {CERTS}/server.key\n"
        "tls-auth-clients yes\n"
    )
    process = subprocess.Popen(["redis-server", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(config.encode())
    process.stdin.close()

    def answers() -> bool:
        try:
            return bool(redis.Redis(unix_socket_path=str(path)).ping())
        except redis.RedisError:
            return False

    until_now(answers)
    yield port
    process.kill()
    process.wait()


async def test_tls_with_client_certificates(tls_server: int) -> None:
    tls = TlsSettings(str(CERTS / "ca.pem"), str(CERTS / "client.pem"), str(CERTS / "client.key"))
    node = Node(RedisStore(parse_endpoint(f"rediss://127.0.0.1:{tls_server}", None, tls), "c", FAST), record("one"))
    await node.start()
    await node.store.join(VNI)
    assert (await node.attach(VNI, 1)).refused is None
    await until(node.has(VNI, {1: "one"}))
    await node.close()


@pytest.mark.parametrize("tls", [TlsSettings(), TlsSettings(str(CERTS / "ca.pem")), TlsSettings("/there/is/none")])
async def test_tls_without_the_right_certificates(tls_server: int, tls: TlsSettings) -> None:
    with pytest.raises(LinkDownError):
        await Link.open(parse_endpoint(f"rediss://127.0.0.1:{tls_server}", None, tls), FAST)


def test_a_ca_file_stands_for_the_systems_and_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    shutil.copy(CERTS / "ca.pem", file)
    tls = TlsSettings(str(file))
    context = redis_connect._tls_context(tls)
    assert context.cert_store_stats()["x509_ca"] == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert redis_connect._tls_context(tls) is context
    os.utime(file, (1, 1))
    assert redis_connect._tls_context(tls) is not context


async def test_tls_to_who_speaks_none(tcp_server: tuple[Server, int]) -> None:
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(LinkDownError):
            await Link.open(parse_endpoint(f"rediss://127.0.0.1:{tcp_server[1]}", None, None), FAST)
