"""The guard of 06-anti-spoofing, built with the very lines of the case, and ngctl's words."""

import re
from pathlib import Path

import pytest

from beastack.sim.netgraph import Netgraph

CASE = """
mkpeer tapvm1: bpf lower in
name tapvm1:lower guard1
connect tapvm1: guard1: upper out
msg guard1: setprogram { thisHook="in" ifMatch="out" ifNotMatch="" bpf_prog_len=14 bpf_prog=[ { code=32 k=6 } \
{ code=21 jf=11 k=4195761664 } { code=40 k=10 } { code=21 jf=9 k=1 } { code=40 k=12 } { code=21 jf=2 k=2054 } \
{ code=32 k=28 } { code=21 jt=4 jf=5 k=168099841 } { code=21 jf=2 k=2048 } { code=32 k=26 } \
{ code=21 jt=1 jf=2 k=168099841 } { code=21 jf=1 k=34525 } { code=6 k=65535 } { code=6 k=0 } ] }
msg guard1: setprogram { thisHook="out" ifMatch="in" ifNotMatch="in" bpf_prog_len=1 bpf_prog=[ { code=6 k=65535 } ] }
"""
HONEST = bytes.fromhex("fa163e000001")
OTHER = bytes.fromhex("fa163e000002")
IP1, IP77 = bytes([10, 5, 0, 1]), bytes([10, 5, 0, 77])


def arp(mac: bytes, sender: bytes) -> bytes:
    return OTHER + mac + b"\x08\x06" + bytes.fromhex("0001080006040001") + mac + sender + bytes(10)


def ipv4(mac: bytes, source: bytes) -> bytes:
    header = bytes.fromhex("4500001c000000004011") + b"\0\0" + source + bytes([10, 5, 0, 2])
    return OTHER + mac + b"\x08\x00" + header + bytes(8)


@pytest.fixture
def names() -> list[str]:
    return ["vtnet0", "vtnet1", "brq", "tapvm1"]


@pytest.fixture
def graph(names: list[str]) -> Netgraph:
    graph = Netgraph(lambda: names)
    graph.ngctl(["list"], "")
    names.append("tapvm2")
    return graph


@pytest.fixture
def guarded(graph: Netgraph) -> Netgraph:
    graph.ngctl(["list"], "")
    result = graph.ngctl(["-f", "/tmp/ng.txt"], "", {"/tmp/ng.txt": CASE.lstrip()})
    assert result == ("", "", 0)
    return graph


def transcript(command: str) -> str:
    text = (Path(__file__).parents[2] / "data/freebsd-15.1/06-anti-spoofing.txt").read_text()
    return text.split(f"$ {command}\n", 1)[1].split("\n$ ")[0].split("honest")[0].rstrip("\n") + "\n"


def test_list_as_seen(graph: Netgraph) -> None:
    def plain(text: str) -> str:
        return re.sub(r"ngctl\d+ {2,}", "ngctlN ", re.sub("ID: [0-9a-f]{8}", "ID: N", text))

    assert plain(graph.ngctl(["list"]).out) == plain(transcript("ngctl list"))


def test_show_as_seen(guarded: Netgraph) -> None:
    assert re.sub("ID: [0-9a-f]{8}", "ID: N", guarded.ngctl(["show", "guard1:"]).out) == re.sub(
        "ID: [0-9a-f]{8}", "ID: N", transcript("ngctl show guard1:")
    )


def test_guard(guarded: Netgraph) -> None:
    assert guarded.lower_in("tapvm1", arp(HONEST, IP1))
    assert guarded.lower_in("tapvm1", ipv4(HONEST, IP1))
    assert not guarded.lower_in("tapvm1", ipv4(bytes.fromhex("fa163e666666"), IP1))
    assert not guarded.lower_in("tapvm1", arp(HONEST, IP77))
    assert not guarded.lower_in("tapvm1", ipv4(HONEST, IP77))
    assert not guarded.lower_in("tapvm1", b"")
    assert guarded.upper_out("tapvm1", ipv4(OTHER, IP77))
    assert guarded.lower_in("tapvm2", ipv4(OTHER, IP77))


