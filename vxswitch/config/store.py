"""``[store]``: which store, by its URL, and where its password comes from. Nothing here connects to anything.

The password is taken out of the URL as soon as it is read and travels beside it; it comes from, first found: the URL
itself, ``store.password_file``, ``VXSWITCH_STORE`` (which holds a URL, or a bare password for the URL given elsewhere).
Sentinels have a user and a password of their own, or none. A file that holds a password must be readable by its owner
alone. No complaint ever quotes a URL unmasked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import msgspec

from vxswitch.config.convert import Given, build
from vxswitch.config.layers import read_guarded
from vxswitch.config.rules import mask
from vxswitch.config.sections import Store, StoreKeys
from vxswitch.errors import UsageError

SINGLE, MANY, LOCAL = ("redis", "rediss"), ("redis+sentinel", "redis+cluster"), ("static", "embedded")
ALLOWED = (
    "redis://HOST, rediss://HOST, unix:///PATH, redis+sentinel://HOST,HOST/MASTER, redis+cluster://HOST,HOST, "
    "static: or embedded:"
)

_USER = re.compile(r"[^\s/?#@:]*\Z")
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_.-]+))(?::(?P<port>[0-9]{1,5}))?\Z")


@dataclass(frozen=True, slots=True)
class ParsedUrl:
    """A store's URL without its password, where that is (hosts or a path), and the password, percent-decoded."""

    url: str
    place: str
    password: str | None

    def __repr__(self) -> str:
        return f"ParsedUrl(url={self.url!r})"


def parse_url(text: str) -> ParsedUrl:
    """Read a store's URL; UsageError says what is wrong with it, and never shows a password."""
    bare = text.removesuffix(":")
    if bare in LOCAL:
        return ParsedUrl(f"{bare}:", "", None)
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in (*SINGLE, *MANY, "unix"):
        raise _wrong(text)
    rest, _, query = rest.partition("?")
    userinfo, _, place = rest.rpartition("@")
    user, _, password = userinfo.partition(":")
    if not _USER.match(user):
        raise _wrong(text, "odd characters in the user's name: write them as %XX")
    if scheme == "unix":
        _check_path(text, place)
    else:
        _check_hosts(text, scheme, place)
    url = f"{scheme}://{user}{'@' if user else ''}{place}"
    if query:
        url += f"?{_check_query(text, query)}"
    return ParsedUrl(url, place if scheme == "unix" else place.partition("/")[0], unquote(password) or None)


def build_store(table: dict[str, Given], env: Mapping[str, str], default: str) -> Store:
    """The section with its password found; ``default`` is the URL when none was given."""
    url_from_env, bare_password = _environment(env.get("VXSWITCH_STORE", ""))
    given = table.get("url")
    if url_from_env is not None and (given is None or not given.text):
        given = Given(url_from_env, "VXSWITCH_STORE", text=True)
    keys = build(StoreKeys, "store", {**table, "url": given or Given(default, "default")})
    parsed = parse_url(keys.url)
    if parsed.password is not None and given is not None and given.exposed:
        raise UsageError(
            f"store.url ({given.origin}) has a password and others may read that file: chmod 0600 it, "
            "or use store.password_file"
        )
    password = parsed.password
    if password is None and keys.password_file is not None:
        password = _read_password(keys.password_file, "store.password_file")
    if password is None and url_from_env is not None and (same := parse_url(url_from_env)).place == parsed.place:
        password = same.password
    if password is None and parsed.url != "static:":
        password = bare_password
    sentinel_password = None
    if keys.sentinel_password_file is not None:
        sentinel_password = _read_password(keys.sentinel_password_file, "store.sentinel_password_file")
    passwords = {"password": password, "sentinel_password": sentinel_password}
    return _checked(Store(**{**msgspec.structs.asdict(keys), "url": parsed.url, **passwords}))


def _wrong(text: str, why: str = "") -> UsageError:
    return UsageError(f"store.url = {mask(text)!r}: {why or 'want ' + ALLOWED}")


