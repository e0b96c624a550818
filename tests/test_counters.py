"""Names and sentences of all drops, and the arithmetic of counts."""

from __future__ import annotations

from vxswitch.counters import ALIVE, EXPLAIN, N_REASONS, Counts, Drop, Stats

# interfaces.md, "JSON": at least these, by these names.
PROMISED = """
    runt_frame short_datagram bad_vnet_hdr unsupported_gso oversize no_i_flag reserved_bits unknown_vni
    unknown_vtep wrong_owner bad_source own_mac spoofed_source vlan_policy reserved_group ecn_not_ect
    split_horizon hairpin unknown_unicast no_flood_peers storm rate suspended no_vtep_address underlay_busy
    underlay_mtu underlay_error underlay_overflow bad_outer_checksum rx_fragment stray_datagram port_busy
    port_down port_gone replay auth unknown_spi plaintext no_session
"""


def test_every_promised_reason_is_there_by_its_name() -> None:
    assert set(PROMISED.split()) <= {drop.label for drop in Drop}


def test_no_reason_is_the_verdict_alive_and_every_one_has_its_sentence() -> None:
    assert ALIVE not in set(Drop)
    assert set(EXPLAIN) == set(Drop)
    assert all(text and not text.endswith(".") for text in EXPLAIN.values())
    assert len(set(EXPLAIN.values())) == len(Drop)


def test_counts_by_name_with_every_reason_present() -> None:
    counts = Counts()
    counts.by_reason[Drop.STORM] += 3
    shown = counts.as_dict()
    assert shown["storm"] == 3 and len(shown) == len(Drop) == N_REASONS - 1
    assert counts.as_dict(zeros=False) == {"storm": 3}


def test_counts_of_a_port_that_goes_are_added_to_the_switch() -> None:
    one, other = Counts(), Counts()
    one.by_reason[Drop.RATE], other.by_reason[Drop.RATE], other.by_reason[Drop.AUTH] = 1, 2, 5
    one.add(other)
    assert (one.as_dict(zeros=False), one.total()) == ({"rate": 3, "auth": 5}, 8)
    assert other.total() == 7


def test_stats_by_name() -> None:
    stats = Stats()
    stats.copies = 4
    assert stats.as_dict() == dict.fromkeys(Stats.__slots__, 0) | {"copies": 4}
