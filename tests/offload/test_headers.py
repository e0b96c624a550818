"""Header rows: the columns that differ, their wrap-arounds, and the bounded table of shapes."""

import struct

from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from tests.offload.frames import VXLAN, ip4, load, tcp
from vxswitch.offload.headers import HeaderRows, Shape


def shape_of(headers: bytes, rows: int) -> Shape:
    shape = HeaderRows(rows * len(headers) + len(headers) - 1).shape(22, 42, len(headers), True, True)
    shape.view[:] = b"\xa5" * len(shape.view)
    return shape


def test_ids_count_up_over_the_wrap_and_every_ip_checksum_is_right() -> None:
    headers = VXLAN + bytes(ip4(id=0) / tcp())
    shape = shape_of(headers, 300)
    shape.repeat(300, load(headers).array, 13)
    (checksum,) = struct.unpack_from("!H", headers, 32)
    for first in (0, 1, 65_236, 65_400, 65_535):
        shape.number(300, first, 0xFFFF - checksum)  # the ID is zero: the complement is the sum of the others
        rows = [bytes(shape.view[at : at + len(headers)]) for at in range(0, 300 * len(headers), len(headers))]
        assert rows == [VXLAN + bytes(ip4(id=number & 0xFFFF) / tcp()) for number in range(first, first + 300)]


def test_sequence_numbers_wrap() -> None:
    headers = VXLAN + bytes(ip4() / tcp())
    shape = shape_of(headers, 5)
    shape.advance(5, 0xFFFFFFF0, 9)
    found = [struct.unpack_from("!I", shape.view, row * len(headers) + 46)[0] for row in range(5)]
    assert found == [0xFFFFFFF0, 0xFFFFFFF9, 2, 11, 20]


def test_nothing_but_the_columns_is_written() -> None:
    headers = VXLAN + bytes(ip4() / tcp())
    shape = shape_of(headers, 2)
    shape.number(1, 7, 0)
    shape.advance(1, 7, 7)
    first = bytearray(shape.view[: len(headers)])
    for column in (26, 27, 32, 33, 46, 47, 48, 49):
        first[column] = 0xA5
    assert bytes(first) == b"\xa5" * len(headers)
    assert bytes(shape.view[len(headers) :]) == b"\xa5" * (len(shape.view) - len(headers))


def test_resizing_keeps_the_ip_checksum_right() -> None:
    whole = bytearray(VXLAN + bytes(ip4() / tcp() / bytes(1000)))
    shape = shape_of(bytes(whole[:62]), 1)
    shape.resize(memoryview(whole), 0, -400, len(whole) - 400)
    assert bytes(whole[: len(whole) - 400])[22:42] == bytes(ip4() / tcp() / bytes(600))[14:34]
    assert Ether(bytes(whole[8:]))[IP].len == 20 + 20 + 600


def test_a_shape_is_made_once_and_the_table_is_bounded() -> None:
    rows = HeaderRows(1 << 16)
    assert rows.shape(22, 42, 74, True, True) is rows.shape(22, 42, 74, True, True)
    for length in range(62, 62 + 1000):
        rows.shape(22, 42, length, True, True)
    assert len(rows._shapes) <= 64
