"""vlan, gif and vxlan by the words of 02 and 07, and the ioctl by the sizes that 07 printed."""

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.freebsd.recorded import everything
from tests.unit.transcripts import FakeHost

from beastack.freebsd import gif, vlan, vxlan, vxlan_ioctl
from beastack.freebsd.clone import Differs
from beastack.freebsd.errors import BadArgument, HostError, InterfaceExists, NoSuchInterface, NotOurs
from beastack.freebsd.ifnet_lines import Vxlan

MAC = "fa:16:3e:00:01:02"
RUNNING = "1008843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST,LOWER_UP>"
Answer = str | tuple[str, int]
GONE = ("ifconfig: interface x-1 does not exist\n", 1)


def shown(line: str, flags: str = RUNNING, mtu: int = 1500, groups: str = "vlan beastack") -> str:
    head = f"x-1: flags={flags} metric 0 mtu {mtu}\n\tdescription: d\n\tgroups: {groups}\n"
    return f"{head}{line}\n" if line else head


class Host(FakeHost):
    """`x-1` shows what ``now`` says once it was named; before that it is not there."""

    def __init__(self, now: str, answers: dict[str, Answer], then: dict[str, Answer] | None = None) -> None:
        super().__init__({"ifconfig x-1": GONE, **answers})
        self.now, self.then = now, then or {}

    def run(self, argv, **kw):  # type: ignore[no-untyped-def]
        done = super().run(argv, **kw)
        command = " ".join(argv)
        if command.endswith(" name x-1"):
            self.answers["ifconfig x-1"] = self.now
        elif command in self.then:
            self.answers["ifconfig x-1"] = self.then[command]
        return done


VLAN = "\tvlan: 100 vlanproto: 802.1q vlanpcp: 0 parent interface: em0"
MAKE_VLAN = "ifconfig vlan create vlan 100 vlandev em0 group beastack"


def test_a_vlan_is_made_once() -> None:
    host = Host(shown(VLAN), {MAKE_VLAN: "vlan0\n", "ifconfig vlan0 name x-1": "x-1\n"})
    vlan.ensure_vlan(host, "x-1", "em0", 100, "d")
    assert host.ran.count(MAKE_VLAN) == 1
    vlan.ensure_vlan(host, "x-1", "em0", 100, "d")
    assert host.ran.count(MAKE_VLAN) == 1


def test_a_vlan_whose_parent_went_is_made_again() -> None:
    orphan = shown("\tvlan: 0 vlanproto: 802.1q vlanpcp: 0 parent interface: <none>")
    answers: dict[str, Answer] = {
        MAKE_VLAN: "vlan0\n", "ifconfig vlan0 name x-1": "x-1\n", "ifconfig x-1 destroy": "", "ifconfig x-1": orphan,
    }  # fmt: skip
    host = Host(shown(VLAN), answers, {"ifconfig x-1 destroy": GONE})
    vlan.ensure_vlan(host, "x-1", "em0", 100, "d")
    assert host.ran[:2] == ["ifconfig x-1", "ifconfig x-1 destroy"]
    assert host.ran[-1] == "ifconfig x-1"
    foreign = FakeHost({"ifconfig x-1": orphan.replace(" beastack", "")})
    with pytest.raises(NotOurs):
        vlan.ensure_vlan(foreign, "x-1", "em0", 100, "d")


def test_vlans_that_cannot_be() -> None:
    for tag in (0, 4095, 5000):
        with pytest.raises(ValueError, match="VLAN"):
            vlan.ensure_vlan(FakeHost({}), "x-1", "em0", tag, "d")
    words = {s.command: s for s in everything() if s.rc and "vlan create" in s.command}
    missing = words["ifconfig vlan create vlan 7 vlandev nosuch0"]
    host = Host("", {"ifconfig vlan create vlan 7 vlandev nosuch0 group beastack": (missing.output, 1)})
    with pytest.raises(NoSuchInterface):
        vlan.ensure_vlan(host, "x-1", "nosuch0", 7, "d")
    twice = words["ifconfig vlan create vlan 100 vlandev epair0b"]
    host = Host("", {"ifconfig vlan create vlan 100 vlandev epair0b group beastack": (twice.output, 1)})
    with pytest.raises(InterfaceExists):
        vlan.ensure_vlan(host, "x-1", "epair0b", 100, "d")


