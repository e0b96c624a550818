"""What a profile says of the lines on top."""

from __future__ import annotations

from benchmarks.flame import leaves, lines

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
