"""One connection to a Redis or Valkey server: where it leads, calls with deadlines, and what went wrong in words.

URLs: ``redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]``, ``rediss://`` (TLS), ``unix://[USER@]/PATH[?db=N]``.
A ``Link`` answers its calls in order, one at a time; a call that misses its deadline breaks the link (its answer
could arrive later and be taken for another's). Errors leave here as two kinds only: ``LinkDownError`` (this link is
of no more use) and ``ServerRefusedError`` (the server answered, with an error), each with a short code.

Least privilege: a node needs this user and no more (the tests run with it; for a database other than 0 add
``+select``). CLUSTER is ``node.cluster``; scripts run with the same rights, so it bounds them, too:

    user NAME on >PASSWORD resetchannels ~vx:{CLUSTER/*}:* -@all +ping +info +asking +multi +exec +evalsha
      +script|load +time +type +exists +del +unlink +pexpire +hget +hset +hdel +hmget +hlen +hkeys +hexists +hgetall
      +hscan +zadd +zrem +zscore +zrangebyscore +zrevrangebyscore +xadd +xread +xrange +xrevrange +sadd +srem
      +smembers
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis
from redis import exceptions
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)

from vxswitch.errors import StoreUnavailableError, UsageError
from vxswitch.store.rules import Rules

COMMANDS = (
    "+ping +info +asking +multi +exec +evalsha +script|load +time +type +exists +del +unlink +pexpire "
    "+hget +hset +hdel +hmget +hlen +hkeys +hexists +hgetall +hscan "
    "+zadd +zrem +zscore +zrangebyscore +zrevrangebyscore +xadd +xread +xrange +xrevrange "
    "+sadd +srem +smembers"
)

Word = str | bytes | int

# After these the server must be looked up and spoken to anew: another one may have become the right one.
ENDS_LINK = frozenset({"READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "LOADING", "NOAUTH"})


def acl_rules(cluster: str) -> str:
    """The rights of a node's user, as they follow its name and password in an ACL line."""
    return f"resetchannels ~vx:{{{cluster}/*}}:* -@all {COMMANDS}"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Files for ``rediss://``. A server's certificate must be for the host that we connect to.

    ``ca_file``: the only CA that may have signed it (None: any of the system's); then our own certificate and its key.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom to connect. ``shown`` has no secret in it; ``path`` is set for a unix socket."""

    shown: str
    host: str = ""
    port: int = 6379
    path: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None


class LinkDownError(StoreUnavailableError):
    """The link is of no more use. ``degraded``: the server is there but does not let us work."""

    def __init__(self, code: str, message: str, *, degraded: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.degraded = degraded


class ServerRefusedError(StoreUnavailableError):
    """The server answered with an error; ``code`` is its first word, as OOM.

    ``ask``: host ("" is the same) and port of the server that is to be asked for once instead.
    """

    def __init__(self, code: str, message: str, ask: tuple[str, int] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.ask = ask


def parse_endpoint(url: str, password: str | None, tls: TlsSettings | None) -> Endpoint:
    """A URL as an Endpoint; ``password`` wins over one in the URL. UsageError, without the password in it."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise UsageError(f"store scheme {parts.scheme!r}: want redis://, rediss:// or unix://")
    username = unquote(parts.username) if parts.username else None
    secret = password or (unquote(parts.password) if parts.password else None)
    try:
        port = parts.port or 6379
    except ValueError:
        raise UsageError(f"store {parts.scheme}://{parts.hostname or ''}: the port is not a number") from None
    if parts.scheme == "unix":
        path = unquote(parts.path)
        if not path.startswith("/"):
            raise UsageError("store unix://: want an absolute path, unix:///run/redis.sock")
        database = parse_qs(parts.query).get("db", ["0"])[-1]
        return Endpoint(f"unix://{path}", path=path, db=parse_database(database), username=username, password=secret)
    if not parts.hostname:
        raise UsageError(f"store {parts.scheme}://: want a host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Endpoint(
        f"{parts.scheme}://{host}:{port}",
        host=parts.hostname,
        port=port,
        db=parse_database(parse_qs(parts.query).get("db", [""])[-1] or parts.path.strip("/") or "0"),
        username=username,
        password=secret,
        tls=(tls or TlsSettings()) if parts.scheme == "rediss" else None,
    )


class Link:
    """See the head of this file."""

    def __init__(
        self, endpoint: Endpoint, connection: AbstractConnection, timeout: float, ends: frozenset[str]
    ) -> None:
        self.endpoint = endpoint
        self._connection = connection
        self._timeout = timeout
        self._ends = ends
        self._lock = asyncio.Lock()
        self.broken = asyncio.Event()
        self.error: LinkDownError | None = None

    @classmethod
    async def open(cls, endpoint: Endpoint, rules: Rules, ends: frozenset[str] = ENDS_LINK) -> Link:
        """Connect, authenticate and say PING within the connect timeout, else LinkDownError.

        ``ends``: the codes of errors after which the link is of no more use.
        """
        try:
            connection = _make_connection(endpoint)
        except OSError as error:  # of the files for TLS
            raise _link_down(error) from None
        link = cls(endpoint, connection, rules.command_timeout, ends)
        try:
            async with asyncio.timeout(rules.connect_timeout):
                await cast(Any, connection).connect()  # untyped in redis-py
                await link.call("PING")
        except (exceptions.RedisError, OSError, StoreUnavailableError) as error:
            reason = error if isinstance(error, LinkDownError) else _link_down(error)
            await link.close()
            raise reason from None
        except BaseException:
            await link.close()
            raise
        return link

    async def call(self, *words: Word, wait: float = 0.0) -> Any:
        """One command. ``wait``: seconds that the server itself may take (BLOCK), added to the deadline."""
        answers = await self._detached([words], wait)
        if isinstance(answers[0], ServerRefusedError):
            raise answers[0]
        return answers[0]

    async def pipeline(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Commands in one go; an answer that is an error stands in its place as ServerRefusedError."""
        return await self._detached(commands, 0.0)

    async def transaction(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Commands at one instant (MULTI, EXEC); errors as in ``pipeline``."""
        answers = await self._detached([("MULTI",), *commands, ("EXEC",)], 0.0)
        for answer in answers:
            if isinstance(answer, ServerRefusedError):
                raise answer
        return [_refused(a) if isinstance(a, exceptions.RedisError) else a for a in answers[-1]]

    async def close(self) -> None:
        """Hang up; no error."""
        self._break(LinkDownError("closed", "the connection is closed"))
        await self._connection.disconnect(nowait=True)

    async def _detached(self, commands: Sequence[Sequence[Word]], wait: float) -> list[Any]:
        """Run to the end even if the caller gives up: half an answer would be taken for the next one's."""
        exchange = asyncio.ensure_future(self._exchange(commands, wait))
        exchange.add_done_callback(_retrieve)
        return await asyncio.shield(exchange)

    async def _exchange(self, commands: Sequence[Sequence[Word]], wait: float) -> list[Any]:
        async with self._lock:
            if self.error is not None:
                raise self.error
            try:
                async with asyncio.timeout(self._timeout + wait):
                    packed = b"".join([hiredis.pack_command(tuple(words)) for words in commands])
                    await self._connection.send_packed_command(packed, check_health=False)
                    return [await self._answer() for _ in commands]
            except (exceptions.RedisError, OSError) as error:  # OSError: TimeoutError is one
                self._break(_link_down(error))
                raise cast(LinkDownError, self.error) from None

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response()
        except exceptions.ResponseError as error:
            refused = _refused(error)
            if refused.code in self._ends:
                raise
            return refused

    def _break(self, error: LinkDownError) -> None:
        if self.error is None:
            self.error = error
        self.broken.set()


def _retrieve(exchange: asyncio.Future[list[Any]]) -> None:
    """Look at the outcome, so that the loop does not complain when the caller is gone."""
    if not exchange.cancelled():
        exchange.exception()


_CODES: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.NoScriptError, "NOSCRIPT"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),  # the class of MovedError, too: so after it
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.ClusterCrossSlotError, "CROSSSLOT"),
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.AuthenticationError, "NOAUTH"),
)

