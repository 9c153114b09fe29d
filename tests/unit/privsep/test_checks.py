"""What may cross the privilege boundary, and that nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.privsep import checks
from beastack.privsep.checks import Refused

GOOD = [
    (checks.uuid, "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"),
    (checks.interface_name, "tap6f1a4f2e-0c"),
    (checks.bridge_name, "brq6f1a4f2e-0c"),
    (checks.jail_name, "qdhcp-6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"),
    (checks.table_name, "bs4_0123456789ab"),
    (checks.mac, "fa:16:3e:11:22:33"),
    (checks.ip, "10.0.0.1"),
    (checks.ip, "2001:db8::1"),
    (checks.cidr, "10.0.0.1/24"),
    (checks.network, "10.0.0.0/24"),
    (checks.description, "beastack:port:6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"),
    (checks.host_name, "host-10-0-0-1.openstacklocal"),
    (checks.port_number, 67),
    (checks.mtu, 1450),
]
BAD = [
    (checks.uuid, "6F1A4F2E-0C34-4C55-9D1B-0F7A8D7F2F11"),
    (checks.uuid, "../../etc"),
    (checks.uuid, ""),
    (checks.interface_name, "tap0"),
    (checks.interface_name, "tap6f1a4f2e-0c\n"),
    (checks.interface_name, "-a"),
    (checks.interface_name, None),
    (checks.bridge_name, "brq6f1a4f2e-0c/"),
    (checks.jail_name, "qdhcp-x"),
    (checks.mac, "01:00:5e:00:00:01"),
    (checks.mac, "ff:ff:ff:ff:ff:ff"),
    (checks.mac, "00:00:00:00:00:00"),
    (checks.ip, "10.0.0.1/24"),
    (checks.ip, "fe80::1%em0"),
    (checks.ip, 7),
    (checks.cidr, "10.0.0.1"),
    (checks.cidr, "10.0.0.1/255.255.255.0"),
    (checks.network, "10.0.0.1/24"),
    (checks.description, "other:port:1"),
    (checks.host_name, "a b"),
    (checks.port_number, True),
    (checks.port_number, 0),
    (checks.mtu, "1500"),
]


@pytest.mark.parametrize(("check", "value"), GOOD)
def test_what_we_make_passes_unchanged(check, value) -> None:  # type: ignore[no-untyped-def]
    assert check(value) == value


@pytest.mark.parametrize(("check", "value"), BAD)
def test_the_rest_is_refused(check, value) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Refused):
        check(value)


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text()), st.binary())


@given(VALUES)
def test_any_value_is_returned_as_it_is_or_refused(value: object) -> None:
    for check in {c for c, _ in GOOD}:
        try:
            assert check(value) is not None  # type: ignore[operator]
        except Refused:
            continue


@given(st.text())
def test_no_name_that_passes_can_be_an_option_or_a_path(text: str) -> None:
    for check in (checks.interface_name, checks.bridge_name, checks.jail_name, checks.table_name):
        try:
            passed = check(text)
        except Refused:
            continue
        assert not passed.startswith("-")
        assert "/" not in passed
        assert " " not in passed


def test_only_configured_cards() -> None:
    assert checks.nic_name("em0", ["em0"]) == "em0"
    with pytest.raises(Refused, match="not among those allowed"):
        checks.nic_name("em1", ["em0"])


def test_lists_are_bounded() -> None:
    assert checks.items(["a"], 1, "names") == ["a"]
    for bad in (["a", "b"], "ab", {"a": 1}, None):
        with pytest.raises(Refused):
            checks.items(bad, 1, "names")
