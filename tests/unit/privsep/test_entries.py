"""Every entry point, listed: arguments of plain types, and refused before anything is run when they are not ours."""

import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Sequence

import pytest
from oslo_config import cfg

import beastack.privsep
from beastack.freebsd.bpf_guard import BadGuard
from beastack.freebsd.host import Completed, LocalHost
from beastack.freebsd.pf_rules import BadRule
from beastack.privsep import audit, checks, context

# Modules that are no entry points' homes.
for found in pkgutil.iter_modules(beastack.privsep.__path__):
    if found.name != "helper":
        importlib.import_module(f"beastack.privsep.{found.name}")

ENTRIES = sorted(context.entries.items())
PLAIN = {str, int, bool, bytes, type(None)}
HOSTILE = ["../../etc/passwd", "-j", "x; reboot", "", "a\nb", None, -1, {"a": "b"}, ["-F", "all"]]


def plain(annotation: object) -> bool:
    """Whether a type is made of what msgpack carries and a check can look at."""
    origin = typing.get_origin(annotation)
    if origin in (list, dict, types.UnionType, typing.Union):
        return all(plain(a) for a in typing.get_args(annotation))
    return annotation in PLAIN or annotation is object


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    ran: list[Sequence[str]] = []

    def run(self: LocalHost, argv: Sequence[str], **kw: object) -> Completed:
        ran.append(argv)
        return Completed(tuple(argv), 0, "", "")

    monkeypatch.setattr(LocalHost, "run", run)
    cfg.CONF([], project="test")
    return ran


# The whole boundary, to be changed by hand: an entry that is added without being listed here fails the test below, and
# is then met by the tests of its form and of each argument (here and in test_each_argument).
LISTED = {
    "dhcp": {
        *("start_dnsmasq", "reload_dnsmasq", "stop_dnsmasq", "dnsmasq_pid", "dnsmasq_leases"),
        *("start_metadata_proxy", "stop_metadata_proxy", "metadata_proxy_pid"),
    },
    "guard": {"set_guard", "clear_guard", "list_guards"},
    "guests": {
        *("prepare_host", "start_guest", "stop_guest", "mend_guest", "reset_guest", "forget_guest", "guest_state"),
        *("pause_guest", "resume_guest", "guest_counters"),
    },
    "interfaces": {
        *("ensure_bridge", "destroy_bridge", "attach_member", "detach_member"),
        *("ensure_tap", "destroy_interface", "set_mtu", "set_up", "set_bridge_mtu"),
    },
    "held_taps": {"ensure_holding_bridge", "adopt_tap", "drop_held_tap"},
    "lines": {"start_line", "stop_line"},
    "iscsi": {"attach_volume", "detach_volume"},
    "jails": {
        *("ensure_dhcp_jail", "remove_dhcp_jail", "list_dhcp_jails", "ensure_jail_port", "remove_jail_port"),
        *("list_jail_ports", "set_jail_addresses", "set_jail_default_route"),
    },
    "ovs": {"ovs_prepare", "ovs_keep_closed", "ovs_plug", "ovs_unplug", "ovs_flows", "ovs_end_states"},
    "rates": {"set_rate", "clear_rate", "list_rates"},
    "routers": {
        *("ensure_router_jail", "remove_router_jail", "list_router_ports", "ensure_router_port"),
        *("remove_router_port", "set_router_addresses", "set_router_routes", "load_router_rules"),
    },
    "router_daemons": {
        *("start_router_proxy", "stop_router_proxy", "router_proxy_pid"),
        *("start_advertiser", "stop_advertiser", "advertiser_pid"),
    },
    "pf": {
        *("prepare_host", "load_port_rules", "unload_port", "replace_table", "drop_table", "list_tables"),
        *("kill_states", "change_table", "end_member_states", "list_ports"),
    },
    "volumes": {
        *("prepare_volumes", "volume_space", "list_volumes", "begin_image", "write_image", "finish_image"),
        *("remove_image", "make_guest_volume", "grow_guest_volume", "remove_guest_volume", "remove_guest_volumes"),
        *("keep_guest_volumes", "restore_guest_volumes", "forget_guest_volumes", "freeze_guest_volume"),
        *("read_frozen_volume", "thaw_guest_volume", "write_guest_volume", "guest_volumes", "image_volume"),
    },
    "uplinks": {"ensure_vlan", "ensure_vxlan", "open_uplink", "destroy_uplink", "change_entries"},
}
COMMANDS = {"argv", "args", "arguments", "command", "cmd", "path", "file", "folder", "program", "options", "script"}


def test_every_entry_is_listed() -> None:
    listed = {f"beastack.privsep.{module}.{name}" for module, names in LISTED.items() for name in names}
    assert set(context.entries) == listed
    assert context.queries <= listed


def form(name: str, function: Callable[..., object]) -> None:
    """Raises AssertionError for an entry that takes what no entry may take."""
    hints = typing.get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD, f"{name}({parameter.name})"
        assert plain(hints[parameter.name]), f"{name}({parameter.name}: {hints[parameter.name]})"
        assert not set(parameter.name.split("_")) & COMMANDS, f"{name}({parameter.name}): a path or a command"
        assert not audit.is_secret(parameter.name), f"{name}({parameter.name}): secrets do not cross"
    assert function.__doc__, f"{name} says nothing of itself"


def refuses(name: str, function: Callable[..., object], hostile: object, ran: list[Sequence[str]]) -> None:
    """Raises AssertionError unless the entry refuses the value for every argument and runs nothing."""
    try:
        function(*[hostile] * len(inspect.signature(function).parameters))
    except (checks.Refused, BadRule, BadGuard):
        assert ran == []
    else:
        raise AssertionError(f"{name} took {hostile!r}")


@pytest.mark.parametrize(("name", "function"), ENTRIES)
def test_arguments_are_plain_and_no_command_line(name: str, function: Callable[..., object]) -> None:
    form(name, function)


@pytest.mark.parametrize(("name", "function"), [(n, f) for n, f in ENTRIES if inspect.signature(f).parameters])
@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
def test_hostile_arguments_run_nothing(
    name: str, function: Callable[..., object], hostile: object, nothing_runs: list[Sequence[str]]
) -> None:
    refuses(name, function, hostile, nothing_runs)


def takes_a_command(argv: list[str]) -> None:
    """Runs it."""


def takes_anything(name: typing.Any) -> None:
    """Takes it."""


def takes_a_secret(api_key: str) -> None:
    """Takes it."""


def takes_more(*names: str) -> None:
    """Takes them."""


def says_nothing(name: str) -> None:
    raise AssertionError(name)


def runs_unchecked(name: str) -> None:
    """Destroy it."""
    LocalHost().run(["ifconfig", name, "destroy"])


@pytest.mark.parametrize("function", [takes_a_command, takes_anything, takes_a_secret, takes_more, says_nothing])
def test_these_tests_see_a_wrong_form(function: Callable[..., object]) -> None:
    with pytest.raises(AssertionError):
        form(function.__name__, function)


@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
def test_these_tests_see_a_missing_check(hostile: object, nothing_runs: list[Sequence[str]]) -> None:
    with pytest.raises(AssertionError):
        refuses("runs_unchecked", runs_unchecked, hostile, nothing_runs)


def test_a_new_entry_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(context.entries, "beastack.privsep.interfaces.runs_unchecked", runs_unchecked)
    with pytest.raises(AssertionError):
        test_every_entry_is_listed()
