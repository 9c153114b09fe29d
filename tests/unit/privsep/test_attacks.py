"""What a compromised service might try with well-formed arguments: each is refused and changes nothing."""

from collections.abc import Iterator, Sequence

import pytest
from oslo_config import cfg

from beastack.freebsd.errors import NoSuchInterface, NotOurs
from beastack.freebsd.host import Completed
from beastack.privsep import checks, conf, context, interfaces, jail_ports, jails

NETWORK = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
OTHER = "aaaaaaaa-0c34-4c55-9d1b-0f7a8d7f2f11"
PORT = "bbbbbbbb-0c34-4c55-9d1b-0f7a8d7f2f11"
BRIDGE, TAP = f"brq{NETWORK[:11]}", f"tap{PORT[:11]}"
READS = (["ifconfig"], ["jls", "--libxo", "json", "-n"])


class FakeHost:
    """ifconfig(8) and jls(8) over a table of interfaces: name -> (groups, members)."""

    def __init__(self) -> None:
        self.table: dict[str, tuple[str, list[str]]] = {"em0": ("", []), "vtnet0": ("", [])}
        self.jails: list[str] = []
        self.changes: list[list[str]] = []

    def show(self, name: str) -> str:
        groups, members = self.table[name]
        lines = [f"{name}: flags=8843<UP,BROADCAST,RUNNING> metric 0 mtu 1500", f"\tgroups: {groups}"]
        return "\n".join([*lines, *(f"\tmember: {m} flags=143<LEARNING>" for m in members)]) + "\n"

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20, check: bool = True
    ) -> Completed:
        words = list(argv)
        if words[0] == "jls":
            rows = ",".join(f'{{"jid":1,"name":"{j}","host.hostname":"h","vnet":"new"}}' for j in self.jails)
            return Completed(tuple(words), 0, f'{{"jail-information":{{"jail":[{rows}]}}}}', "")
        if words[0] == "ifconfig" and len(words) == 2:
            if words[1] not in self.table:
                raise NoSuchInterface(words, 1, "", f"ifconfig: interface {words[1]} does not exist")
            return Completed(tuple(words), 0, self.show(words[1]), "")
        self.changes.append(words)
        return Completed(tuple(words), 0, "", "")

    def jail(self, name: str) -> "FakeHost":
        return FakeHost()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    fake = FakeHost()
    fake.table |= {BRIDGE: ("bridge beastack", []), TAP: ("tap beastack", [])}
    monkeypatch.setattr(interfaces, "HOST", fake)
    monkeypatch.setattr(jails, "HOST", fake)
    monkeypatch.setattr(jail_ports, "HOST", fake)
    was = context.default.client_mode
    context.default.set_client_mode(False)
    cfg.CONF([], project="test")
    conf.register(cfg.CONF)
    cfg.CONF.set_override("physical_interfaces", ["em0"], "beastack")
    yield fake
    cfg.CONF.clear_override("physical_interfaces", "beastack")
    context.default.set_client_mode(was)


def test_the_plain_ways_work(host: FakeHost) -> None:
    interfaces.attach_member(BRIDGE, TAP)
    interfaces.attach_member(BRIDGE, "em0")
    interfaces.destroy_interface(TAP)
    assert [words[1:3] for words in host.changes] == [
        [BRIDGE, "addm"],
        [BRIDGE, "addm"],
        [TAP, "destroy"],
    ]


def test_the_management_card_joins_no_bridge(host: FakeHost) -> None:
    for name in ("vtnet0", "lo0", "bridge0", "em0 up", "-a"):
        with pytest.raises(checks.Refused):
            interfaces.attach_member(BRIDGE, name)
    assert host.changes == []


def test_a_tied_card_joins_no_other_network(host: FakeHost) -> None:
    cfg.CONF.set_override("physical_interfaces", [f"em0={OTHER}"], "beastack")
    with pytest.raises(checks.Refused, match="tied to network"):
        interfaces.attach_member(BRIDGE, "em0")
    assert host.changes == []
    cfg.CONF.set_override("physical_interfaces", [f"em0={NETWORK}"], "beastack")
    interfaces.attach_member(BRIDGE, "em0")
    assert host.changes[0] == ["ifconfig", BRIDGE, "addm", "em0"]


def test_a_card_is_not_taken_from_a_network_in_use(host: FakeHost) -> None:
    host.table[BRIDGE] = ("bridge beastack", ["em0", TAP])
    with pytest.raises(checks.Refused):
        interfaces.detach_member(BRIDGE, "em0")
    with pytest.raises(checks.Refused, match="has ports"):
        interfaces.destroy_bridge(BRIDGE)
    assert host.changes == []


def test_what_carries_our_name_but_not_our_mark_is_left_alone(host: FakeHost) -> None:
    host.table |= {BRIDGE: ("bridge", []), TAP: ("tap", [])}
    calls = [
        lambda: interfaces.attach_member(BRIDGE, TAP),
        lambda: interfaces.detach_member(BRIDGE, TAP),
        lambda: interfaces.destroy_bridge(BRIDGE),
        lambda: interfaces.destroy_interface(TAP),
        lambda: interfaces.set_up(TAP),
        lambda: interfaces.set_mtu(TAP, 9000),
    ]
    for call in calls:
        with pytest.raises(NotOurs):
            call()
    host.table[BRIDGE] = ("bridge beastack", [])
    with pytest.raises(NotOurs):
        interfaces.attach_member(BRIDGE, TAP)
    assert host.changes == []


def test_a_port_is_not_described_as_another(host: FakeHost) -> None:
    for name, text in ((TAP, f"beastack:port:{OTHER}"), (TAP, f"beastack:network:{PORT}"), (TAP, "beastack:port:x")):
        with pytest.raises(checks.Refused):
            interfaces.ensure_tap(name, text, 1500)
    assert host.changes == []


def test_the_dhcp_agent_does_not_take_a_guests_port(host: FakeHost) -> None:
    """Else the guest's traffic would come to an epair of a jail that the agent commands."""
    with pytest.raises(checks.Refused, match="no epair"):
        jails.remove_jail_port(NETWORK, PORT)
    with pytest.raises(checks.Refused, match="no epair"):
        jail_ports.make_pair(f"qdhcp-{NETWORK}", TAP, f"ns-{PORT[:11]}", PORT)
    assert host.changes == []
    host.table[TAP] = ("epair beastack", [])
    jails.remove_jail_port(NETWORK, PORT)
    assert host.changes == [["ifconfig", TAP, "destroy"]]


def test_jails_are_not_made_without_end(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jails, "MOST_JAILS", 1)
    host.jails = [f"qdhcp-{OTHER}"]
    with pytest.raises(checks.Refused, match="there are 1 already"):
        jails.ensure_dhcp_jail(NETWORK)
    assert host.changes == []
