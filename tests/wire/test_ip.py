"""IP header positions and RFC 6040, scapy building every packet and every checksum anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from vxswitch.wire import ethernet, ip

NAMES = {"Not-ECT": ip.NOT_ECT, "ECT(0)": ip.ECT0, "ECT(1)": ip.ECT1, "CE": ip.CE, "drop": ip.DROP}
# RFC 6040 figure 4. First line: arriving outer header; first column: arriving inner header.
FIGURE_4 = """
inner    Not-ECT  ECT(0)   ECT(1)   CE
Not-ECT  Not-ECT  Not-ECT  Not-ECT  drop
ECT(0)   ECT(0)   ECT(0)   ECT(1)   CE
ECT(1)   ECT(1)   ECT(1)   ECT(1)   CE
CE       CE       CE       CE       CE
"""
_HEAD, *_ROWS = [line.split() for line in FIGURE_4.strip().splitlines()]
TABLE = [
    (NAMES[outer], NAMES[row[0]], NAMES[result])
    for row in _ROWS
    for outer, result in zip(_HEAD[1:], row[1:], strict=True)
]

ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
DSCPS = [0, 46 << 2, 63 << 2]


def ipv4(tos: int, **fields: object) -> Packet:
    return IP(src="10.0.0.1", dst="10.0.0.2", tos=tos, **fields) / UDP(sport=1, dport=2) / Raw(b"payload")


def ipv4_with_options(tos: int) -> Packet:
    return ipv4(tos, options=[IPOption_NOP()] * 8)


def ipv6(tos: int) -> Packet:
    return IPv6(src="fd00::1", dst="fd00::2", tc=tos, fl=0xABCDE) / UDP(sport=1, dport=2) / Raw(b"payload")


BUILDERS = [ipv4, ipv4_with_options, ipv6]
CODEPOINTS = {"Not-ECT": "00", "ECT(1)": "01", "ECT(0)": "10", "CE": "11"}  # RFC 3168 section 5


@pytest.mark.parametrize(("name", "bits"), CODEPOINTS.items())
def test_codepoints(name: str, bits: str) -> None:
    assert NAMES[name] == int(bits, 2)


V4 = bytes(IP(tos=0x12, len=0x3456, id=0x789A, flags="DF", frag=0xABC, ttl=0xDE, proto=0xF0, chksum=0x1122) / Raw(b""))
V6 = bytes(IPv6(tc=0x12, fl=0x34567, plen=0x89AB, nh=0xCD, hlim=0xEF, src="::1", dst="::2"))


@pytest.mark.parametrize(
    ("header", "offset", "value"),
    [
        (V4, ip.V4_VERSION_IHL, "45"),
        (V4, ip.V4_TOS, "12"),
        (V4, ip.V4_TOTAL_LENGTH, "3456"),
        (V4, ip.V4_ID, "789a"),
        (V4, ip.V4_FRAGMENT, "4abc"),
        (V4, ip.V4_TTL, "de"),
        (V4, ip.V4_PROTOCOL, "f0"),
        (V4, ip.V4_CHECKSUM, "1122"),
        (V4, ip.V4_SOURCE, "7f000001"),
        (V4, ip.V4_DESTINATION, "7f000001"),
        (V6, ip.V6_VERSION_CLASS, "6123"),
        (V6, ip.V6_PAYLOAD_LENGTH, "89ab"),
        (V6, ip.V6_NEXT_HEADER, "cd"),
        (V6, ip.V6_HOP_LIMIT, "ef"),
        (V6, ip.V6_SOURCE, "0" * 31 + "1"),
        (V6, ip.V6_DESTINATION, "0" * 31 + "2"),
    ],
)
def test_field_stands_where_scapy_puts_it(header: bytes, offset: int, value: str) -> None:
    assert header[offset : offset + len(value) // 2].hex() == value


def test_lengths_and_fragment_bits() -> None:
    assert (len(V4), len(V6)) == (ip.V4_HEADER_LEN, ip.V6_HEADER_LEN)
    assert bytes(IP(flags="DF"))[ip.V4_FRAGMENT] << 8 == ip.V4_DF
    assert bytes(IP(flags="MF"))[ip.V4_FRAGMENT] << 8 == ip.V4_MF
    assert int.from_bytes(bytes(IP(frag=0x1FFF))[ip.V4_FRAGMENT :][:2], "big") == ip.V4_OFFSET_MASK


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("tos", [0, 1, 2, 3, 0x10, 0xB8, 0xFF])
def test_tos_is_what_scapy_set(canvas, build, tos: int) -> None:
    sheet = canvas(bytes(ETHERNET / build(tos)))
    assert ip.tos(sheet.buf, sheet.start, sheet.length) == tos


@given(st.integers(0, 255))
def test_encap_copies_ecn_and_not_dscp(tos: int) -> None:
    assert ip.encap_ecn(tos) == tos & 0b11


@pytest.mark.parametrize(("outer", "inner", "result"), TABLE)
def test_decap_is_figure_4(outer: int, inner: int, result: int) -> None:
    assert ip.decap_ecn(outer, inner) == result
    assert ip.decap_ecn(outer | 0xB8, inner | 0x28) == result


def test_figure_4_is_whole() -> None:
    assert len({(outer, inner) for outer, inner, _ in TABLE}) == 16


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("dscp", DSCPS)
@pytest.mark.parametrize(("outer", "inner", "result"), TABLE)
def test_apply_ecn_equals_a_packet_built_anew(canvas, build, dscp: int, outer: int, inner: int, result: int) -> None:
    sheet = canvas(bytes(ETHERNET / build(dscp | inner)))
    alive = ip.apply_ecn(sheet.buf, sheet.start, sheet.length, outer)
    assert alive == (result != ip.DROP)
    expected = dscp | (inner if result == ip.DROP else result)
    assert sheet.frame() == bytes(ETHERNET / build(expected))


@pytest.mark.parametrize(("outer", "inner", "result"), [row for row in TABLE if row[2] >= 0 and row[2] != row[1]])
@given(error=st.integers(0, 0xFFFF))
def test_a_wrong_checksum_stays_equally_wrong(canvas, outer: int, inner: int, result: int, error: int) -> None:
    def checksum_of(frame: bytes) -> int:
        return int.from_bytes(frame[ethernet.HEADER_LEN + ip.V4_CHECKSUM :][:2], "big")

    right_before = checksum_of(bytes(ETHERNET / ipv4(inner)))
    right_after = checksum_of(bytes(ETHERNET / ipv4(result)))
    sheet = canvas(bytes(ETHERNET / ipv4(inner, chksum=(right_before + error) & 0xFFFF)))
    wrong_before = checksum_of(sheet.frame())
    assert ip.apply_ecn(sheet.buf, sheet.start, sheet.length, outer)
    wrong_after = checksum_of(sheet.frame())
    assert (wrong_after - right_after) % 0xFFFF == (wrong_before - right_before) % 0xFFFF


def malformed() -> dict[str, bytes]:
    """Frames that hold no whole IP header, each of which would lose its ECN-marked way if taken for one."""
    v4, v6 = bytes(ETHERNET / ipv4(0)), bytes(ETHERNET / ipv6(0))
    at = ethernet.HEADER_LEN
    return {
        "arp": bytes(ETHERNET / ARP(psrc="10.0.0.1", pdst="10.0.0.2")),
        "tagged": bytes(ETHERNET / Dot1Q(vlan=5) / ipv4(0)),
        "ipv4 cut": v4[: at + ip.V4_HEADER_LEN - 1],
        "ipv4 options cut": bytes(ETHERNET / ipv4_with_options(0))[: at + ip.V4_HEADER_LEN + 7],
        "ipv6 cut": v6[: at + ip.V6_HEADER_LEN - 1],
        "ihl 0": v4[:at] + b"\x40" + v4[at + 1 :],
        "ihl 4": v4[:at] + b"\x44" + v4[at + 1 :],
        "ihl beyond the frame": v4[:at] + b"\x4f" + v4[at + 1 :],
        "ipv4 says 6": v4[:at] + b"\x65" + v4[at + 1 :],
        "ipv6 says 4": v6[:at] + b"\x40" + v6[at + 1 :],
        "ethernet header alone": v4[:at],
        "runt": v4[: at - 1],
        "empty": b"",
    }


@pytest.mark.parametrize("name", malformed())
@pytest.mark.parametrize("outer", range(4))
def test_what_is_not_ip_passes_byte_for_byte(canvas, name: str, outer: int) -> None:
    frame = malformed()[name]
    sheet = canvas(frame)
    assert ip.version(sheet.buf, sheet.start, sheet.length) == 0
    assert ip.tos(sheet.buf, sheet.start, sheet.length) == 0
    assert ip.apply_ecn(sheet.buf, sheet.start, sheet.length, outer)
    assert sheet.frame() == frame
