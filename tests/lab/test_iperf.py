"""iperf3's figures: of one flow, several, both ways, and of paced UDP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vxswitch.lab import Lab, LabError, iperf


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(hosts=2) as lab:
        yield lab


@pytest.mark.parametrize(("flows", "both"), [(1, False), (4, False), (1, True)])
def test_tcp_moves_bytes(lab: Lab, flows: int, both: bool) -> None:
    first, second = lab.hosts
    result = iperf.tcp(first, second, second.ip4, seconds=1, flows=flows, both=both)
    assert result.received_bytes > 0
    assert result.gbit_per_s == pytest.approx(result.received_bytes * 8e-9 / result.seconds)


def test_udp_tells_what_was_lost(lab: Lab) -> None:
    first, second = lab.hosts
    result = iperf.udp(first, second, second.ip4, size=200, pps=2000, seconds=1)
    assert 0 < result.packets < 4000
    assert result.received_bytes == (result.packets - result.lost) * 200
    every_other = ["-m", "statistic", "--mode", "nth", "--every", "2", "--packet", "1"]
    second.run(["iptables", "-A", "INPUT", "-p", "udp", "--dport", str(iperf.PORT), *every_other, "-j", "DROP"])
    try:
        half = iperf.udp(first, second, second.ip4, size=200, pps=2000, seconds=1)
    finally:
        second.run(["iptables", "-F", "INPUT"])
    assert half.lost > half.packets / 4


def test_a_wrong_address_is_an_error_and_ends_the_server(lab: Lab) -> None:
    first, second = lab.hosts
    with pytest.raises(LabError, match="unreachable"):
        iperf.tcp(first, second, "203.0.113.1", seconds=1)
    assert second.processes == []