def test_another_vlan_than_was_asked_for_does_not_stay() -> None:
    other = shown(VLAN.replace("100", "101"))
    host = Host(other, {MAKE_VLAN: "vlan0\n", "ifconfig vlan0 name x-1": "", "ifconfig x-1 destroy": ""})
    with pytest.raises(Differs, match="101"):
        vlan.ensure_vlan(host, "x-1", "em0", 100, "d")
    assert host.ran[-1] == "ifconfig x-1 destroy"


def test_gif() -> None:
    made, tunnel = "ifconfig gif create group beastack", "ifconfig x-1 tunnel 192.168.50.1 192.168.50.2"
    bare = shown("", "8050<POINTOPOINT,RUNNING,MULTICAST>", 1280, "gif beastack")
    whole = shown("\ttunnel inet 192.168.50.1 --> 192.168.50.2", groups="gif beastack")
    host = Host(
        bare, {made: "gif0\n", "ifconfig gif0 name x-1": "", tunnel: "", "ifconfig x-1 mtu 1500": "",
               "ifconfig x-1 up": ""},
        {"ifconfig x-1 up": whole},
    )  # fmt: skip
    gif.ensure_gif(host, "x-1", "192.168.50.1", "192.168.50.2", "d")
    before = len(host.ran)
    gif.ensure_gif(host, "x-1", "192.168.50.1", "192.168.50.2", "d")
    assert host.ran[before:] == ["ifconfig x-1"]
    assert tunnel in host.ran
    for local, remote in (("10.0.0.1", "10.0.0.1"), ("10.0.0.1", "2001:db8::1"), ("10.0.0.1", "239.1.1.1"), ("a", "b")):
        with pytest.raises(ValueError, match=r"."):
            gif.ensure_gif(host, "x-1", local, remote, "d")


GROUP = vxlan.Spec(100, "192.168.50.1", "239.1.1.1", device="vtnet1")
FLOODER = vxlan.Spec(100, "192.168.50.1", "192.168.50.1", remote_port=14789, learn=False)


def test_vxlan_options_as_recorded() -> None:
    commands = [s.command for s in everything() if "vxlan create" in s.command]
    recorded = [c.partition("vxlan create ")[2].partition(" name")[0] for c in commands]
    assert " ".join(GROUP.options()) in recorded
    assert " ".join(vxlan.Spec(100, "192.168.50.1", "192.168.50.2").options()) in recorded
    assert " ".join(vxlan.Spec(100, "192.168.50.1", "192.168.50.99", learn=False).options()) in recorded
    two = vxlan.Spec(100, "192.168.50.1", "192.168.50.3", local_port=4790, remote_port=4790)
    assert " ".join(two.options()) in recorded
    assert FLOODER.options()[-3:] == ["vxlanremoteport", "14789", "-vxlanlearn"]
    assert GROUP.shown == Vxlan(100, "192.168.50.1", 4789, "239.1.1.1", 4789)


@pytest.mark.parametrize(
    "values",
    [
        {"vni": 1 << 24}, {"vni": -1}, {"local": "239.1.1.1"}, {"local": "host"}, {"remote": "2001:db8::1"},
        {"local": "0.0.0.0"}, {"remote": "0.0.0.0"}, {"remote": "239.1.1.1"}, {"local_port": 0},
        {"remote_port": 65535}, {"local": "2001:DB8::1", "remote": "2001:db8::2"},
    ],
)  # fmt: skip
def test_tunnels_that_cannot_be(values: dict[str, object]) -> None:
    good: dict[str, object] = {"vni": 100, "local": "192.168.50.1", "remote": "192.168.50.2"}
    with pytest.raises(ValueError, match=r"."):
        vxlan.Spec(**{**good, **values})  # type: ignore[arg-type]


