"""``tables.json``: what the other nodes have, on disk, so that a node forwards at once though the store is away.

Written at most every few seconds, when something changed, and at the end: per network the rows and members as this
node has read them, each as the one line of text that the store keeps too (``store.codec``), so that what is read back
is held to the same rules. Our own MACs are not in it: the ports know those. The document is replaced as a whole, has a
version and a checksum, and says whose it is; one that is damaged, of another version or of another node or cluster is
moved aside.

It is read at each start, and used only if the store does not answer: a snapshot at rev 0, whose rows are therefore
``stale`` until the store's first snapshot is compared with them (``vouching``). Until then they stay, however long that
takes: a table that is old is better than none (fail static). It also tells the VNIs of networks known by name alone.

Making the text of a large table takes a while, so it is made in slices between which the loop breathes, and only for
networks that changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable

import msgspec

from vxswitch.control.peers import Peers
from vxswitch.control.reconciler import Reconciler
from vxswitch.control.reconciling import Mirror
from vxswitch.control.state import StateDir
from vxswitch.control.vouching import Vouching
from vxswitch.errors import VxswitchError
from vxswitch.fdb import Fdb, Table
from vxswitch.model import Claim, Snapshot, format_mac
from vxswitch.store.codec import Poisoned, decode_member, decode_row, encode_member, encode_row

log = logging.getLogger(__name__)

NAME = "tables"
FORMAT = 1
MAX_BYTES = 64 * 2**20  # of the document: about half a million rows
ALL_GROUPS = frozenset({"0.0.0.0", "::"})  # which groups the others listen to is not in the file: let them have all
_SLICE = 128  # rows between two breaths of the loop: a millisecond


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file. ``checksum``: BLAKE2b (16 bytes, hex) over the text of ``tables`` as it stands in the file."""

    format: int
    cluster: str
    uid: str
    checksum: str
    tables: msgspec.Raw


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One network of it: MAC -> row, node -> member."""

    network: str
    vni: int
    rev: int
    rows: dict[str, str]
    members: dict[str, str]


class Tables:
    """The file of one node. ``cluster`` and ``uid`` say whose it is."""

    def __init__(
        self,
        state: StateDir,
        fdb: Fdb,
        reconciler: Reconciler,
        peers: Peers,
        vouching: Vouching,
        *,
        cluster: str,
        uid: str,
    ) -> None:
        self._state = state
        self._fdb = fdb
        self._reconciler = reconciler
        self._peers = peers
        self.vouching = vouching
        self._cluster = cluster
        self._uid = uid
        self._found: dict[str, Text] = {}  # by network, until the store has told of it
        self._texts: dict[int, tuple[tuple[int, int], bytes]] = {}  # by VNI: what it was made of, and the text
        self._written: list[bytes] | None = None
        self._too_large = False

    # -- the start -------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read the file; one that is of no use is moved aside, with a line in the log that says why."""
        content = self._state.read_bytes(NAME, MAX_BYTES)
        if content is None:
            return
        try:
            self._found = {text.network: text for text in self._open(content)}
        except (msgspec.DecodeError, VxswitchError) as error:
            self._state.move_aside(NAME, str(error))

    def _open(self, content: bytes) -> list[Text]:
        document = msgspec.json.decode(content, type=Document)
        if document.format != FORMAT:
            raise VxswitchError(f"its format is {document.format}, not {FORMAT}")
        if (document.cluster, document.uid) != (self._cluster, self._uid):
            raise VxswitchError(f"it is of node {document.uid} of cluster {document.cluster!r}")
        if document.checksum != _checksum([document.tables]):
            raise VxswitchError("its checksum is wrong")
        return msgspec.json.decode(document.tables, type=list[Text])

    def vni_of(self, network: str) -> int | None:
        """The VNI that a network had when the file was written."""
        found = self._found.get(network)
        return found.vni if found is not None else None

    async def restore(self) -> int:
        """Put the rows into the tables of networks that the store has told nothing about; how many."""
        rows = 0
        for found in [found for found in self._found.values() if self._is_wanted(found)]:
            try:
                snapshot = await _snapshot(found)
            except Poisoned as error:
                self._state.move_aside(NAME, str(error))
                return rows
            if self._is_wanted(found):  # still
                self.vouching.begin(snapshot)
                self._reconciler.apply(snapshot)
                rows += len(found.rows)
        if rows:
            log.warning("the store is away: %d rows of an earlier life stand until it is back", rows)
        return rows

    def _is_wanted(self, found: Text) -> bool:
        mirror, table = self._reconciler.mirrors.get(found.vni), self._fdb.tables.get(found.vni)
        return mirror is not None and not mirror.rev and table is not None and table.name == found.network

    # -- while it runs, and at the end -----------------------------------------------------------------------------

    async def save(self) -> None:
        """Write the file if anything has changed since it was written last."""
        self._texts = {vni: known for vni, known in self._texts.items() if vni in self._fdb.tables}
        texts = [text for table in list(self._fdb.tables.values()) if (text := await self._text(table)) is not None]
        if texts == self._written:
            return
        size = sum(map(len, texts))
        if size > MAX_BYTES - 4096:
            if not self._too_large:
                log.error("state file %s is not written: %d bytes, more than %d", NAME, size, MAX_BYTES)
            self._too_large = True
            return
        self._too_large = False
        try:
            await asyncio.to_thread(self._write, texts)
            self._written = texts
        except VxswitchError as error:
            log.error("the tables are not on disk: %s", error)

    async def _text(self, table: Table) -> bytes | None:
        """The network's part of the file; None if it learns by itself, or if nothing was read of it yet."""
        mirror = self._reconciler.mirrors.get(table.vni)
        if mirror is None or table.learning == "flood":
            return None
        made_of, text = self._texts.get(table.vni, ((0, 0), None))
        if mirror.rev == 0:  # the store has not answered: what an earlier life wrote is still the best
            found = self._found.get(table.name)
            return text or (msgspec.json.encode(found) if found is not None and found.vni == table.vni else None)
        self._found.pop(table.name, None)
        now = (mirror.rev, len(mirror.rows))
        if text is None or made_of != now:
            text = await self._encode(table, mirror)
            self._texts[table.vni] = (now, text)
        return text

    async def _encode(self, table: Table, mirror: Mirror) -> bytes:
        rev, claims, rows = mirror.rev, tuple(mirror.rows.values()), {}
        records = [self._peers.remotes[name].record for name in sorted(self._peers.members(table.vni))]
        members = {record.name: encode_member(record) for record in records}
        for at, claim in enumerate(claims):
            if claim.uid != self._uid:
                rows[format_mac(claim.mac)] = encode_row(claim)
            if at % _SLICE == 0:
                await asyncio.sleep(0)
        return msgspec.json.encode(Text(table.name, table.vni, rev, rows, members))

    def _write(self, texts: list[bytes]) -> None:
        """In a thread: the checksum and the disk take their time. No step holds up the loop for more than a network."""
        tables = [b"["]
        for text in texts:
            tables += [b",\n", text] if len(tables) > 1 else [text]
        tables.append(b"]")
        document = Document(FORMAT, self._cluster, self._uid, _checksum(tables), msgspec.Raw(b""))
        head = msgspec.json.encode(document)  # {...,"tables":}
        self._state.write_bytes(NAME, [head[:-1], *tables, head[-1:]])


async def _snapshot(text: Text) -> Snapshot:
    """The network as an event; Poisoned. At rev 0 every row is beyond what the store has told: that makes it stale."""
    rows: list[Claim] = []
    for mac, line in text.rows.items():
        rows.append(decode_row(text.vni, mac.encode(), line.encode()))
        if len(rows) % _SLICE == 0:
            await asyncio.sleep(0)
    members = tuple(decode_member(name.encode(), line.encode()) for name, line in text.members.items())
    return Snapshot(text.vni, 0, tuple(rows), members, "file", dict.fromkeys(text.members, ALL_GROUPS))


def _checksum(parts: Iterable[bytes | msgspec.Raw]) -> str:
    summed = hashlib.blake2b(digest_size=16)
    for part in parts:
        summed.update(memoryview(part))
    return summed.hexdigest()
