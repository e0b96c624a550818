"""Labs side by side, the underlay's kinds, and that the machine is left as it was."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys

import pytest
from scapy.utils import rdpcap

from vxswitch.lab import Host, Lab, LabError, Namespace, command, ping, tcp_transfer, until
from vxswitch.lab import owner as owners
from vxswitch.lab.topology import underlay_addresses


def features(where: Namespace, device: str) -> dict[str, str]:
    lines = where.run(["ethtool", "-k", device]).stdout.splitlines()[1:]
    return {key.strip(): words.split()[0] for key, _, words in (line.partition(":") for line in lines)}


def test_every_host_reaches_every_other() -> None:
    with Lab(hosts=3) as lab:
        assert [host.label for host in lab.hosts] == ["h1", "h2", "h3"]
        for other in lab.hosts[1:]:
            assert ping(lab.hosts[0], other.ip4).lost == 0
            assert ping(lab.hosts[0], other.ip6).lost == 0


def test_two_labs_with_the_same_addresses_do_not_meet() -> None:
    with Lab(hosts=2) as one, Lab(hosts=2) as two:
        assert one.hosts[1].ip4 == two.hosts[1].ip4
        two.hosts[1].ip("link set eth0 down")
        assert ping(one.hosts[0], one.hosts[1].ip4).lost == 0
        assert ping(two.hosts[0], two.hosts[1].ip4, count=2, wait=0.2).received == 0


def longest_frame_sent(source: Host, destination: Host) -> int:
    """Length in bytes of the longest frame that leaves `source` during a TCP transfer."""
    argv = ["tcpdump", "-i", "eth0", "-Q", "out", "--immediate-mode", "-s", "100", "-U", "-w", "-", "tcp"]
    capture = source.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert capture.stderr is not None
    until(lambda: b"listening" in capture.stderr.readline(), 5.0, "tcpdump")
    assert tcp_transfer(source, destination, destination.ip4, 3_000_000).intact
    capture.send_signal(signal.SIGINT)
    packets = rdpcap(io.BytesIO(capture.communicate(timeout=10)[0]))
    return max(int(packet.wirelen) for packet in packets)


@pytest.mark.parametrize("direct", [False, True])
def test_a_wire_like_underlay_carries_what_a_wire_carries(direct: bool) -> None:
    with Lab(hosts=2, wire_like=True, direct=direct) as lab:
        first, second = lab.hosts
        assert longest_frame_sent(first, second) == 14 + lab.mtu
        assert features(second, "eth0")["generic-receive-offload"] == "on"
        if not direct:
            assert features(lab.net, "h1")["generic-receive-offload"] == "off"
    with Lab(hosts=2, direct=direct) as plain:
        assert longest_frame_sent(*plain.hosts) > 14 + plain.mtu


def test_the_mtu_is_as_asked() -> None:
    with Lab(hosts=2, mtu=1400) as lab:
        assert ping(lab.hosts[0], lab.hosts[1].ip4, size=1372, df=True).lost == 0
        assert ping(lab.hosts[0], lab.hosts[1].ip4, size=1373, df=True, count=1).received == 0


def test_the_machines_own_links_and_addresses_stay_as_they_were() -> None:
    def own() -> str:
        return command(["ip", "-o", "address"]).stdout + command(["ip", "-o", "rule"]).stdout

    before = own()
    with Lab(hosts=2) as lab:
        lab.container("web")
        assert own() == before
        owner = lab.owner
    assert own() == before
    assert owners.namespaces(owner) == []
    assert not owner.directory.exists()


def test_a_lab_that_cannot_be_built_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[owners.Owner] = []

    def broken(lab: Lab) -> None:
        before.append(lab.owner)
        raise LabError("broken")

    monkeypatch.setattr(Lab, "_make_wire_like", broken)
    with pytest.raises(LabError, match="broken"), Lab(hosts=2, wire_like=True):
        pass
    assert owners.namespaces(before[0]) == []
    assert not before[0].record.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_lab_in_order(number: signal.Signals) -> None:
    program = (
        "import signal\n"
        "from vxswitch.lab import Lab\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background begins deaf to it
        "signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(1)))\n"
        "with Lab(hosts=2) as lab:\n"
        "    lab.hosts[0].popen(['sleep', '600'])\n"
        "    print(lab.id, flush=True)\n"
        "    signal.pause()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    identity = process.stdout.readline().decode().strip()
    assert re.fullmatch(r"[0-9a-f]+", identity)
    os.kill(process.pid, number)
    process.communicate(timeout=20)
    assert owners.namespaces(owners.Owner(identity, 0, 0, 0.0)) == []


@pytest.mark.parametrize(("hosts", "direct"), [(0, False), (251, False), (3, True)])
def test_impossible_sizes_are_refused(hosts: int, direct: bool) -> None:
    with pytest.raises(LabError, match="possible"):
        Lab(hosts=hosts, direct=direct)


def test_a_closed_lab_says_so() -> None:
    with pytest.raises(LabError, match="not open"):
        _ = Lab().id


def test_addresses_are_distinct() -> None:
    assert len({underlay_addresses(index) for index in range(1, 256)}) == 255
    assert underlay_addresses(1) == ("10.77.0.1", "fd77::1")
