"""05-security-groups, 12-dhcp and 14-ipv6-and-limits with hand-built frames on an imagined bridge of tapvm1, 2, 3."""

import pytest
from tests.unit.sim.pf.frames import ACK, FIN, RST, SYN, icmp, icmp_error, ip, tcp, udp, udp_payload

from beastack.sim.pf import Pf

VM = {1: "10.5.0.1", 2: "10.5.0.2", 3: "10.5.0.3"}
MAIN = 'set skip on {{ lo vtnet0 }}\nset state-policy {policy}\nanchor "bsdstack/*" all\n'


class Host:
    """A host whose bridge has one tap a guest."""

    def __init__(self, policy: str = "if-bound") -> None:
        self.pf = Pf()
        self.now = 100.0
        self.load("", MAIN.format(policy=policy))
        self.ctl("-e")

    def ctl(self, *argv: str, stdin: str = "") -> str:
        result = self.pf.pfctl(list(argv), stdin, self.now)
        assert result.rc == 0, result
        return result.out + result.err

    def load(self, anchor: str, text: str) -> str:
        return self.ctl(*(["-a", anchor] if anchor else []), "-f", "-", stdin=text)

    def port(self, number: int, text: str) -> str:
        return self.load(f"bsdstack/tapvm{number}", text + f"block drop quick on tapvm{number} all\n")

    def egress(self, *numbers: int, how: str = " (if-bound)") -> None:
        for one in numbers:
            self.port(one, f"pass in quick on tapvm{one} inet from {VM[one]} to any keep state{how}\n")

    def carry(self, frame: bytes, source: int, target: int) -> bool:
        """A frame across the bridge: in on one tap, out on the other."""
        self.now += 0.01
        return self.pf.filter(f"tapvm{source}", "in", frame, self.now) and self.pf.filter(
            f"tapvm{target}", "out", frame, self.now
        )

    def ping(self, source: int, target: int, ident: int = 33032) -> bool:
        there = icmp(VM[source], VM[target], 8, ident)
        back = icmp(VM[target], VM[source], 0, ident)
        return self.carry(there, source, target) and self.carry(back, target, source)


def test_05_security_groups() -> None:
    host = Host()
    assert host.ping(1, 2) and host.ping(2, 1)
    for one in VM:
        host.port(one, "")
    assert not host.ping(1, 2) and not host.ping(2, 1)
    host.egress(1, 2, 3)
    assert not host.ping(1, 2) and not host.ping(2, 1)
    host.ctl("-F", "states")
    host.port(
        2,
        "pass in quick on tapvm2 inet from 10.5.0.2 to any keep state (if-bound)\n"
        "pass out quick on tapvm2 inet proto icmp all keep state (if-bound)\n",
    )
    assert host.ping(1, 2, 35592) and not host.ping(2, 1, 36616) and host.ping(3, 2, 37640)
    assert host.ctl("-ss") == (
        "tapvm1 icmp 10.5.0.2:8 <- 10.5.0.1:35592       0:0\n"
        "tapvm2 icmp 10.5.0.1:35592 -> 10.5.0.2:8       0:0\n"
        "tapvm2 icmp 10.5.0.1:8 <- 10.5.0.2:36616       0:0\n"
        "tapvm3 icmp 10.5.0.2:8 <- 10.5.0.3:37640       0:0\n"
        "tapvm2 icmp 10.5.0.3:37640 -> 10.5.0.2:8       0:0\n"
    )
    assert not host.carry(icmp(VM[1], VM[2], 8, 35592), 3, 2)  # forged by vm3
    host.port(2, "")
    assert host.carry(icmp(VM[1], VM[2], 8, 35592), 1, 2)  # the rule is gone, its state is not
    assert host.ctl("-i", "tapvm2", "-Fs") == "3 states cleared\n"
    assert not host.carry(icmp(VM[1], VM[2], 8, 35592), 1, 2)