def test_vxlan_is_made_and_checked() -> None:
    make = "ifconfig vxlan create " + " ".join(FLOODER.options()) + " group beastack"
    line = "\tvxlan vni 100 local 192.168.50.1:4789 remote 192.168.50.1:14789"
    down, up = shown(line, "1008802<BROADCAST,LOWER_UP>", 1450, "vxlan beastack"), shown(line, groups="vxlan beastack")
    answers: dict[str, Answer] = {
        make: "vxlan0\n", "ifconfig vxlan0 name x-1": "", "ifconfig x-1 mtu 1500": "", "ifconfig x-1 up": "",
        "ifconfig x-1 destroy": "",
    }  # fmt: skip
    host = Host(down, answers, {"ifconfig x-1 up": up})
    vxlan.ensure_vxlan(host, "x-1", FLOODER, "d", 1500)
    before = len(host.ran)
    vxlan.ensure_vxlan(host, "x-1", FLOODER, "d", 1500)
    assert set(host.ran[before:]) == {"ifconfig x-1"}
    # 07: the second one on the same address, port and VNI comes up but never RUNNING
    never = up.replace("RUNNING,", "")
    host = Host(down, answers, {"ifconfig x-1 up": never})
    with pytest.raises(vxlan.NotRunning, match="VNI 100"):
        vxlan.ensure_vxlan(host, "x-1", FLOODER, "d", 1500)
    assert host.ran[-1] == "ifconfig x-1 destroy"


def test_entries_twice_are_once_and_gone_is_gone() -> None:
    add, remove = f"beastack-vxlan-fdb x-1 add {MAC} 192.168.50.2 4789", f"beastack-vxlan-fdb x-1 del {MAC}"
    words = {s.rc and s.command.split()[2]: s.output for s in everything() if s.command.startswith("/root/vxlan-fdb")}
    host = FakeHost(
        {add: (words["add"], 1), remove: (words["del"], 1), "ifconfig x-1 vxlanflush": "",
         "ifconfig x-1 vxlanflushall": ""}
    )  # fmt: skip
    vxlan.add_entry(host, "x-1", MAC, "192.168.50.2")
    vxlan.remove_entry(host, "x-1", MAC)
    vxlan.flush(host, "x-1")
    vxlan.flush(host, "x-1", static_too=True)
    assert host.ran[:2] == [add, remove]
    for text, kind in (("Device not configured", NoSuchInterface), ("Invalid argument", BadArgument)):
        with pytest.raises(kind):
            vxlan.add_entry(FakeHost({add: (f"vxlan-fdb: SIOCSDRVSPEC: {text}\n", 1)}), "x-1", MAC, "192.168.50.2")


def test_sizes_and_numbers_are_those_of_the_real_headers() -> None:
    line = next(s.output for s in everything() if s.command.startswith("/root/vxlan-fdb") and not s.rc)
    said = dict(re.findall(r"(\S+?)=(\S+)", line))
    assert vxlan_ioctl.IFVXLANCMD.size == int(said["sizeof(ifvxlancmd)"])
    assert vxlan_ioctl.IFDRV.size == int(said["sizeof(ifdrv)"])
    assert int(said["SIOCSDRVSPEC"], 16) == vxlan_ioctl.SIOCSDRVSPEC
    assert (int(said["mac"]), int(said["sa"])) == (vxlan_ioctl.MAC_AT, vxlan_ioctl.SOCKADDR_AT)


def test_an_entry_byte_by_byte() -> None:
    four = vxlan_ioctl.entry(MAC, "192.168.50.2", 4789)
    assert four[22:28] == bytes.fromhex("fa163e000102")
    assert four[32:60] == bytes([16, 2, 0x12, 0xB5, 192, 168, 50, 2]) + bytes(20)
    assert four[:22] == bytes(22)
    assert four[60:] == bytes(16)
    six = vxlan_ioctl.entry(MAC, "2001:db8::2", 4790)
    assert six[32:36] == bytes([28, 28, 0x12, 0xB6])
    assert six[40:56] == bytes.fromhex("20010db8000000000000000000000002")
    assert vxlan_ioctl.entry(MAC)[32:] == bytes(44)
    packed = vxlan_ioctl.request("vxlan-100", 13, 76, 0x1234)
    assert packed == b"vxlan-100".ljust(16, b"\0") + struct.pack("<QQQ", 13, 76, 0x1234)


