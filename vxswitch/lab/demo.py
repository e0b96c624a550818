"""The main job on real traffic, with figures: what `make demo` runs.

Three hosts, one store, two networks that share one subnet and even their MACs. Each step states a claim
and measures it; the summary repeats them all, and the exit code is 0 only if every one held. A step that
raises is a claim that failed: the rest still runs, and the lab is removed in any case.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable

from vxswitch.lab import iperf
from vxswitch.lab.netns import until
from vxswitch.lab.owner import LabError, namespaces
from vxswitch.lab.probe import LossMeter, PingResult, ping
from vxswitch.lab.scenario import SUBNET, Scenario
from vxswitch.lab.screen import Screen
from vxswitch.lab.switch import SwitchProcess
from vxswitch.lab.topology import Lab
from vxswitch.lab.transfer import hear, saying, tcp_transfer

ICMP_OVERHEAD = 28  # IPv4 and ICMP headers: ping -s is the payload
TRANSFER_BYTES = 100_000_000
STORE_AWAY = 4.0  # seconds, longer than a lease
FLOOD_DEADLINE = 5.0  # seconds for a dead node to leave the flood lists at default timers


def main(screen: Screen | None = None) -> int:
    """Run the demo; returns the exit code."""
    screen = screen or Screen()
    begun = time.monotonic()
    screen.line("vxswitch demo: three hosts, one store, two networks with the same subnet and the same MACs")
    with Lab() as lab:
        scenario = _set_up(lab, screen)
        for title, part in _PARTS:
            screen.heading(title)
            try:
                part(scenario, screen)
            except LabError as error:
                screen.claim(False, f"{title}: could not be shown", str(error))
        owner = lab.owner
    left = [*namespaces(owner), *(str(path) for path in (owner.record, owner.directory) if path.exists())]
    screen.heading("Cleaning up")
    gone = "its namespaces are gone, their links and processes with them, and its files"
    screen.claim(not left, "nothing is left behind on this machine", ", ".join(left) or gone)
    return 0 if screen.summary(time.monotonic() - begun) else 1


def _set_up(lab: Lab, screen: Screen) -> Scenario:
    screen.heading("Setting up")
    scenario = Scenario(lab)
    with screen.step("underlay") as details:
        details.append(f"{len(lab.hosts)} hosts in namespaces, IPv4 and IPv6, MTU {lab.mtu}")
    with screen.step("store") as details:
        details.append(scenario.store.url)
    with screen.step("switches") as details:
        scenario.start_switches()
        details.append(", ".join(f"{name} {switch.ready['vtep']}" for name, switch in scenario.switches.items()))
    with screen.step("containers") as details:
        scenario.attach_all()
        details.append(f"{', '.join(f'{n.name} (VNI {n.vni})' for n in scenario.networks)}, all {SUBNET}")
    with screen.step("tables") as details:
        scenario.wait_known()
        details.append("every switch knows the MAC of every container")
    return scenario


def _reach(scenario: Scenario, screen: Screen) -> None:
    """Every container reaches every other one of its network; the largest packet passes unfragmented."""
    for network in scenario.networks:
        members = [member for member in scenario.members.values() if member.network == network.name]
        results = {(a, b): ping(a.namespace, b.ip, count=5) for a, b in itertools.permutations(members, 2)}
        lost = [f"{a.namespace.label} to {b.namespace.label} {r.lost}" for (a, b), r in results.items() if r.lost]
        figure = f"{len(results)} pairs, {sum(r.sent for r in results.values())} pings, {_rtts(results.values())}"
        text = f"{network.name}: every container reaches every other across hosts"
        screen.claim(not lost, text, f"{figure}, lost: {', '.join(lost) or 'none'}")
    red1, red2 = scenario.members["red1"], scenario.members["red2"]
    full = ping(red1.namespace, red2.ip, size=red1.mtu - ICMP_OVERHEAD, df=True)
    screen.claim(
        full.lost == 0,
        f"packets of {red1.mtu} bytes pass with DF set over an underlay of {scenario.lab.mtu}",
        f"{full.lost} of {full.sent} lost, {_rtts([full])}",
    )


def _rtts(results: Iterable[PingResult]) -> str:
    every = sorted(rtt * 1e6 for result in results for rtt in result.rtts)
    return f"median RTT {every[len(every) // 2]:.0f} us" if every else "no reply"


def _bulk(scenario: Scenario, screen: Screen) -> None:
    """TCP between hosts: how fast, and whether every byte arrives as it was sent."""
    red1, red2 = scenario.members["red1"], scenario.members["red2"]
    one = iperf.tcp(red1.namespace, red2.namespace, red2.ip, seconds=3)
    screen.claim(
        one.received_bytes > 0,
        "TCP bulk from a container of h1 to a container of h2",
        f"{one.gbit_per_s:.2f} Gbit/s over {one.seconds:.0f} s, {one.retransmits} retransmits",
    )
    moved = tcp_transfer(red1.namespace, red2.namespace, red2.ip, TRANSFER_BYTES)
    screen.claim(
        moved.intact and moved.size == TRANSFER_BYTES,
        f"{moved.size // 1_000_000} MB of random bytes over TCP arrive unchanged",
        f"SHA-256 {moved.received_sha256[:16]}... at both ends, {moved.seconds:.1f} s",
    )


def _isolation(scenario: Scenario, screen: Screen) -> None:
    """The same address answers differently in each network, and a network cannot be left."""
    answers = {}
    for network in scenario.networks:
        asker, target = scenario.members[f"{network.name}1"], scenario.members[f"{network.name}2"]
        with saying(target.namespace, target.namespace.label) as port:
            answers[network.name] = hear(asker.namespace, target.ip, port)
    screen.claim(
        all(heard == f"{name}2" for name, heard in answers.items()),
        "10.9.0.2 is another container in each network, with the same MAC",
        ", ".join(f"{name}1 asks 10.9.0.2 and hears {heard}" for name, heard in answers.items()),
    )
    lone = scenario.attach("red", scenario.lab.hosts[1], 9)
    within = ping(scenario.members["red1"].namespace, lone.ip)
    intruder = scenario.members["blue1"].namespace
    intruder.ip(f"neigh replace {lone.ip} lladdr {lone.mac} dev eth0")
    across = ping(intruder, lone.ip, count=10, wait=0.5)
    screen.claim(
        within.lost == 0 and across.received == 0,
        "a container of red cannot be reached from blue, not even by its MAC",
        f"{lone.ip}: red1 {within.received} of {within.sent} answered, blue1 {across.received} of {across.sent}",
    )


def _look_inside(scenario: Scenario, screen: Screen) -> None:
    """What a user sees on h1."""
    h1 = scenario.switches["h1"]
    for args in (["fdb", "red"], ["peers"], ["drops"]):
        screen.text(f"vxswitch {' '.join(args)}", _without_zeros(h1.vx(*args)))


def _without_zeros(table: str) -> str:
    """Leave out the drop reasons that never happened."""
    return "\n".join(line for line in table.splitlines() if not line.split() or line.split()[-1] != "0")


def _death_and_return(scenario: Scenario, screen: Screen) -> None:
    """SIGKILL to the switch of h3: the others forget to flood to it, lose nothing, and find it again."""
    h3 = scenario.switches["h3"]
    red1, red2, red3 = (scenario.members[name] for name in ("red1", "red2", "red3"))
    with LossMeter(red1.namespace, red2.ip) as meter:
        h3.kill()
        gone = _claim_gone(scenario, screen)
    lost = meter.result.lost
    screen.claim(
        gone and lost == 0,
        "traffic between the other hosts is undisturbed meanwhile",
        f"{lost} of {meter.result.sent} pings lost, longest gap {meter.result.longest_gap() * 1e3:.0f} ms",
    )
    started = time.time()
    h3.restart()
    ready = time.time() - started
    with LossMeter(red1.namespace, red3.ip) as meter:
        back = meter.first_reply(10.0) - started
    screen.claim(
        True, "it returns: its containers are reachable again", f"ready in {ready:.2f} s, reply in {back:.2f} s"
    )


def _claim_gone(scenario: Scenario, screen: Screen) -> bool:
    """Poll the flood lists of the other hosts, from the moment of the kill."""
    killed, vtep = time.monotonic(), scenario.switches["h3"].ready["vtep"]

    def forgotten() -> bool:
        return not any(
            row["hop"] == "flood" and row["vtep"] == vtep
            for name in ("h1", "h2")
            for row in scenario.switches[name].vx("fdb", "--json")
        )

    try:
        until(forgotten, FLOOD_DEADLINE, "h3 out of the flood lists", interval=0.05)
    except LabError as error:
        screen.claim(False, "a killed node leaves the flood lists of the others", str(error))
        return False
    took = time.monotonic() - killed
    screen.claim(took <= FLOOD_DEADLINE, "a killed node leaves the flood lists of the others", f"{took:.1f} s")
    return True


def _store_dies(scenario: Scenario, screen: Screen) -> None:
    """Nothing on the way of a frame needs the store, and an empty one is filled by those who own the entries."""
    red1, red3, h1 = scenario.members["red1"], scenario.members["red3"], scenario.switches["h1"]
    before = _entries(h1)
    with LossMeter(red1.namespace, red3.ip, interval=0.01) as meter:
        killed = time.monotonic()
        scenario.store.kill()
        until(lambda: _store_state(h1) != "up", 10.0, "h1 sees that the store is away")
        until(lambda: time.monotonic() - killed > STORE_AWAY, 2 * STORE_AWAY, "the outage")
    lost, sent = meter.result.lost, meter.result.sent
    figure = f"{lost} of {sent} pings lost in {STORE_AWAY:.0f} s without it"
    screen.claim(lost == 0 and sent > 0, "the store is killed: known traffic goes on", figure)
    started = time.monotonic()
    scenario.store.start()
    until(lambda: _store_state(h1) == "up" and _entries(h1) == before, 15.0, "the table as before", interval=0.05)
    took = time.monotonic() - started
    screen.claim(True, "it returns without its data: the table is as before", f"{len(before)} entries, {took:.1f} s")


def _store_state(switch: SwitchProcess) -> str:
    return str(switch.vx("status", "--json")["store"]["state"])


def _entries(switch: SwitchProcess) -> set[tuple[str, ...]]:
    return {(row["network"], row["mac"], row["hop"], row["vtep"]) for row in switch.vx("fdb", "--json")}


_PARTS: tuple[tuple[str, Callable[[Scenario, Screen], None]], ...] = (
    ("Reach", _reach),
    ("Bulk", _bulk),
    ("Isolation", _isolation),
    ("A look inside h1", _look_inside),
    ("A node dies and returns", _death_and_return),
    ("The store dies", _store_dies),
)
