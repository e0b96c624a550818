from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.control.world import World
from vxswitch.control.heard import Heard
from vxswitch.control.metrics import Metrics
from vxswitch.control.views import Views
from vxswitch.counters import Drop
from vxswitch.wire.multicast import JOINED, REPORT, Message
from vxswitch.wire.probe import Identity


async def test_prometheus_can_read_it_and_names_are_as_promised(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start("red=100")
    await one.attach("red")
    await world.spread()
    heard = one.prober.heard[one.fdb.peers[two.record.vteps[0]]] = Heard(1472)
    heard.asked(1, 10.0)
    heard.answered(1, Identity(1, 2), 10.004)
    one.plane.stats.probes_sent = 2
    one.groups.tick()
    known = one.fdb.tables[100].groups
    assert known is not None
    known.hear(one.plane.ports["red/c1/eth0"], Message(REPORT, 4, records=((bytes((239, 1, 2, 3)), JOINED),)))
    one.plane.ports["red/c1/eth0"].counts.by_reason[Drop.STORM] = 3
    rooms = one.rooms
    text = Metrics(rooms, Views(rooms)).text().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(name.startswith("vxswitch_") for name in families)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert {sample.labels["reason"] for sample in families["vxswitch_drops"].samples} == {d.label for d in Drop}
    assert samples["vxswitch_frames_total", ("direction", "in")] == 7
    assert samples["vxswitch_fdb_rows", ("network", "red")] == 3
    assert samples["vxswitch_flood_vteps", ("network", "red")] == 1
    assert samples["vxswitch_mcast_groups", ("network", "red")] == 1
    assert samples[("vxswitch_mcast_frames_total",)] == samples[("vxswitch_mcast_copies_total",)] == 0
    assert samples[("vxswitch_mcast_malformed_total",)] == samples[("vxswitch_absorbed_frames_total",)] == 0
    assert samples["vxswitch_store_state", ("state", "up")] == 1
    assert samples["vxswitch_networks", ("state", "up")] == 1
    peer = ("node", "n2"), ("vtep", "192.0.2.2:4789")
    assert samples["vxswitch_probe_rtt_seconds", *peer] == pytest.approx(0.004)
    assert samples["vxswitch_probe_loss", *peer] == 0
    assert samples["vxswitch_probes_total", ("kind", "sent")] == 2
    port = ("network", "red"), ("port", "red/c1/eth0")
    assert samples["vxswitch_port_rx_frames_total", *port] == 0
    assert samples["vxswitch_port_drops_total", *port, ("reason", "storm")] == 3
    for family in families.values():
        assert family.type in ("counter", "gauge", "histogram") and family.documentation.endswith(".")
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)


async def test_every_scrape_is_of_now(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    rooms = node.rooms
    metrics = Metrics(rooms, Views(rooms))
    assert b'vxswitch_fdb_rows{network="red"} 1.0' in metrics.text()
    await node.attach("red")
    assert b'vxswitch_fdb_rows{network="red"} 2.0' in metrics.text()