def _check_path(text: str, place: str) -> None:
    if not place.startswith("/") or "\0" in place:
        raise _wrong(text, "want unix:///PATH with an absolute path")


def _check_hosts(text: str, scheme: str, place: str) -> None:
    hosts, _, path = place.partition("/")
    for host in hosts.split(","):
        if not _is_host(host):
            raise _wrong(text, f"want {scheme}://HOST[:PORT], an IPv6 address in [ ]")
    if scheme in SINGLE and "," in hosts:
        raise _wrong(text, "one host; several want redis+sentinel:// or redis+cluster://")
    if scheme == "redis+sentinel" and not path.partition("/")[0]:
        raise _wrong(text, "want redis+sentinel://HOST,HOST/MASTER with the master's name")
    if scheme == "redis+cluster" and path:
        raise _wrong(text, "a cluster has no databases: nothing may follow its hosts")
    if scheme in SINGLE and path and not (path.isascii() and path.isdigit()):
        raise _wrong(text, "want a database number after the host, as in redis://HOST/0")


def _check_query(text: str, query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    if text.startswith("redis+cluster:"):
        raise _wrong(text, "a cluster has no databases: nothing may follow its hosts")
    if len(pairs) != 1 or pairs[0][0] != "db" or not (pairs[0][1].isascii() and pairs[0][1].isdigit()):
        raise _wrong(text, "db=NUMBER is all that may follow the question mark")
    return query


def _is_host(text: str) -> bool:
    """``NAME``, ``ADDR`` or ``[ADDR6]``, with a port or without."""
    found = _HOST.match(text)
    if found is None or not 1 <= int(found["port"] or 1) <= 65535:
        return False
    try:
        return found["v6"] is None or ip_address(found["v6"]).version == 6
    except ValueError:
        return False


def _environment(value: str) -> tuple[str | None, str | None]:
    """What ``VXSWITCH_STORE`` says: (a URL or None, a bare password or None)."""
    scheme = value.partition("://")[0]
    if value.removesuffix(":") in LOCAL or ("://" in value and scheme in (*SINGLE, *MANY, "unix")):
        return value, None
    return None, value or None


def _read_password(path: Path, key: str) -> str:
    content, private = read_guarded(path, key)
    if not private:
        raise UsageError(f"{key} {str(path)!r}: others may read it: chmod 0600 {path}")
    try:
        password = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        password = ""
    if not password or "\n" in password or "\0" in password:
        raise UsageError(f"{key} {str(path)!r}: want one line of text, the password")
    return password


def _checked(store: Store) -> Store:
    """The store's keys against each other."""
    if store.password_file is not None and store.scheme == "static":
        raise UsageError("store.password_file: the store static: has no password")
    if store.listen is not None and store.scheme != "embedded":
        raise UsageError(f"store.listen = '{store.listen}': only embedded: listens, not {store.shown_url}")
    if store.listen is not None and store.password is None:
        raise UsageError(
            f"store.listen = '{store.listen}': a shared store wants a password: store.password_file or VXSWITCH_STORE"
        )
    tls = {key: getattr(store, key) for key in ("ca_file", "cert_file", "key_file")}
    given = [f"store.{key}" for key, path in tls.items() if path is not None]
    if given and store.scheme not in ("rediss", *MANY):
        raise UsageError(f"{given[0]}: {store.shown_url} is not encrypted, want rediss://")
    if store.scheme != "redis+sentinel" and (store.sentinel_user or store.sentinel_password):
        raise UsageError(f"store.sentinel_*: {store.shown_url} has no sentinels, want redis+sentinel://")
    if store.sentinel_user and not store.sentinel_password:
        raise UsageError("store.sentinel_user: want store.sentinel_password_file, too")
    if (store.cert_file is None) != (store.key_file is None):
        raise UsageError("store.cert_file and store.key_file: want both or neither")
    return store
