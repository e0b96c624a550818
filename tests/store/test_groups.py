"""Groups as text: one way to write each set, differences that follow, and nothing else is accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vxswitch.errors import UsageError
from vxswitch.store.codec import Poisoned, digest_of
from vxswitch.store.groups import (
    GROUPS_BYTES,
    MAX_GROUPS,
    NONE,
    canonical_groups,
    decode_groups,
    encode_groups,
    groups_after,
    groups_digest,
)

addresses = st.one_of(
    st.ip_addresses(network="224.0.0.0/4"), st.ip_addresses(network="ff00::/8"), st.sampled_from(["0.0.0.0", "::"])
).map(str)
groups = st.frozensets(addresses, max_size=8)


@given(groups.filter(bool))
def test_groups_come_back_the_same(some: frozenset[str]) -> None:
    text = encode_groups(some).encode()
    assert decode_groups(text) == some
    assert groups_digest("n", some) == digest_of(b"gn " + text)
    assert groups_digest("n", NONE) == 0


@given(groups, groups)
def test_a_difference_leads_from_one_set_to_the_other(before: frozenset[str], after: frozenset[str]) -> None:
    words = [f"+{group}" for group in after - before] + [f"-{group}" for group in before - after]
    if words:
        assert groups_after(before, ",".join(words).encode()) == after


@given(st.binary(max_size=100))
def test_any_bytes_are_groups_or_poisoned(value: bytes) -> None:
    for decode in (decode_groups, lambda v: groups_after(frozenset({"239.0.0.1"}), v)):
        try:
            assert all(canonical_groups([group]) == {group} for group in decode(value))
        except Poisoned:
            continue


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1", "239.0.0.2,239.0.0.1", "239.0.0.1,", "FF02::1", "ff02::1%1", "239.0.0.1 "]
)
def test_text_that_nobody_wrote(text: str) -> None:
    with pytest.raises(Poisoned):
        decode_groups(text.encode())


@pytest.mark.parametrize("changes", ["", "239.0.0.2", "+239.0.0.1", "-239.0.0.2", "+10.0.0.1", "+x", "+239.0.0.2,"])
def test_changes_that_do_not_follow(changes: str) -> None:
    with pytest.raises(Poisoned):
        groups_after(frozenset({"239.0.0.1"}), changes.encode())


def test_the_largest_set_fits() -> None:
    most = frozenset(f"ffff:ffff:ffff:ffff:ffff:ffff:ffff:{n:x}" for n in range(0x1000, 0x1000 + MAX_GROUPS))
    assert len(encode_groups(most)) <= GROUPS_BYTES
    assert decode_groups(encode_groups(canonical_groups(most)).encode()) == most
    everything = [f"+{group}" for group in most]
    assert groups_after(NONE, ",".join(everything).encode()) == most
    with pytest.raises(UsageError):
        canonical_groups(most | {"239.0.0.1"})
