"""What a full run measures without any network: cutting and joining, the way of a frame, and what size costs."""

from __future__ import annotations

from benchmarks import frames, micro, scale, sparse

Samples = dict[str, object]


def measure() -> Samples:
    """All samples: `micro` in microseconds per call, `frames` per second, `sparse` in microseconds, `scale` in CPU
    seconds by size."""
    print("\nin memory: cutting, joining, checksums", flush=True)
    small = micro.measure(rounds=7, seconds=0.02)
    print("in memory: the way of a frame", flush=True)
    ways = frames.measure(rounds=9, seconds=0.05)
    print("on the loopback: a lone frame", flush=True)
    lone = {name: {"warm": warm, "cold": cold} for name, (warm, cold) in sparse.measure(frames=300).items()}
    print("in memory and on the loopback: many MACs, many VTEPs\n", flush=True)
    sizes = scale.measure(rounds=7, seconds=0.03)
    for line in scale.lines(sizes):
        print(line)
    return {"micro": small, "frames": ways, "sparse": lone, "scale": sizes}
