"""The lone frame: the switch does with it what it does in earnest, and every way has figures."""

from __future__ import annotations

from benchmarks.frames import HERE, THERE, VNI
from benchmarks.sparse import bench, echo, measure
from vxswitch.wire import virtio, vxlan


def test_what_goes_through_the_switch_comes_out_as_it_must() -> None:
    came = {}
    with bench() as one:
        for name, (bring, handle, take) in one.calls().items():
            bring()
            handle()
            came[name] = take()
        assert (one.port.rx_frames, one.port.tx_frames) == (1, 1)
    out, into = vxlan.header(VNI) + echo(THERE, HERE), virtio.NONE + echo(HERE, THERE)
    assert came["out: the switch"] == out and came["in: the switch"] == into
    assert len(came["out: system calls"]) == len(out)


def test_every_way_has_a_figure() -> None:
    found = measure(frames=2)
    assert len(found) == 4 and all(warm > 0 and cold > 0 for warm, cold in found.values())
