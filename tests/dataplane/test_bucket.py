"""Token buckets against plain arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vxswitch.dataplane.bucket import Bucket

steps = st.lists(st.tuples(st.floats(0, 2), st.integers(1, 30)), max_size=60)


@given(st.integers(1, 100), st.integers(1, 50), steps)
def test_never_more_than_burst_and_rate_allow(rate: int, burst: int, takes: list[tuple[float, int]]) -> None:
    """Over any stretch of time: at most burst + rate x time, and one take that is larger than the burst."""
    bucket = Bucket(rate, burst, 100.0)
    now, taken = 100.0, 0
    for pause, n in takes:
        now += pause
        if bucket.take(n, now):
            taken += n
        assert taken <= burst + rate * (now - 100.0) + max(0, 30 - burst) + 1e-6


@given(st.integers(1, 100), st.integers(1, 50), st.integers(1, 200))
def test_a_full_bucket_lets_anything_through_once_and_asks_it_back(rate: int, burst: int, n: int) -> None:
    bucket = Bucket(rate, burst, 0.0)
    assert bucket.take(n, 0.0)
    debt = max(0, n - burst)
    if n >= burst:
        assert not bucket.take(1, (debt + 0.5) / rate)
    assert bucket.take(1, (debt + 1.5) / rate)


def test_a_refused_take_takes_nothing_and_time_refills() -> None:
    bucket = Bucket(10, 5, 0.0)
    assert bucket.take(3, 0.0)
    assert not bucket.take(3, 0.0)
    assert bucket.take(2, 0.0)
    assert not bucket.take(1, 0.05)
    assert bucket.take(1, 0.125)
    assert bucket.take(5, 1000.0) and not bucket.take(1, 1000.0)
