"""Where the time of the hot loop goes: `python -m benchmarks.flame`, `make profile`.

Two hosts, one TCP flow, and py-spy looking at both switches while it runs: the one that sends (TAP to UDP) and the one
that receives (UDP to TAP). Writes a flame graph (SVG) of each, and prints at which lines each was found most often.
A line that makes a system call stands for the kernel's work in it: py-spy sees Python, and Python waits there.

`--udp` profiles small datagrams instead. Needs the extra `[profile]` (py-spy), and root.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import load
from benchmarks.net import RESULTS
from benchmarks.peers import KernelCut, Pair, Vxswitch
from vxswitch.lab import Lab, LabError, iperf
from vxswitch.lab.verbs import ending_by_signals

ROLES: Final = ("sends", "receives")
RATE: Final = 250  # samples per second: each one stops the switch for a moment
_SHOWN: Final = 16  # lines
_LOOP = "Runner.run"  # asyncio's, on top while uvloop, which has no frames of its own, polls and calls
_CALLS = frozenset(("TapPort.read", "TapPort.write", "Underlay._send", "Receiver.recv_run", "Door.send"))
_FRAME = re.compile(r"(?P<function>.+) \((?P<where>[^()]+:\d+)\)")


def profile(kind: type[Vxswitch], seconds: int, udp: bool, folder: Path) -> dict[str, Counter[str]]:
    """Flame graphs into `folder`; how often each line was on top of the stack, by role."""
    with Lab(hosts=2, direct=True) as lab, tempfile.TemporaryDirectory() as scratch:
        peer = kind(lab)
        pair = peer.start()
        peer.wait(pair)
        graphs = [folder / f"flame-{role}.svg" for role in ROLES]
        stacks = [Path(scratch) / role for role in ROLES]
        traffic = threading.Thread(target=_traffic, args=(pair, 2 * seconds + 3, udp))
        traffic.start()
        try:
            _record(peer.pids(), seconds, "flamegraph", graphs)
            _record(peer.pids(), seconds, "raw", stacks)
        finally:
            traffic.join()
        return {role: leaves(path.read_text().splitlines()) for role, path in zip(ROLES, stacks, strict=True)}


def _traffic(pair: Pair, seconds: int, udp: bool) -> None:
    if udp:
        load.udp(pair.source, pair.destination, pair.address, sizes=(64,), pps=310_000, seconds=seconds)
    else:
        iperf.tcp(pair.source, pair.destination, pair.address, seconds=seconds)


def _record(pids: list[int], seconds: int, form: str, paths: list[Path]) -> None:
    """py-spy on all of them at once."""
    program = str(Path(sys.executable).with_name("py-spy"))
    options = ["--threads", "--duration", str(seconds), "--rate", str(RATE), "--format", form]
    watching = [
        subprocess.Popen(
            [program, "record", "--pid", str(pid), *options, "--output", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pid, path in zip(pids, paths, strict=True)
    ]
    for process in watching:
        words = process.communicate(timeout=seconds + 30)[1]
        if process.returncode or not paths[watching.index(process)].exists():
            raise LabError(f"py-spy: {words.strip()[-500:]}")


def leaves(stacks: Iterable[str]) -> Counter[str]:
    """From folded stacks ("thread (1): MainThread;a (f:1);b (g:2) 17"): samples of the main thread by its top line.

    Other threads only wait for errands, which py-spy takes for work.
    """
    found: Counter[str] = Counter()
    for stack in stacks:
        frames, _, count = stack.rpartition(" ")
        thread, *_, top = frames.split(";")
        if thread.endswith("MainThread") and (line := _FRAME.fullmatch(top)):
            place = "the loop: waiting, dispatching" if line["function"] == _LOOP else line["where"]
            found[f"{line['function']}  {place}"] += int(count)
    return found


def shares(counts: Counter[str]) -> dict[str, float]:
    """Of the samples in which it did not wait: the share of system calls, of arithmetic on rows, and of the rest."""
    parts: Counter[str] = Counter()
    for line, count in counts.items():
        function, _, where = line.partition("  ")
        if function == _LOOP:
            continue
        kind = "system calls" if function in _CALLS else "offload/" if "vxswitch/offload/" in where else "the rest"
        parts[kind] += count
    return {kind: count / parts.total() for kind, count in parts.most_common()}


def lines(found: dict[str, Counter[str]]) -> Iterator[str]:
    """The table for the terminal."""
    for role, counts in found.items():
        total = sum(counts.values())
        told = ", ".join(f"{kind} {share:.0%}" for kind, share in shares(counts).items())
        yield f"\nthe switch that {role}: {total} samples; beside its loop, {told}"
        for where, count in counts.most_common(_SHOWN):
            yield f"  {count / max(1, total):6.1%}  {where}"


def main() -> None:
    """Profile, print, and say where the graphs are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flame", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, metavar="S", help="of each recording (default 5)")
    parser.add_argument("--udp", action="store_true", help="64-byte datagrams instead of TCP bulk")
    parser.add_argument("--kernel-cut", action="store_true", help="with underlay.kernel_cut=on")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="for the SVGs (benchmarks/results)")
    args = parser.parse_args()
    ending_by_signals()
    args.out.mkdir(parents=True, exist_ok=True)
    found = profile(KernelCut if args.kernel_cut else Vxswitch, args.seconds, args.udp, args.out)
    for line in lines(found):
        print(line)
    print(f"\nflame graphs: {', '.join(str(args.out / f'flame-{role}.svg') for role in ROLES)}")


if __name__ == "__main__":
    main()
