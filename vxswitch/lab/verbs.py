"""What `vxswitch lab up|down|exec|ls|demo` do; the command line only reads the arguments."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from vxswitch.errors import NotFoundError, UsageError
from vxswitch.lab import owner as owners
from vxswitch.lab.demo import main as run_demo
from vxswitch.lab.owner import NETNS_DIR, Owner
from vxswitch.lab.scenario import SUBNET, Scenario
from vxswitch.lab.screen import Screen
from vxswitch.lab.topology import MAX_HOSTS, Lab


def up(args: argparse.Namespace) -> int:
    """Build hosts, store, networks and containers, leave them standing, and say what to try."""
    networks = tuple(name for name in args.networks.split(",") if name)
    if not networks or len(set(networks)) != len(networks):
        raise UsageError(f"--networks {args.networks}: give different names, separated by commas")
    if not 1 <= args.hosts <= MAX_HOSTS:
        raise UsageError(f"--hosts {args.hosts}: 1 to {MAX_HOSTS} are possible")
    ending_by_signals()
    with Lab(args.name, args.hosts) as lab:
        scenario = Scenario(lab, networks)
        scenario.start_switches()
        scenario.attach_all()
        _explain(scenario)
        lab.keep()
    return 0


def _explain(scenario: Scenario) -> None:
    screen, lab, first = Screen(), scenario.lab, scenario.networks[0].name
    vnis = ", ".join(f"{network.name} (VNI {network.vni})" for network in scenario.networks)
    screen.line(f"lab {lab.id} is up: {len(lab.hosts)} hosts, store {scenario.store.url}")
    screen.line(f"networks {vnis}, all {SUBNET}: container i of each is 10.9.0.i on host i")
    screen.line("\ntry:")
    for what in (f"{first}1 -- ping -c3 10.9.0.2", "h1 -- vxswitch fdb", "h1 -- vxswitch peers", f"{first}1"):
        screen.line(f"  vxswitch lab exec --lab {lab.id} {what}")
    screen.line(f"  vxswitch lab down {lab.id}")


def down(args: argparse.Namespace) -> int:
    """Remove a lab that was left standing, or that crashed."""
    owner = _find(args.id)
    if owner.pid and owner.alive():
        raise UsageError(f"lab {owner.id} belongs to the running process {owner.pid}, which removes it itself")
    owners.remove(owner)
    print(f"lab {owner.id} is removed")
    return 0


def enter(args: argparse.Namespace) -> int:
    """Become the command, inside the namespace; the switch of that host answers it."""
    owner = _find(args.lab)
    path = NETNS_DIR / f"{owner.prefix}{args.host}"
    if not path.exists():
        known = ", ".join(name.removeprefix(owner.prefix) for name in owners.namespaces(owner))
        raise NotFoundError(f"lab {owner.id} has no host or container {args.host!r}: it has {known}")
    argv = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    os.environ["VXSWITCH_SOCKET"] = str(owner.directory / args.host / "vxswitch.sock")
    sys.stdout.flush()
    os.execvp("nsenter", ["nsenter", f"--net={path}", "--", *(argv or [os.environ.get("SHELL", "/bin/sh")])])


def _find(identity: str | None) -> Owner:
    """The lab with this id; with none given, the only one that was left standing."""
    if identity is not None:
        found = [owner for owner in owners.labs() if owner.id == identity]
        if not found:
            raise NotFoundError(f"no lab {identity!r} on this machine: see `vxswitch lab ls`")
        return found[0]
    kept = [owner for owner in owners.labs() if owner.pid == 0]
    if len(kept) != 1:
        raise UsageError(f"{len(kept)} labs stand on this machine: say which (`vxswitch lab ls`)")
    return kept[0]


def ls(args: argparse.Namespace) -> int:
    """One line per lab on this machine: id, whose it is, its namespaces."""
    for owner in owners.labs():
        state = "kept" if owner.pid == 0 else f"of process {owner.pid}" if owner.alive() else "crashed"
        names = " ".join(name.removeprefix(owner.prefix) for name in owners.namespaces(owner))
        print(f"{owner.id:<16}  {state:<20}  {names}")
    return 0


def demo(args: argparse.Namespace) -> int:
    """Run the demo; Ctrl-C ends it in order."""
    ending_by_signals()
    try:
        return run_demo()
    except KeyboardInterrupt:
        return 130


def ending_by_signals() -> None:
    """SIGTERM and SIGHUP end the program like Ctrl-C does: through every `finally`."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