def test_05_floating_states_let_one_guest_speak_for_another() -> None:
    for policy, forged in (("floating", True), ("if-bound", False)):
        host = Host()
        how = "" if policy == "floating" else " (if-bound)"
        host.egress(1, 3, how=how)
        host.port(2, f"pass out quick on tapvm2 inet proto udp all keep state{how}\n")
        assert host.carry(udp(VM[1], 5555, VM[2], 6666), 1, 2)
        assert host.carry(udp(VM[1], 5555, VM[2], 6666), 3, 2) is forged
        if forged:
            assert host.ctl("-ss") == (
                "all udp 10.5.0.2:6666 <- 10.5.0.1:5555       NO_TRAFFIC:SINGLE\n"
                "all udp 10.5.0.1:5555 -> 10.5.0.2:6666       SINGLE:NO_TRAFFIC\n"
            )


def test_05_tables_are_looked_up_in_the_own_anchor_then_in_main() -> None:
    host = Host()
    host.egress(1, 3)
    host.ctl("-q", "-a", "bsdstack", "-t", "sg1", "-T", "add", VM[1])
    rule = "pass out quick on tapvm2 inet proto icmp from <{}> to any keep state (if-bound)\n"
    host.port(2, rule.format("sg1"))
    assert host.ctl("-a", "bsdstack/tapvm2", "-sr") == rule.format("sg1") + "block drop quick on tapvm2 all\n"
    assert [host.ctl(*where, "-s", "Tables") for where in (["-a", "bsdstack/tapvm2"], ["-a", "bsdstack"], [])] == [
        "",
        "sg1\n",
        "",
    ]
    assert not host.ping(1, 2) and not host.ping(3, 2)
    said = host.port(2, f"table <sg1> persist {{ {VM[1]} }}\n" + rule.format("sg1"))
    assert said == 'pfctl: warning: table <sg1> already defined in anchor "bsdstack"\n'
    assert host.ping(1, 2) and not host.ping(3, 2)
    host.ctl("-q", "-t", "sgglobal", "-T", "add", VM[3])
    host.port(2, rule.format("sgglobal"))
    assert host.ctl("-a", "bsdstack/tapvm2", "-s", "Tables") == "sg1\n"
    assert host.ctl("-s", "Tables") == "sgglobal\n"
    host.ctl("-qF", "states")
    assert not host.ping(1, 2) and host.ping(3, 2)
    before = host.ctl("-ss")
    assert before.count("\n") == 3
    host.port(2, rule.format("sgglobal"))
    assert host.ctl("-ss") == before


def test_arp_passes_and_neighbour_discovery_does_not() -> None:
    host = Host()
    for one in VM:
        host.port(one, "")
    assert host.carry(bytes(12) + b"\x08\x06" + bytes(28), 1, 2)
    assert not host.carry(icmp("2001:db8::1", "2001:db8::2", 135), 1, 2)


def test_12_the_offer_needs_its_own_rule() -> None:
    host = Host()
    rules = (
        "pass in quick on tapvm1 inet proto udp from {{ 0.0.0.0, 10.8.0.10 }} port 68 to any port 67\n"
        "{}pass in quick on tapvm1 inet from 10.8.0.10 to any keep state (if-bound)\n"
    )
    discover, offer = udp("0.0.0.0", 68, "255.255.255.255", 67), udp("10.8.0.2", 67, "10.8.0.10", 68)
    host.port(1, rules.format(""))
    assert host.carry(discover, 1, 2) and not host.carry(offer, 2, 1)
    host.port(1, rules.format("pass out quick on tapvm1 inet proto udp from any port 67 to any port 68\n"))
    assert host.carry(discover, 1, 2) and host.carry(offer, 2, 1)