# Where in a script an error was raised: helps nobody.
_WHERE = re.compile(r"[.]? script: ([0-9a-f]{40}, )?on @user_script:[0-9]+[.]\Z")

# What errors mean to a human, where their own words do not say it.
_MEANINGS = {
    "VXPOISON": "VXPOISON: something else wrote into the keys of a network",
    "TRYAGAIN": "TRYAGAIN: the slot of these keys is on its way to another server",
    "ASK": "ASK: the slot of these keys is on its way to another server",
    "VXSCHEMA": "VXSCHEMA: a later version of vxswitch made the tables in the store, and this one cannot read them",
}

# Phrases of errors that have no code of their own (Redis 7.0 and Valkey 9 say the first two).
_PHRASES = (
    ("ACL failure in script", "NOPERM"),
    ("can't run this command", "NOPERM"),
    ("VXPOISON", "VXPOISON"),
    ("VXSCHEMA", "VXSCHEMA"),
    ("The ID specified in XADD is equal or smaller", "VXPOISON"),
)


def _refused(error: exceptions.RedisError) -> ServerRefusedError:
    text = _WHERE.sub("", str(error))
    code = _known_code(error)
    if code is None:
        code = next((code for phrase, code in _PHRASES if phrase in text), None)
    if code is None:
        word = text.split(" ", 1)[0]
        code = word if word.isascii() and word.isupper() else "ERR"
    message = text if text.startswith(code) else f"{code} {text}"
    ask = (error.host.strip("?"), error.port) if isinstance(error, exceptions.AskError) else None
    return ServerRefusedError(code, _MEANINGS.get(code, message[:300]), ask)


