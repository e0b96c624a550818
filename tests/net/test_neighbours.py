"""Questions for neighbours on three hosts: the kernels ask, the switch answers, and the underlay is watched meanwhile.

The kernel's neighbour table and its duplicate address detection are the judges of the answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from scapy.layers.inet6 import ICMPv6ND_NS
from scapy.layers.l2 import ARP, Ether

from tests.net.containers import Container, ask, attach, full_mesh, rows
from tests.net.wire import BROADCAST, DEADLINE, Seen, Watch, Wire, frame
from vxswitch.lab import Lab, SwitchProcess, ping, until

AGE = 2.0  # fdb.age: addresses are asked about after 1.5 s
LATE = "10.9.0.55"


@dataclass(frozen=True, slots=True)
class Trio:
    """One container of network red on each host. In searching, unknown MACs are asked for, and addresses checked."""

    lab: Lab
    switches: tuple[SwitchProcess, ...]
    containers: tuple[Container, ...]


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    with Lab(hosts=3) as lab:
        store = lab.redis()
        words = ["--store", store.url, "--network", "red=100", "--network", "searching=101"]
        words += ["--set", "networks.red.antispoof=off", "--set", "networks.searching.unknown=ask"]
        words += ["--set", "networks.searching.antispoof=full"]
        words += ["--set", "timers.lease=1.5", "--set", "timers.beat=0.5", "--set", f"fdb.age={AGE}"]
        switches = tuple(host.switch(*words, wait=False) for host in lab.hosts)
        for switch in switches:
            switch.wait_ready()
        made = [
            attach(lab, switch, "red", f"c{n}", f"10.9.0.{n}", ip6=f"fd09::{n}") for n, switch in enumerate(switches, 1)
        ]
        until(lambda: full_mesh(switches, "red"), DEADLINE, "full flood lists")
        macs = {container.mac for container in made}
        until(lambda: all(macs <= rows(s, "red").keys() for s in switches), DEADLINE, "all claims everywhere")
        yield Trio(lab, switches, tuple(made))


def neighbour(container: Container, ip: str) -> str | None:
    """The MAC that the container's kernel has for an address."""
    known = json.loads(container.namespace.run(["ip", "-j", "neigh", "show", ip, "dev", "eth0"]).stdout or "[]")
    return next((one.get("lladdr") for one in known), None)


def forget(container: Container) -> None:
    container.namespace.ip("neigh flush dev eth0")


def questions(seen: list[Seen], ip: str) -> list[Seen]:
    """The questions for one address that crossed the underlay."""
    found = []
    for one in seen:
        inner = Ether(one.inner)
        arp = ARP in inner and inner[ARP].op == 1 and inner[ARP].pdst == ip
        if arp or (ICMPv6ND_NS in inner and inner[ICMPv6ND_NS].tgt == ip):
            found.append(one)
    return found


def ips(switch: SwitchProcess, container: Container) -> set[str]:
    return set(rows(switch, "red")[container.mac]["ips"])


def probe(asker: Container, target: str, sender: str = "0.0.0.0") -> bytes:
    arp = ARP(op=1, hwsrc=asker.mac, psrc=sender, hwdst="00:00:00:00:00:00", pdst=target)
    return bytes(Ether(src=asker.mac, dst=BROADCAST) / arp)


@pytest.mark.parametrize(("ip", "counter"), [("10.9.0.2", "arp_answered"), ("fd09::2", "nd_answered")])
def test_a_question_is_answered_by_the_switch_and_never_leaves_it(trio: Trio, ip: str, counter: str) -> None:
    one, two, _ = trio.containers
    until(lambda: {"10.9.0.2", "fd09::2"} <= ips(trio.switches[0], two), DEADLINE, "both addresses to be known")
    before = ask(trio.switches[0], "stats")[counter]
    with Watch(trio.lab.net) as watch:
        forget(one)
        assert ping(one.namespace, ip, count=1).lost == 0
        assert [found for found in questions(watch.seen(), ip) if found.port == "h1"] == []
    assert neighbour(one, ip) == two.mac
    assert ask(trio.switches[0], "stats")[counter] > before


def test_duplicate_address_detection_finds_the_other_hosts_address_and_not_its_own(trio: Trio) -> None:
    one, two, _ = trio.containers
    until(lambda: "fd09::2" in ips(trio.switches[0], two), DEADLINE, "the address to be known")
    one.namespace.ip("address add fd09::2/64 dev eth0", "address add fd09::77/64 dev eth0")

    def flags(ip: str) -> dict[str, bool]:
        shown = json.loads(one.namespace.run(["ip", "-j", "address", "show", "dev", "eth0"]).stdout)
        return next(a for a in shown[0]["addr_info"] if a.get("local") == ip)

    until(lambda: bool(flags("fd09::2").get("dadfailed")), DEADLINE, "the kernel to find the duplicate")
    until(lambda: "tentative" not in flags("fd09::77"), DEADLINE, "its own address to be free")
    assert "dadfailed" not in flags("fd09::77") and "dadfailed" not in flags("fd09::1")
    one.namespace.ip("address del fd09::2/64 dev eth0", "address del fd09::77/64 dev eth0")