def test_14_ipv6() -> None:
    host = Host()
    echo = "pass {} quick on {} inet6 proto ipv6-icmp all icmp6-type echoreq keep state (if-bound)\n"
    nd = "pass quick on {} inet6 proto ipv6-icmp all icmp6-type {{ neighbrsol, neighbradv }} no state\n"
    one, two = "2001:db8::1", "2001:db8::2"

    def ping6(source: str = one) -> bool:
        frames = [
            (icmp(source, "ff02::1:ff00:2", 135), 1, 2),
            (icmp(two, source, 136), 2, 1),
            (icmp(source, two, 128, 9), 1, 2),
            (icmp(two, source, 129, 9), 2, 1),
        ]
        return all([host.carry(*frame) for frame in frames])

    assert ping6()
    host.port(1, echo.format("in", "tapvm1"))
    host.port(2, echo.format("out", "tapvm2"))
    assert not ping6()
    host.port(1, nd.format("tapvm1") + echo.format("in", "tapvm1"))
    host.port(2, nd.format("tapvm2") + echo.format("out", "tapvm2"))
    assert ping6()
    assert host.ctl("-a", "bsdstack/tapvm2", "-sr").splitlines() == [
        "pass quick on tapvm2 inet6 proto ipv6-icmp all icmp6-type neighbrsol no state",
        "pass quick on tapvm2 inet6 proto ipv6-icmp all icmp6-type neighbradv no state",
        "pass out quick on tapvm2 inet6 proto ipv6-icmp all icmp6-type echoreq keep state (if-bound)",
        "block drop quick on tapvm2 all",
    ]
    own = "pass in quick on tapvm1 inet6 proto ipv6-icmp from {} to any icmp6-type {} {}\n"
    host.port(
        1,
        own.format("{ 2001:db8::1 fe80::/10 :: }", "{ neighbrsol, neighbradv }", "no state")
        + own.format("2001:db8::1", "echoreq", "keep state (if-bound)")
        + nd.format("tapvm1").replace("pass", "pass out"),
    )
    host.ctl("-F", "states")
    assert ping6() and not ping6("2001:db8::77")


def test_14_many_anchors_and_members() -> None:
    host = Host()
    text = "pass in quick on tapx{} inet proto tcp from any to any port 22 keep state (if-bound)\n"
    for number in range(700):
        host.load(f"bsdstack/tapx{number}", text.format(number))
    assert host.ctl("-a", "bsdstack", "-s", "Anchors").count("\n") == 700
    limits = "set limit anchors 5000\nset limit table-entries 1000000\nset limit states 500000\n"
    host.load("", limits + 'anchor "bsdstack/*" all\n')
    assert "states        hard limit   500000\n" in host.ctl("-s", "memory")
    members = "".join(f"10.{i // 250}.{i % 250}.9\n" for i in range(1250))
    pf = host.pf
    pf.pfctl(["-q", "-t", "big", "-T", "replace", "-f", "/m"], "", 1.0, {"/m": members})
    assert pf.pfctl(["-t", "big", "-T", "add", "10.251.1.1"], "", 1.0).err == "1/1 addresses added.\n"
    again = pf.pfctl(["-t", "big", "-T", "replace", "-f", "/m"], "", 1.0, {"/m": members})
    assert again.err == "1 addresses deleted.\n"
    assert pf.pfctl(["-t", "big", "-T", "expire", "0"], "", 2.0).err == "1250/1250 addresses expired.\n"
    assert pf.pfctl(["-t", "big", "-T", "show"], "", 2.0).out == ""


@pytest.fixture
def web() -> Host:
    """vm1 may speak, vm2 serves port 80 only; both if-bound."""
    host = Host()
    host.egress(1, 2)
    host.port(2, "pass out quick on tapvm2 inet proto tcp from any to any port 80 keep state (if-bound)\n")
    return host


def connect(host: Host, sport: int = 4000) -> None:
    assert host.carry(tcp(VM[1], sport, VM[2], 80, SYN), 1, 2)
    assert host.carry(tcp(VM[2], 80, VM[1], sport, SYN | ACK), 2, 1)
    assert host.carry(tcp(VM[1], sport, VM[2], 80, ACK), 1, 2)


