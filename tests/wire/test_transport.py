"""TCP and UDP field positions, as scapy fills them in."""

import pytest
from scapy.layers.inet import TCP, UDP

from vxswitch.wire import transport

TCP_HEADER = bytes(
    TCP(
        sport=0x0102, dport=0x0304, seq=0x05060708, ack=0x090A0B0C, flags=0, window=0x0D0E, chksum=0x0F10, urgptr=0x1112
    )
)
UDP_HEADER = bytes(UDP(sport=0x0102, dport=0x0304, len=0x0506, chksum=0x0708))


@pytest.mark.parametrize(
    ("header", "offset", "value"),
    [
        (TCP_HEADER, transport.SOURCE_PORT, "0102"),
        (TCP_HEADER, transport.DESTINATION_PORT, "0304"),
        (TCP_HEADER, transport.TCP_SEQUENCE, "05060708"),
        (TCP_HEADER, transport.TCP_ACKNOWLEDGMENT, "090a0b0c"),
        (TCP_HEADER, transport.TCP_DATA_OFFSET, "50"),
        (TCP_HEADER, transport.TCP_WINDOW, "0d0e"),
        (TCP_HEADER, transport.TCP_CHECKSUM, "0f10"),
        (TCP_HEADER, transport.TCP_URGENT, "1112"),
        (UDP_HEADER, transport.SOURCE_PORT, "0102"),
        (UDP_HEADER, transport.DESTINATION_PORT, "0304"),
        (UDP_HEADER, transport.UDP_LENGTH, "0506"),
        (UDP_HEADER, transport.UDP_CHECKSUM, "0708"),
    ],
)
def test_field_stands_where_scapy_puts_it(header: bytes, offset: int, value: str) -> None:
    assert header[offset : offset + len(value) // 2].hex() == value


@pytest.mark.parametrize(
    ("letter", "flag"),
    [
        ("F", transport.TCP_FIN),
        ("S", transport.TCP_SYN),
        ("R", transport.TCP_RST),
        ("P", transport.TCP_PSH),
        ("A", transport.TCP_ACK),
        ("U", transport.TCP_URG),
        ("E", transport.TCP_ECE),
        ("C", transport.TCP_CWR),
    ],
)
def test_flag_is_the_bit_that_scapy_sets(letter: str, flag: int) -> None:
    assert bytes(TCP(flags=letter))[transport.TCP_FLAGS] == flag


def test_lengths() -> None:
    assert len(TCP_HEADER) == transport.TCP_HEADER_LEN
    assert len(UDP_HEADER) == transport.UDP_HEADER_LEN
    assert len(bytes(TCP(options=[("NOP", None)] * 40))) == transport.TCP_HEADER_MAX
