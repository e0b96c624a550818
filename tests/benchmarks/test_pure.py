"""What is measured in memory still fits the code that it measures, and says something of every figure."""

from __future__ import annotations

from benchmarks import frames, micro


def test_every_way_of_a_frame_is_gone() -> None:
    for name, burst in frames.bursts().items():
        assert all(burst() > 0 for _ in range(3)), name


def test_samples_are_one_for_each_round() -> None:
    for samples in (frames.measure(rounds=2, seconds=0.001), micro.measure(rounds=2, seconds=0.001)):
        assert len(samples) >= 8
        assert all(len(values) == 2 and min(values) > 0 for values in samples.values())
