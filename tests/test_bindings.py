from __future__ import annotations

import ipaddress
import random

from vxswitch.bindings import Bindings, pack, unpack

A, B = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"
ONE, TWO, SIX = pack(("10.0.0.1", "10.0.0.2", "fd00::1"))


def test_an_address_is_its_macs_until_another_mac_has_it_too() -> None:
    bindings = Bindings()
    assert bindings.bind(A, (ONE, SIX)) and not bindings.bind(A, (ONE, SIX))
    assert (bindings.mac_of(ONE), bindings.mac_of(SIX), bindings.mac_of(TWO)) == (A, A, None)
    bindings.bind(B, (ONE, TWO))
    assert (bindings.mac_of(ONE), bindings.mac_of(TWO)) == (None, B)
    bindings.bind(A, (SIX,))
    assert (bindings.mac_of(ONE), bindings.of(A), bindings.of(B)) == (B, (SIX,), (ONE, TWO))
    bindings.bind(B, ())
    assert bindings.mac_of(ONE) is None and bindings.of(B) == ()


def test_it_says_what_a_scan_of_all_macs_would_say() -> None:
    bindings, chance, truth = Bindings(), random.Random(3), {}
    macs = [bytes((2, 0, 0, 0, 0, n)) for n in range(6)]
    addresses = [bytes((10, 0, 0, n)) for n in range(8)]
    for _ in range(2000):
        mac = chance.choice(macs)
        truth[mac] = tuple(chance.sample(addresses, chance.randrange(4)))
        bindings.bind(mac, truth[mac])
        address = chance.choice(addresses)
        having = [mac for mac, has in truth.items() if address in has]
        assert bindings.mac_of(address) == (having[0] if len(having) == 1 else None)
    for mac in macs:
        bindings.bind(mac, ())
    assert (bindings._macs, bindings._addresses) == ({}, {}), "nothing is left behind"


def test_text_and_bytes() -> None:
    assert pack(("10.0.0.1", "nonsense", "fd00::0:1", "", "10.0.0.1/24", "::ffff")) == (
        ONE,
        SIX,
        ipaddress.IPv6Address("::ffff").packed,
    )
    assert [unpack(address) for address in (ONE, SIX)] == ["10.0.0.1", "fd00::1"]
