"""virtio_net_hdr: golden bytes, and what is refused."""

import sys

import pytest

from vxswitch.wire import virtio

FLAGS, GSO_TYPE, HDR_LEN, GSO_SIZE, CSUM_START, CSUM_OFFSET = range(6)
LENGTH = 4000
PLAIN = (0, virtio.GSO_NONE, 0, 0, 0, 0)
PARTIAL = (virtio.F_NEEDS_CSUM, virtio.GSO_NONE, 0, 0, 34, 6)
TSO4 = (virtio.F_NEEDS_CSUM, virtio.GSO_TCPV4, 66, 1398, 34, 16)
TSO6 = (virtio.F_NEEDS_CSUM, virtio.GSO_TCPV6, 86, 1378, 54, 16)
USO = (virtio.F_NEEDS_CSUM, virtio.GSO_UDP_L4, 42, 1000, 34, 6)


def changed(header: tuple[int, ...], **fields: int) -> tuple[int, ...]:
    """`header` with some fields, named in lower case, set to other values."""
    values = list(header)
    for name, value in fields.items():
        values[globals()[name.upper()]] = value
    return tuple(values)


def golden(header: tuple[int, ...]) -> bytes:
    """struct virtio_net_hdr in legacy (host) byte order, field by field."""
    return bytes(header[:2]) + b"".join(field.to_bytes(2, sys.byteorder) for field in header[2:])


@pytest.mark.parametrize("header", [PLAIN, PARTIAL, TSO4, TSO6, USO])
def test_golden_bytes_both_ways(canvas, header: tuple[int, ...]) -> None:
    sheet = canvas(bytes(virtio.HEADER_LEN))
    virtio.HEADER.pack_into(sheet.buf, sheet.start, *header)
    assert sheet.frame() == golden(header)
    assert virtio.HEADER.unpack_from(sheet.buf, sheet.start) == header


def test_none_is_an_ordinary_frame() -> None:
    assert virtio.HEADER.size == virtio.HEADER_LEN == len(virtio.NONE)
    assert virtio.check(*virtio.HEADER.unpack(virtio.NONE), 60) == virtio.OK


@pytest.mark.parametrize(
    "header",
    [
        PLAIN,
        changed(PLAIN, csum_start=0xFFFF, csum_offset=0xFFFF),  # without NEEDS_CSUM they mean nothing
        changed(PLAIN, flags=virtio.F_DATA_VALID),
        PARTIAL,
        changed(PARTIAL, csum_start=14, csum_offset=0),
        changed(PARTIAL, csum_start=LENGTH - 8),
        TSO4,
        TSO6,
        USO,
        changed(TSO4, gso_type=virtio.GSO_TCPV4 | virtio.GSO_ECN),
        changed(TSO6, gso_type=virtio.GSO_TCPV6 | virtio.GSO_ECN),
        changed(TSO4, hdr_len=0),  # a hint: not judged
        changed(TSO4, hdr_len=0xFFFF),
        changed(TSO4, gso_size=1),
        changed(TSO4, gso_size=0xFFFF),
    ],
)
def test_sane_headers_pass(header: tuple[int, ...]) -> None:
    assert virtio.check(*header, LENGTH) == virtio.OK


@pytest.mark.parametrize(
    "header",
    [
        changed(PARTIAL, csum_start=13),  # inside the Ethernet header
        changed(PARTIAL, csum_start=0),
        changed(PARTIAL, csum_start=LENGTH - 7),  # the field would stick out by a byte
        changed(PARTIAL, csum_start=0xFFFF, csum_offset=0xFFFF),
        changed(TSO4, flags=0),
        changed(TSO4, flags=virtio.F_DATA_VALID),
        changed(TSO4, gso_size=0),
        changed(TSO4, csum_offset=6),
        changed(TSO6, csum_offset=17),
        changed(USO, csum_offset=16),
        changed(TSO4, csum_start=LENGTH - 19),  # no room for a TCP header
        changed(USO, csum_start=LENGTH - 7),
    ],
)
def test_nonsense_is_refused(header: tuple[int, ...]) -> None:
    assert virtio.check(*header, LENGTH) == virtio.BAD_VNET_HDR


@pytest.mark.parametrize(
    "gso_type",
    [2, virtio.GSO_UDP, 6, 0x21, 0x7F, virtio.GSO_ECN, virtio.GSO_ECN | virtio.GSO_UDP_L4, 0xFF],
)
def test_other_super_frames_are_told_apart_as_unsupported(gso_type: int) -> None:
    assert virtio.check(*changed(TSO4, gso_type=gso_type), LENGTH) == virtio.UNSUPPORTED_GSO