def test_tcp_through_its_life(web: Host) -> None:
    assert not web.carry(tcp(VM[1], 4000, VM[2], 80, ACK), 1, 2)  # flags S/SA
    connect(web)
    assert "tapvm2 tcp 10.5.0.1:4000 -> 10.5.0.2:80       ESTABLISHED:ESTABLISHED\n" in web.ctl("-ss")
    web.now += 80000
    assert web.carry(tcp(VM[2], 80, VM[1], 4000, ACK), 2, 1)
    assert web.carry(tcp(VM[1], 4000, VM[2], 80, FIN | ACK), 1, 2)
    assert web.carry(tcp(VM[2], 80, VM[1], 4000, FIN | ACK), 2, 1)
    assert web.carry(tcp(VM[1], 4000, VM[2], 80, ACK), 1, 2)
    assert web.ctl("-ss").count("FIN_WAIT_2:FIN_WAIT_2") == 2
    connect(web)  # the same ports again
    web.carry(tcp(VM[2], 80, VM[1], 4000, RST | ACK), 2, 1)
    assert web.ctl("-ss").count("TIME_WAIT:TIME_WAIT") == 2
    web.now += 91
    assert web.ctl("-ss") == ""
    assert not web.carry(tcp(VM[1], 4000, VM[2], 443, SYN), 1, 2)
    assert not web.carry(tcp(VM[2], 80, VM[1], 4001, SYN | ACK), 2, 1)


def test_icmp_errors_follow_the_connection(web: Host) -> None:
    connect(web)
    packet = tcp(VM[2], 80, VM[1], 4000, ACK)
    assert web.carry(icmp_error("10.5.0.1", VM[2], 3, 4, packet), 1, 2)
    other = tcp(VM[2], 81, VM[1], 4000, ACK)
    assert not web.pf.filter("tapvm2", "out", icmp_error("10.5.0.1", VM[2], 3, 4, other), web.now)
    wrong_way = tcp(VM[1], 4000, VM[2], 80, ACK)
    assert not web.pf.filter("tapvm2", "out", icmp_error("10.5.0.1", VM[2], 3, 4, wrong_way), web.now)


FRAGMENT_RULE = "pass out quick on tapvm2 inet proto udp from any to any port 53 keep state (if-bound)\n"


def test_fragments_that_are_not_put_together_match_no_port(web: Host) -> None:
    """pf_match_rule in pf.c: a rule with ports, ICMP types or TCP flags is no rule for a fragment."""
    whole = udp_payload(1000, 53, bytes(72))
    first = ip(VM[1], VM[2], 17, whole[:40], more=1, ident=1)
    later = ip(VM[1], VM[2], 17, whole[40:], offset=40, ident=1)
    web.port(2, FRAGMENT_RULE)
    assert not web.pf.filter("tapvm2", "out", first, web.now)
    web.port(2, FRAGMENT_RULE.replace(" port 53", ""))
    assert web.pf.filter("tapvm2", "out", later, web.now) and web.pf.filter("tapvm2", "out", first, web.now)
    assert not web.ctl("-ss")


def test_scrub_rules_say_where(web: Host) -> None:
    main = web.ctl("-sr")
    web.load("", "scrub on tapvm2 inet all fragment reassemble\n" + main)
    assert web.ctl("-sr") == "scrub on tapvm2 inet all fragment reassemble\n" + main
    web.port(2, FRAGMENT_RULE)
    whole = udp_payload(1000, 53, bytes(72))
    assert web.pf.filter("tapvm2", "out", ip(VM[1], VM[2], 17, whole[:40], more=1, ident=1), web.now)
    assert web.pf.filter("tapvm2", "out", ip(VM[1], VM[2], 17, whole[40:], offset=40, ident=1), web.now)
    web.load("", "scrub on em0 inet all fragment reassemble\n" + main)
    assert not web.pf.filter("tapvm2", "out", ip(VM[1], VM[2], 17, whole[:40], more=1, ident=2), web.now)


