"""Which of a tenant's DHCP options are written."""

import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.neutron.dhcp import options


def option(name: Any, value: Any) -> Any:
    return types.SimpleNamespace(opt_name=name, opt_value=value, ip_version=4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bootfile-name", "pxelinux.0"),
        ("tag:!ipxe,bootfile-name", "http://192.0.2.1/x?a=b,c"),
        ("tag:!ipxe,tag:efi,67", "x"),
        ("150", "192.0.2.1"),
        ("router", ""),
        ("router", None),
        ("client-id", "ff:00:11"),
        ("domain-name", "bücher.example"),
    ],
)
def test_plain_ones_are(name: str, value: str | None) -> None:
    assert options.unsound(name, value) is None


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("router", "10.0.0.1\ntag:x,option:dns-server,192.0.2.66", "control"),
        ("bootfile-name", "a\rb", "control"),
        ("bootfile-name", "a\0b", "control"),
        ("bootfile-name", "a\x1b[2J", "control"),
        ("bootfile-name", "x" * 1025, "longer"),
        ("bootfile-name\n", "x", "name"),
        ("a b", "x", "name"),
        ("", "x", "name"),
        ("client-id", "ff:00,set:port-other", "one field"),
        ("61", "ff:00,set:port-other", "one field"),
        ("mtu", 1400, "no text"),
    ],
)
def test_others_are_not(name: str, value: Any, why: str) -> None:
    assert why in (options.unsound(name, value) or "")


@given(st.text(), st.text())
def test_what_is_written_is_one_printable_line(name: str, value: str) -> None:
    if options.unsound(name, value) is None:
        assert f"{name},{value}".isprintable()


def test_the_port_keeps_its_other_options(caplog: pytest.LogCaptureFixture) -> None:
    port = types.SimpleNamespace(id="p", extra_dhcp_opts=[option("router", "a\nb"), option("mtu", "1400")])
    bare = types.SimpleNamespace(id="q")
    options.keep_sound([port, bare])
    assert [o.opt_name for o in port.extra_dhcp_opts] == ["mtu"]
    assert "Port p: DHCP option 'router' is left out" in caplog.text