def test_statistics(guarded: Netgraph) -> None:
    guarded.lower_in("tapvm1", arp(HONEST, IP1))
    guarded.lower_in("tapvm1", arp(HONEST, IP77))
    said = guarded.ngctl(["msg", "guard1:", "getstats", '"in"']).out
    assert re.fullmatch(
        r'Rec\'d response "getstats" \(3\) from "\[[0-9a-f]+\]:":\n'
        r"Args:\t\{ recvFrames=2 recvOctets=84 recvMatchFrames=1 recvMatchOctets=42 \}\n",
        said,
    )


def test_program_reads_back(guarded: Netgraph) -> None:
    said = guarded.ngctl(["msg", "guard1:", "getprogram", '"in"']).out
    assert '{ thisHook="in" ifMatch="out" bpf_prog_len=14 bpf_prog=[ { code=32 k=6 } { code=21 jf=11' in said
    assert said.endswith("{ code=6 k=65535 } { code=6 } ] }\n")


def test_shutdown_restores_the_tap(guarded: Netgraph) -> None:
    assert guarded.ngctl(["shutdown", "guard1:"]) == ("", "", 0)
    assert guarded.lower_in("tapvm1", ipv4(OTHER, IP77))
    again = guarded.ngctl(["shutdown", "guard1:"])
    assert again == ("", "ngctl: shutdown: No such file or directory\n", 71)


@pytest.mark.parametrize(
    ("line", "words", "rc"),
    [
        ("mkpeer nosuch: bpf lower in", "send msg: No such file or directory", 71),
        ("mkpeer tapvm1: bpf lower in", "send msg: File exists", 71),
        ("mkpeer tapvm2: bpf sideways in", "send msg: Invalid argument", 71),
        ("name tapvm2: guard1", "send msg: Address already in use", 71),
        ("msg nosuch: getstats", "send msg: No such file or directory", 71),
        ('msg guard1: getstats "nosuch"', "send msg: No such file or directory", 71),
        (
            'msg guard1: setprogram { thisHook="in" bpf_prog_len=1 bpf_prog=[ { code=5 } ] }',
            "send msg: Invalid argument",
            71,
        ),
        (
            'msg guard1: setprogram { thisHook="in" bpf_prog_len=2 bpf_prog=[ { code=6 } ] }',
            "send msg: Invalid argument",
            71,
        ),
        ("show nosuch:", "send msg: No such file or directory", 71),
        ("frobnicate", '"frobnicate": unknown command', 71),
        ("show", "usage: show [-n] <path>", 64),
    ],
)
def test_errors(guarded: Netgraph, line: str, words: str, rc: int) -> None:
    assert guarded.ngctl(line.split()) == ("", f"ngctl: {words}\n", rc)
    assert guarded.ngctl(["-f", "-"], f"# first\n{line}\n") == (
        "",
        f"ngctl: {words}\nngctl: line 2: error in file\n",
        rc,
    )


def test_no_program_drops_everything(graph: Netgraph) -> None:
    graph.ngctl(["mkpeer", "tapvm1:", "bpf", "lower", "in"])
    assert not graph.lower_in("tapvm1", arp(HONEST, IP1))
    graph.ngctl(["rmhook", "tapvm1:", "lower"])
    assert graph.lower_in("tapvm1", arp(HONEST, IP1))


def test_renamed_and_gone(guarded: Netgraph, names: list[str]) -> None:
    names[names.index("tapvm1")] = "tapother"
    guarded.rename("tapvm1", "tapother")
    assert not guarded.lower_in("tapother", arp(HONEST, IP77))
    assert guarded.ngctl(["show", "tapother:"]).rc == 0
    names.remove("tapother")
    guarded.interface_gone("tapother")
    assert guarded.ngctl(["show", "guard1:"]).rc == 71
    names.append("tapother")
    assert guarded.lower_in("tapother", arp(HONEST, IP77))


def test_a_line_of_a_file_is_at_most_2047_bytes(guarded: Netgraph) -> None:
    program = " ".join(["{ code=21 jt=1 k=168099841 }"] * 100)
    line = (
        f'msg guard1: setprogram {{ thisHook="in" bpf_prog_len=102 bpf_prog=[ {program} {{ code=6 }} {{ code=6 }} ] }}'
    )
    assert guarded.ngctl(["-f", "-"], line + "\n").rc == 71
    assert guarded.ngctl(line.split(" ", 3)).rc == 0