def test_fragments_share_the_fate_of_the_first(web: Host) -> None:
    web.load("", "set reassemble yes\n" + web.ctl("-sr"))
    web.port(2, "pass out quick on tapvm2 inet proto udp from any to any port 53 keep state (if-bound)\n")
    for port, passes in ((53, True), (54, False)):
        whole = udp_payload(1000, port, bytes(72))
        first = ip(VM[1], VM[2], 17, whole[:40], more=1, ident=port)
        later = ip(VM[1], VM[2], 17, whole[40:], offset=40, ident=port)
        assert not web.pf.filter("tapvm2", "out", later, web.now)
        assert web.pf.filter("tapvm2", "out", first, web.now) is passes
        assert web.pf.filter("tapvm2", "out", later, web.now) is passes
        overlap = ip(VM[1], VM[2], 17, whole[:32], offset=8, ident=port)
        assert not web.pf.filter("tapvm2", "out", overlap, web.now)
        assert not web.pf.filter("tapvm2", "out", later, web.now)


def test_skip_disable_and_nonsense(web: Host) -> None:
    web.load("", "set skip on { lo vtnet0 }\nblock all\n")
    frame = udp(VM[1], 1, VM[2], 2)
    assert not web.pf.filter("em0", "in", frame, 1.0) and web.pf.filter("lo0", "in", frame, 1.0)
    assert web.pf.filter("vtnet0", "in", frame, 1.0) and not web.pf.filter("vtnet1", "in", frame, 1.0)
    web.load("", "pass all no state\n")
    assert web.pf.filter("em0", "in", frame, 1.0)
    for cut in range(14, len(frame)):
        assert not web.pf.filter("em0", "in", frame[:cut], 1.0)
    assert web.pf.filter("em0", "in", frame[:13], 1.0)
    options = frame[:14] + b"\x46" + frame[15:16] + b"\x00\x25" + frame[18:34] + b"\x07\x04\x00\x00" + frame[34:]
    assert not web.pf.filter("em0", "in", options, 1.0)
    web.load("", "pass all no state allow-opts\n")
    assert web.pf.filter("em0", "in", options, 1.0)
    web.ctl("-d")
    assert web.pf.filter("em0", "in", frame[:20], 1.0)


def test_labels_and_limits(web: Host) -> None:
    web.load("", 'pass in proto udp from any to any port 53 keep state (max 2)\nblock in all label "no"\n')
    frames = [udp(VM[1], port, VM[2], 53) for port in (1, 2, 3, 1)]
    assert [web.pf.filter("em0", "in", frame, web.now) for frame in frames] == [False] * 4  # the last match decides
    assert web.ctl("-s", "labels") == "no 4 4 132 4 132 0 0 0\n"
    web.load("", 'block in all\npass in proto udp from any to any port 53 keep state (max 2) label "dns"\n')
    assert [web.pf.filter("em0", "in", frame, web.now) for frame in frames] == [True, True, False, True]
    assert web.ctl("-s", "labels") == "dns 3 4 132 4 132 0 0 2\n"
    assert web.ctl("-k", VM[1]) == "killed 2 states from 1 sources and 0 destinations\n"
    assert web.ctl("-k", "label", "-k", "dns") == "killed 0 states\n"


def test_a_bad_file_leaves_the_old_rules(web: Host) -> None:
    before = web.ctl("-a", "bsdstack/tapvm2", "-sr")
    bad = "pass in quick\npass in proto foo all\nfrobnicate\npass in port\npass in from any to any port 80\n"
    result = web.pf.pfctl(["-a", "bsdstack/tapvm2", "-f", "/etc/x"], "", 1.0, {"/etc/x": bad})
    assert result.rc == 1
    assert result.err == (
        "/etc/x:2: unknown protocol foo\n/etc/x:3: syntax error\n/etc/x:4: syntax error\n"
        "/etc/x:5: port only applies to tcp/udp/sctp\npfctl: Syntax error in config file: pf rules not loaded\n"
    )
    assert web.ctl("-a", "bsdstack/tapvm2", "-sr") == before