@pytest.mark.parametrize(
    "words",
    [
        [], ["x"], ["x", "add", MAC], ["x", "del", MAC, "10.0.0.1"], ["x", "list"], ["x", "add", "zz", "10.0.0.1"],
        ["x", "add", MAC, "host"], ["x", "add", MAC, "0.0.0.0"], ["x", "add", MAC, "239.0.0.1"],
        ["x", "add", MAC, "10.0.0.1", "0"], ["x", "add", MAC, "10.0.0.1", "65536"], ["x", "add", MAC, "10.0.0.1", "x"],
        ["x", "add", MAC, "10.0.0.1", "1", "2"], ["x" * 16, "del", MAC], ["", "del", MAC],
        ["x", "set"], ["x", "set", MAC], ["x", "set", MAC, "-", MAC], ["x", "set", MAC, "10.0.0.1", "zz", "-"],
        ["x", "del", "01:00:5e:00:00:01"], ["x", "del", "00:00:00:00:00:00"], ["x", "add", MAC, "fe80::1%em0"],
    ],
)  # fmt: skip
def test_bad_arguments_never_reach_the_kernel(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert vxlan_ioctl.main(words) == 64
    assert capsys.readouterr().err.startswith("beastack-vxlan-fdb: ")


def test_elsewhere_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert vxlan_ioctl.main(["x", "add", MAC, "10.0.0.1"]) == 69
    assert "FreeBSD" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "kind"), [(17, "File exists"), (2, "No such file or directory")])
def test_what_the_kernel_says(
    number: int, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, bytes]] = []

    def ioctl(door: object, code: int, argument: bytes) -> None:
        seen.append((code, argument))
        raise OSError(number, "x")

    monkeypatch.setattr(vxlan_ioctl.sys, "platform", "freebsd15")
    monkeypatch.setattr(vxlan_ioctl.fcntl, "ioctl", ioctl)
    assert vxlan_ioctl.main(["x", "add", MAC, "10.0.0.1"]) == 1
    assert capsys.readouterr().err == f"vxlan-fdb: SIOCSDRVSPEC: {kind}\n"
    ((code, argument),) = seen
    assert code == 0x8028697B
    assert argument[:32] == b"x".ljust(16, b"\0") + struct.pack("<QQ", 13, 76)


STATIONS = [f"fa:16:3e:00:00:{n:02x}" for n in range(4)]


@given(
    st.dictionaries(st.sampled_from(STATIONS), st.sampled_from(["10.0.0.1", "10.0.0.2"])),
    st.dictionaries(st.sampled_from(STATIONS), st.sampled_from(["10.0.0.1", "10.0.0.2", "-"]), min_size=1),
)
def test_set_makes_it_so_whatever_there_was(before: dict[str, str], wanted: dict[str, str]) -> None:
    """The kernel's table as if_vxlan.c keeps it: EEXIST for what is there, ENOENT for what is not."""
    table = dict(before)

    def change(interface: str, command: int, data: bytes) -> None:
        mac = data[22:28].hex(":")
        if command == vxlan_ioctl.ENTRY_ADD:
            if mac in table:
                raise FileExistsError(17, "x")
            table[mac] = ".".join(str(n) for n in data[36:40])
        elif table.pop(mac, None) is None:
            raise FileNotFoundError(2, "x")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vxlan_ioctl.sys, "platform", "freebsd15")
        patch.setattr(vxlan_ioctl, "change", change)
        assert vxlan_ioctl.main(["x", "set", *(word for pair in wanted.items() for word in pair)]) == 0
    assert table == {mac: host for mac, host in {**before, **wanted}.items() if host != "-"}


def test_many_entries_are_one_program() -> None:
    host = FakeHost({f"beastack-vxlan-fdb x-1 set {MAC} 192.168.50.2 fa:16:3e:00:01:03 -": ""})
    vxlan.set_entries(host, "x-1", {MAC: "192.168.50.2", "fa:16:3e:00:01:03": None})
    vxlan.set_entries(host, "x-1", {})
    assert len(host.ran) == 1


@given(st.lists(st.text(max_size=20), max_size=6))
def test_no_arguments_crash_it(words: list[str]) -> None:
    assert vxlan_ioctl.main(words) in (64, 69)


def test_errors_are_of_the_host() -> None:
    assert issubclass(Differs, HostError)
    assert issubclass(vxlan.NotRunning, HostError)