def _link_down(error: BaseException) -> LinkDownError:
    cause: BaseException | None = error
    while cause is not None:
        code = _known_code(cause)
        if code is not None:
            return LinkDownError(code, f"{code} {cause}"[:300], degraded=True)
        cause = cause.__cause__
    if isinstance(error, ServerRefusedError):
        return LinkDownError(error.code, str(error), degraded=True)
    if isinstance(error, (TimeoutError, exceptions.TimeoutError)):
        return LinkDownError("timeout", "no answer in time")
    return LinkDownError("connection", str(error)[:300] or type(error).__name__)


def _known_code(error: BaseException) -> str | None:
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)


def parse_database(text: str) -> int:
    """The number of a database; UsageError."""
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"store database {text!r}: want a number")
    return int(text)


def _tls_context(tls: TlsSettings) -> ssl.SSLContext:
    files = [file for file in (tls.ca_file, tls.cert_file, tls.key_file) if file]
    return _read_context(tls, tuple(Path(file).stat().st_mtime_ns for file in files))


@lru_cache(maxsize=4)
def _read_context(tls: TlsSettings, _: tuple[int, ...]) -> ssl.SSLContext:
    """Made once for each state of the files: to read the system's CAs takes 30 ms, in which no frame moves."""
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _make_connection(endpoint: Endpoint) -> AbstractConnection:
    common: dict[str, Any] = {
        "db": endpoint.db,
        "username": endpoint.username,
        "password": endpoint.password,
        "protocol": 2,  # one shape of answers on every server version
        "socket_timeout": None,  # deadlines are the Link's
    }
    connection: AbstractConnection
    if endpoint.path:
        connection = UnixDomainSocketConnection(path=endpoint.path, **common)
    elif endpoint.tls is None:
        connection = Connection(host=endpoint.host, port=endpoint.port, socket_keepalive=True, **common)
    else:
        connection = SSLConnection(host=endpoint.host, port=endpoint.port, socket_keepalive=True, **common)
        connection.ssl_context.context = _tls_context(endpoint.tls)  # redis-py's own adds the system's CAs to ours
    for attribute in ("driver_info", "lib_name", "lib_version"):  # no CLIENT SETINFO: the ACL does not have it
        setattr(connection, attribute, None)
    return connection