def test_an_arp_probe_is_answered_for_another_hosts_address_only(trio: Trio) -> None:
    one, two, three = trio.containers
    with Wire(one.namespace) as first, Wire(three.namespace) as third:
        first.send(probe(one, two.ip))
        (answer,) = first.take(1, lambda data: ARP in Ether(data) and Ether(data)[ARP].op == 2)
        told = Ether(answer)[ARP]
        assert (told.hwsrc, told.psrc, told.hwdst, told.pdst) == (two.mac, two.ip, one.mac, "0.0.0.0")
        mine, marker = probe(one, one.ip), frame(BROADCAST, one.mac, b"marker")
        first.send(mine)
        first.send(marker)
        seen = third.until(marker)
        assert mine in seen and probe(one, two.ip) not in seen


def test_an_announcement_always_floods(trio: Trio) -> None:
    one, _, three = trio.containers
    announcement = probe(one, one.ip, one.ip)
    with Wire(one.namespace) as first, Wire(three.namespace) as third:
        first.send(announcement)
        third.until(announcement)


def test_an_address_that_a_container_takes_is_learned_and_one_that_it_lays_down_is_forgotten(trio: Trio) -> None:
    one, two, _ = trio.containers
    near, far = trio.switches[0], trio.switches[1]
    two.namespace.ip(f"address add {LATE}/24 dev eth0")
    assert ping(one.namespace, LATE, count=1).lost == 0  # asked by flooding, and answered by itself
    until(lambda: LATE in ips(near, two), DEADLINE, "the address to be claimed")
    forget(one)
    with Watch(trio.lab.net) as watch:
        assert ping(one.namespace, LATE, count=1).lost == 0
        assert [found for found in questions(watch.seen(), LATE) if found.port == "h1"] == []
    given_up = ask(far, "stats")["neighbours_given_up"]
    two.namespace.ip(f"address del {LATE}/24 dev eth0")
    until(lambda: LATE not in ips(near, two), DEADLINE + AGE, "the address to be given up")
    assert ask(far, "stats")["neighbours_given_up"] > given_up
    assert {two.ip, "fd09::2"} <= ips(near, two)  # what it has it keeps


def test_a_question_for_a_suspended_hosts_container_goes_to_that_host_alone(trio: Trio) -> None:
    one, two, three = trio.containers
    question = probe(one, three.ip, one.ip)
    trio.switches[2].kill()

    def state() -> str | None:
        return next((p["state"] for p in ask(trio.switches[0], "peers") if p["node"] == "h3"), None)

    until(lambda: state() == "suspended", DEADLINE, "the dead host to be suspended")
    marker = frame(BROADCAST, one.mac, b"marker")
    with Watch(trio.lab.net) as watch, Wire(one.namespace) as first, Wire(two.namespace) as second:
        first.send(question)
        first.send(marker)
        assert question not in second.until(marker)
        assert watch.copies(question) == {("h1", "in"): 1, ("h3", "out"): 1}
    trio.switches[2].start()
    until(lambda: state() == "live", DEADLINE, "the host to be back")


def test_a_frame_to_an_unknown_mac_waits_until_its_owner_was_asked(trio: Trio) -> None:
    """A station behind the second host's bridge has been silent; nobody but its host gets the frame."""
    asker = attach(trio.lab, trio.switches[0], "searching", "asker", "10.9.1.1")
    silent = "02:aa:00:00:00:01"
    behind = trio.lab.hosts[1]
    behind.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
    behind.ip(
        f"link add mv0 link vx-searching address {silent} type macvlan mode bridge",
        "address add 10.9.1.77/24 dev mv0",
        "link set mv0 up",
    )
    switches = trio.switches
    until(lambda: full_mesh(switches, "searching"), DEADLINE, "full flood lists")
    until(lambda: silent not in rows(switches[0], "searching"), DEADLINE, "the station to be unknown")
    asker.namespace.ip(f"neigh replace 10.9.1.77 lladdr {silent} dev eth0 nud permanent")
    with Watch(trio.lab.net) as watch:
        assert ping(asker.namespace, "10.9.1.77", count=1).lost == 0
        passed = [one for one in watch.seen() if one.way == "out" and Ether(one.inner).dst == silent]
    assert {one.port for one in passed} == {"h2"}
    stats = ask(switches[0], "stats")
    assert stats["asked"] > 0 and stats["held"] == 0
    nobody = "02:ff:ff:ff:ff:fe"
    asker.namespace.ip(f"neigh replace 10.9.1.78 lladdr {nobody} dev eth0 nud permanent")
    with Watch(trio.lab.net) as watch:
        ping(asker.namespace, "10.9.1.78", count=1, wait=0.5)
        flooded = [one for one in watch.seen() if one.way == "out" and Ether(one.inner).dst == nobody]
    assert {one.port for one in flooded} == {"h2", "h3"}  # asking is never worse than flooding


def test_full_antispoofing_lets_a_container_use_its_own_addresses_only(trio: Trio) -> None:
    one = attach(trio.lab, trio.switches[0], "searching", "honest", "10.9.1.11", ip6="fd19::11")
    two = attach(trio.lab, trio.switches[1], "searching", "other", "10.9.1.12", ip6="fd19::12")
    until(lambda: two.mac in rows(trio.switches[0], "searching"), DEADLINE, "the other to be known")
    for ip in (two.ip, "fd19::12"):
        assert ping(one.namespace, ip, count=2).lost == 0
    one.namespace.ip("address add 10.9.1.99/24 dev eth0")
    before = ask(trio.switches[0], "drops")["spoofed_source"]
    run = one.namespace.run(["ping", "-c", "1", "-W", "0.3", "-I", "10.9.1.99", two.ip], check=False)
    assert run.returncode == 1 and ask(trio.switches[0], "drops")["spoofed_source"] > before
