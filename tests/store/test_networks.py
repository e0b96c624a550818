"""When two records of a network contradict each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vxswitch.errors import ConflictError, UsageError
from vxswitch.model import NetworkRecord
from vxswitch.store.networks import check_record, same_or_conflict, vni_in_use

BLUE = NetworkRecord("blue", 4096, ("10.1.0.0/24",), 1400)


def test_any_vni_will_do_for_who_asks_for_none() -> None:
    assert same_or_conflict(BLUE, replace(BLUE, vni=0)) is BLUE


@pytest.mark.parametrize(
    "change", [{"vni": 1}, {"mtu": None}, {"subnets": ()}, {"learning": "flood"}, {"unknown": "drop"}]
)
def test_a_difference_is_named(change: dict[str, object]) -> None:
    with pytest.raises(ConflictError, match=f"blue exists with {next(iter(change))} "):
        same_or_conflict(BLUE, replace(BLUE, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "record",
    [
        NetworkRecord("-", 1),
        NetworkRecord("blue", -1),
        NetworkRecord("blue", 2**24),
        NetworkRecord("blue", 1, ("10.0.0.1/24",)),
        NetworkRecord("blue", 1, mtu=67),
        NetworkRecord("blue", 1, mtu=65536),
    ],
)
def test_records_that_may_not_be_created(record: NetworkRecord) -> None:
    with pytest.raises(UsageError):
        check_record(record)


def test_who_has_the_vni_is_named() -> None:
    assert "VNI 4096 is in use by network red" in str(vni_in_use(BLUE, "red"))
