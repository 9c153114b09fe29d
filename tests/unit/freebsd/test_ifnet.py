"""Making and removing interfaces: idempotent, marked, and leaving nothing behind when it fails."""

import pytest
from tests.unit.transcripts import FakeHost

from beastack.freebsd import ifnet
from beastack.freebsd.errors import DeviceBusy, InterfaceExists, NotOurs

HEAD = "{0}: flags=8802<{1}BROADCAST> metric 0 mtu 1500\n"
GONE = ("ifconfig: interface {0} does not exist\n", 1)


def shown(name: str, groups: str, up: bool = True, description: str = "") -> str:
    text = HEAD.format(name, "UP," if up else "")
    if description:
        text += f"\tdescription: {description}\n"
    return text + f"\tgroups: {groups}\n"


def gone(name: str) -> tuple[str, int]:
    return (f"ifconfig: interface {name} does not exist\n", 1)


class Growing(FakeHost):
    """A host on which ``name`` exists once it was named."""

    def __init__(self, name: str, kind: str, answers: dict[str, str | tuple[str, int]]) -> None:
        super().__init__(answers)
        self.name, self.kind = name, kind

    def run(self, argv, **kw):  # type: ignore[no-untyped-def]
        if list(argv[-2:]) == ["name", self.name]:
            self.answers[f"ifconfig {self.name}"] = shown(self.name, f"{self.kind} beastack", up=False)
        return super().run(argv, **kw)


def test_a_new_bridge_is_marked_before_it_is_named() -> None:
    host = Growing(
        "brq1",
        "bridge",
        {
            "ifconfig brq1": gone("brq1"),
            "ifconfig bridge create group beastack": "bridge0\n",
            "ifconfig bridge0 name brq1": "brq1\n",
            "ifconfig brq1 description beastack:network:1": "",
            "ifconfig brq1 up": "",
        },
    )
    ifnet.ensure_bridge(host, "brq1", "beastack:network:1")
    assert host.ran.index("ifconfig bridge create group beastack") < host.ran.index("ifconfig bridge0 name brq1")
    assert host.ran[-1] == "ifconfig brq1 up"


def test_what_is_there_is_left_as_it_is() -> None:
    host = FakeHost({"ifconfig brq1": shown("brq1", "bridge beastack", description="beastack:network:1")})
    ifnet.ensure_bridge(host, "brq1", "beastack:network:1")
    assert host.ran == ["ifconfig brq1"]


def test_a_failed_rename_leaves_nothing_behind() -> None:
    host = FakeHost(
        {
            "ifconfig tap1": gone("tap1"),
            "ifconfig tap create description beastack:port:1 group beastack": "tap0\n",
            "ifconfig tap0 name tap1": ("ifconfig: ioctl SIOCSIFNAME (set name): File exists\n", 1),
            "ifconfig tap0 destroy": "",
        }
    )
    with pytest.raises(InterfaceExists):
        ifnet.ensure_tap(host, "tap1", "beastack:port:1", 1500)
    assert host.ran[-1] == "ifconfig tap0 destroy"


def test_what_is_not_ours_is_neither_used_nor_destroyed() -> None:
    host = FakeHost({"ifconfig tap1": shown("tap1", "tap")})
    with pytest.raises(NotOurs):
        ifnet.destroy(host, "tap1")
    with pytest.raises(NotOurs):
        ifnet.ensure_tap(host, "tap1", "beastack:port:1", 1500)
    assert set(host.ran) == {"ifconfig tap1"}


def test_destroying_what_is_gone_is_done() -> None:
    host = FakeHost({"ifconfig tap1": gone("tap1")})
    ifnet.destroy(host, "tap1")
    assert host.ran == ["ifconfig tap1"]


def test_members_twice_is_once_and_elsewhere_is_busy() -> None:
    add = "ifconfig brq1 addm tap1"
    ifnet.attach_member(
        FakeHost({add: ("ifconfig: BRDGADD tap1: File exists (Interface is already a member of this bridge)", 1)}),
        "brq1",
        "tap1",
    )
    busy = "ifconfig: BRDGADD tap1: Device busy (Interface is already a member of another bridge)"
    with pytest.raises(DeviceBusy):
        ifnet.attach_member(FakeHost({add: (busy, 1)}), "brq1", "tap1")
    missing = "ifconfig: BRDGDEL tap1: No such file or directory (Interface is not a bridge member)"
    ifnet.detach_member(FakeHost({"ifconfig brq1 deletem tap1": (missing, 1)}), "brq1", "tap1")


def test_a_new_epair_tells_its_other_half_and_an_old_one_does_not() -> None:
    host = FakeHost(
        {
            "ifconfig tap1": gone("tap1"),
            "ifconfig epair create group beastack": "epair3a\n",
            "ifconfig epair3a description beastack:port:1": "",
            "ifconfig epair3a name tap1": "tap1\n",
        }
    )
    assert ifnet.ensure_epair(host, "tap1", "beastack:port:1") == "epair3b"
    host.answers["ifconfig tap1"] = shown("tap1", "epair beastack", description="beastack:port:1")
    assert ifnet.ensure_epair(host, "tap1", "beastack:port:1") is None


def test_only_present_addresses_are_removed() -> None:
    text = shown("ns-1", "epair") + "\tinet 10.0.0.2 netmask 0xffffff00 broadcast 10.0.0.255\n"
    host = FakeHost({"ifconfig ns-1": text, "ifconfig ns-1 inet 10.0.0.2 -alias": ""})
    ifnet.remove_address(host, "ns-1", "10.0.0.2/24")
    ifnet.remove_address(host, "ns-1", "10.0.0.3/24")
    assert host.ran.count("ifconfig ns-1 inet 10.0.0.2 -alias") == 1


def test_offloads_are_turned_off_at_once() -> None:
    host = FakeHost({"ifconfig tap1 -txcsum -txcsum6": ""})
    ifnet.turn_off(host, "tap1", "txcsum", "txcsum6")
    assert host.ran == ["ifconfig tap1 -txcsum -txcsum6"]
