"""What a profile says of the lines on top."""

from __future__ import annotations

from collections import Counter

from benchmarks.flame import leaves, lines, shares

STACKS = [
    "thread (1): MainThread;serve (serving.py:52);Encap.burst (encap.py:62);TapPort.read (port.py:76) 30",
    "thread (1): MainThread;serve (serving.py:52);TapPort.read (port.py:76) 10",
    "thread (1): MainThread;Runner.run (asyncio/runners.py:118) 40",
    "thread (2): uvloop_0;Thread.run (threading.py:982);_worker (concurrent/futures/thread.py:81) 500",
]


def test_only_the_main_thread_counts_by_its_top_line() -> None:
    found = leaves(STACKS)
    assert found == {"TapPort.read  port.py:76": 40, "Runner.run  the loop: waiting, dispatching": 40}
    told = list(lines({"sends": found}))
    assert "80 samples" in told[0]
    assert told[1].split() == ["50.0%", "TapPort.read", "port.py:76"]


def test_shares_are_of_the_time_in_which_it_did_not_wait() -> None:
    counts = Counter(
        {
            "Runner.run  the loop: waiting, dispatching": 500,
            "TapPort.read  vxswitch/dataplane/port.py:76": 50,
            "row_sums  vxswitch/offload/checksum.py:34": 30,
            "FlowCache.find  vxswitch/dataplane/flow.py:108": 20,
        }
    )
    assert shares(counts) == {"system calls": 0.5, "offload/": 0.3, "the rest": 0.2}
    assert shares(Counter()) == {}
