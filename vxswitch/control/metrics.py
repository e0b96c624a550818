"""/metrics: everything that is counted anyway, read when somebody asks, in Prometheus's text form.

A custom collector makes the families anew at each scrape; nothing is counted twice and the way of a frame knows nothing
of it. Names are ``vxswitch_*``, base units, ``_total`` on counters, a reason is a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from vxswitch.control.views import Rooms, Views
from vxswitch.counters import Stats

CONTENT_TYPE = "text/plain"

_PORT_COUNTERS = ("rx_frames", "rx_bytes", "tx_frames", "tx_bytes")


class Metrics(Collector):
    """The collector, and the text of one scrape."""

    def __init__(self, rooms: Rooms, views: Views) -> None:
        self._rooms = rooms
        self._views = views
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """One scrape."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: the families depend on what there is."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples now."""
        yield from self._node()
        yield from self._frames()
        yield from self._networks()
        yield from self._ports()
        yield from self._peers()
        yield from self._store()

    def _node(self) -> Iterator[Metric]:
        status = self._views.status()
        info = GaugeMetricFamily("vxswitch_info", "This node.", labels=("node", "version"))
        info.add_metric((status["node"], status["version"]), 1)
        yield info
        yield GaugeMetricFamily("vxswitch_uptime_seconds", "Seconds since the start.", value=status["uptime"])
        yield GaugeMetricFamily("vxswitch_degraded", "Reasons for being degraded.", value=len(status["degraded"]))

    def _frames(self) -> Iterator[Metric]:
        offered, delivered = self._rooms.plane.frames()
        by_way = {"in": offered, "out": delivered}
        yield _counter("vxswitch_frames", "Wire frames offered (in) and delivered (out).", "direction", by_way)
        yield _counter("vxswitch_drops", "Wire frames dropped.", "reason", self._views.drops())
        stats = self._rooms.plane.stats
        yield CounterMetricFamily("vxswitch_flood_copies", "Copies, flooded or multicast.", value=stats.copies)
        yield from _of_neighbours(stats)
        yield CounterMetricFamily("vxswitch_fdb_refused", "MACs not learned: table full.", value=stats.fdb_refused)
        yield CounterMetricFamily("vxswitch_fdb_evicted", "Rows that made room for others.", value=stats.fdb_evicted)

        yield CounterMetricFamily("vxswitch_mcast_frames", "Frames to listeners of a group.", value=stats.mcast_frames)
        yield CounterMetricFamily("vxswitch_mcast_copies", "Ports and VTEPs they went to.", value=stats.mcast_copies)
        yield CounterMetricFamily("vxswitch_mcast_refused", "Groups not kept: limit.", value=stats.groups_refused)
        yield CounterMetricFamily("vxswitch_mcast_malformed", "Bad IGMP and MLD.", value=stats.groups_malformed)
        yield CounterMetricFamily("vxswitch_absorbed_frames", "Meant for the switch itself.", value=stats.absorbed)
        yield CounterMetricFamily("vxswitch_originated_frames", "Made by the switch itself.", value=stats.originated)

    def _networks(self) -> Iterator[Metric]:
        tables = sorted(self._rooms.fdb.tables.values(), key=lambda table: table.name)
        yield _gauge("vxswitch_fdb_rows", "MACs known.", "network", {t.name: len(t.rows) for t in tables})
        yield _gauge("vxswitch_flood_vteps", "VTEPs flooded to.", "network", {t.name: len(t.flood) for t in tables})
        yield _gauge("vxswitch_suspended_vteps", "VTEPs left out.", "network", {t.name: t.suspended for t in tables})
        groups = {s.table.name: len(s.members) for s in self._rooms.groups.by_vni.values()}
        yield _gauge("vxswitch_mcast_groups", "Multicast groups with members here.", "network", groups)
        states = dict.fromkeys(("up", "pending", "conflict"), 0)
        for network in self._rooms.networks.by_name.values():
            states[network.state] += 1
        yield _gauge("vxswitch_networks", "Networks of this node.", "state", states)

    def _ports(self) -> Iterator[Metric]:
        ports = self._views.ports()
        for name in _PORT_COUNTERS:
            family = CounterMetricFamily(f"vxswitch_port_{name}", f"{name} of a port.", labels=("port", "network"))
            for port in ports:
                family.add_metric((port["id"], port["network"]), port[name])
            yield family
        up = GaugeMetricFamily("vxswitch_port_up", "1: frames pass, its link is up.", labels=("network", "port"))
        for port in ports:
            up.add_metric((port["network"], port["id"]), port["state"] == "up")
        yield up
        drops = CounterMetricFamily("vxswitch_port_drops", "Dropped at a port.", labels=("port", "network", "reason"))
        for port in ports:
            for reason, count in port["drops"].items():
                if count:
                    drops.add_metric((port["id"], port["network"], reason), count)
        yield drops

    def _peers(self) -> Iterator[Metric]:
        rtt = GaugeMetricFamily("vxswitch_probe_rtt_seconds", "Smoothed round trip to a VTEP.", labels=("node", "vtep"))
        loss = GaugeMetricFamily("vxswitch_probe_loss", "Share of the last 64 probes lost.", labels=("node", "vtep"))
        for peer, heard in self._rooms.prober.heard.items():
            names = (peer.node or "", str(peer.vtep))
            if heard.srtt is not None:
                rtt.add_metric(names, heard.srtt)
            if heard.loss is not None:
                loss.add_metric(names, heard.loss)
        yield from (rtt, loss)
        stats = self._rooms.plane.stats
        by_kind = {kind: getattr(stats, f"probes_{kind}") for kind in ("sent", "heard", "answered", "refused")}
        yield _counter("vxswitch_probes", "Probes sent, answers to them, and probes of others.", "kind", by_kind)

    def _store(self) -> Iterator[Metric]:
        status, counts = self._rooms.store.status(), self._rooms.store.counts
        states = {state: int(status.state == state) for state in ("up", "degraded", "down", "static")}
        yield _gauge("vxswitch_store_state", "1 for the store's state.", "state", states)
        if status.rtt_ms is not None:
            yield GaugeMetricFamily("vxswitch_store_rtt_seconds", "Last answer.", value=status.rtt_ms / 1e3)
        yield _counter("vxswitch_resyncs", "Tables read anew from the store.", "reason", counts.resyncs)
        yield _counter("vxswitch_store_errors", "Errors of the store.", "reason", counts.errors)
        yield CounterMetricFamily("vxswitch_store_poisoned", "Values that make no sense.", value=counts.poisoned)
        convergence = self._rooms.convergence
        text = "From the grant of a claim at its owner to the row in our table."
        yield HistogramMetricFamily(
            "vxswitch_convergence_seconds", text, buckets=convergence.buckets(), sum_value=convergence.total
        )
        announcer = self._rooms.announcer
        yield GaugeMetricFamily("vxswitch_claims_waiting", "MACs not announced yet.", value=announcer.backlog)
        yield GaugeMetricFamily("vxswitch_neighbours", "Addresses heard locally.", value=len(announcer.neighbours))
        yield CounterMetricFamily("vxswitch_macs_frozen", "Duplicates frozen.", value=self._rooms.reconciler.freezes)
        yield _counter("vxswitch_claims_refused", "Claims that were refused.", "reason", announcer.refused)


def _of_neighbours(stats: Stats) -> Iterator[Metric]:
    """Questions for neighbours and for unknown destinations, and the frames that they account for."""
    answered = {"arp": stats.arp_answered, "nd": stats.nd_answered}
    yield _counter("vxswitch_neighbours_answered", "Questions answered instead of flooded.", "protocol", answered)
    directed = {"arp": stats.arp_directed, "nd": stats.nd_directed}
    yield _counter("vxswitch_neighbours_directed", "Questions sent to one VTEP only.", "protocol", directed)
    yield CounterMetricFamily("vxswitch_learned_soft", "MACs that the underlay taught.", value=stats.learned_soft)
    yield CounterMetricFamily("vxswitch_asked", "Questions about unknown destinations.", value=stats.asked)
    yield CounterMetricFamily("vxswitch_absorbed", "Frames that ended in the switch itself.", value=stats.absorbed)
    yield CounterMetricFamily("vxswitch_originated", "Frames that the switch made.", value=stats.originated)
    yield GaugeMetricFamily("vxswitch_held", "Frames that wait for their destination.", value=stats.held)


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in values.items():
        family.add_metric((value,), count)
    return family


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value, count in values.items():
        family.add_metric((value,), count)
    return family
