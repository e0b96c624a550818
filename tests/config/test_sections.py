from __future__ import annotations

from pathlib import Path

import pytest

from vxswitch.config.convert import keys_of
from vxswitch.config.sections import Network, Node, Section, Store
from vxswitch.model import NetworkRecord, Vtep


def test_every_section_is_frozen_and_refuses_unknown_fields():
    sections = Section.__subclasses__()
    assert len(sections) == 12
    for section in sections:
        assert section.__struct_config__.frozen and section.__struct_config__.forbid_unknown_fields
        assert keys_of(section)


def test_attach_sock_stands_beside_the_control_socket():
    assert Node(name="n", state_dir=Path("/d"), socket=Path("/x/s")).attach_socket == Path("/x/attach.sock")


@pytest.mark.parametrize(
    ("url", "password", "shown"),
    [
        ("redis://h/0", "pw", "redis://:***@h/0"),
        ("redis://u@h/0", "pw", "redis://u:***@h/0"),
        ("unix://u@/s", "pw", "unix://u:***@/s"),
        ("redis://h", None, "redis://h"),
        ("embedded:", "pw", "embedded:"),
    ],
)
def test_the_password_never_shows(url, password, shown):
    store = Store(url=url, password=password)
    assert store.shown_url == shown
    assert "pw" not in repr(store) and shown in repr(store)
    assert store.scheme == url.partition(":")[0]


def test_the_record_for_the_store():
    policy = {"learning": "control", "unknown": "drop", "antispoof": "off", "vlan": "carry"}
    blue = Network(name="blue", vni=7, subnets=("10.1.0.0/24",), mtu=1400, peers=(Vtep("10.0.0.2"),), **policy)
    assert blue.record() == NetworkRecord("blue", 7, ("10.1.0.0/24",), 1400, "control", "drop", "off")
    assert Network(name="red", mtu=None, **policy).record().vni == 0
