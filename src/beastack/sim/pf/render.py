"""Owns how rules look in a listing: `pfctl -s rules`, `-s nat`, `-s ether`, with -v and -vv (pfctl(8), 04-pf)."""

import ipaddress
import time

from beastack.sim.pf import names
from beastack.sim.pf.model import Addr, EtherRule, Port, Rule


def address(addr: Addr) -> str:
    if addr.kind == "table":
        return f"<{addr.name}>"
    if addr.kind == "dyn":
        return f"({addr.name})"
    if addr.kind == "any":
        return "any"
    if addr.kind == "range":
        return f"{ip(addr.af, addr.low)} - {ip(addr.af, addr.high)}"
    full = 32 if addr.af == 4 else 128
    return ip(addr.af, addr.low) + ("" if addr.prefix == full else f"/{addr.prefix}")


def ip(af: int, value: int) -> str:
    return str(ipaddress.IPv4Address(value) if af == 4 else ipaddress.IPv6Address(value))


def ip_bytes(raw: bytes) -> str:
    return ip(4 if len(raw) == 4 else 6, int.from_bytes(raw, "big"))


def _port(port: Port, proto: int) -> str:
    name = names.service_name(port.low, proto) if port.op in ("=", "!=") else None
    if port.op == ":":
        return f" port {port.low}:{port.high}"
    if port.op in ("><", "<>"):
        return f" port {port.low} {port.op} {port.high}"
    return f" port {port.op} {name or port.low}"


def _side(addr: Addr, port: Port | None, proto: int) -> str:
    return ("! " if addr.neg else "") + address(addr) + (_port(port, proto) if port else "")


def from_to(rule: Rule) -> str:
    anywhere = rule.src.kind == rule.dst.kind == "any" and not (rule.src.neg or rule.dst.neg)
    if anywhere and not (rule.sport or rule.dport):
        return "all"
    return f"from {_side(rule.src, rule.sport, rule.proto)} to {_side(rule.dst, rule.dport, rule.proto)}"


def _flags(mask: int) -> str:
    return "".join(letter for bit, letter in enumerate(names.TCP_FLAGS) if mask >> bit & 1)


def _state(rule: Rule) -> str:
    if rule.state == "no":
        return "no state"
    extra = [f"max {rule.max_states}"] if rule.max_states else []
    extra += ["no-sync"] if rule.no_sync else []
    extra += ["if-bound"] if rule.if_bound else []
    extra += ["sloppy"] if rule.sloppy else []
    extra += [f"{name} {value}" for name, value in rule.timeouts.items()]
    return f"{rule.state} state" + (f" ({', '.join(extra)})" if extra else "")


def _head(rule: Rule) -> list[str]:
    if rule.anchor:
        return [f'{rule.action} "{rule.anchor}"']
    words = ["no"] if rule.negated else []
    words.append(rule.action)
    if rule.nat_pass:
        words.append("pass")
    if rule.action == "block":
        words.append({"return-icmp": "return-icmp(port-unr, port-unr)"}.get(rule.blocking, rule.blocking))
    return words


def rule(rule: Rule) -> str:
    """One line of a listing."""
    words = _head(rule)
    words += [word for word in (rule.direction, rule.log, "quick" if rule.quick else "") if word]
    if rule.ifname:
        words.append(f"on ! {rule.ifname}" if rule.ifnot else f"on {rule.ifname}")
    if rule.af:
        words.append("inet" if rule.af == 4 else "inet6")
    if rule.proto:
        words.append(f"proto {names.protocol_name(rule.proto)}")
    words.append(from_to(rule))
    if rule.flags is not None:
        wanted, considered = rule.flags
        words.append(f"flags {_flags(wanted)}/{_flags(considered)}" if considered else "flags any")
    if rule.icmp_type >= 0:
        key = "icmp6-type" if rule.af == 6 else "icmp-type"
        words.append(f"{key} {names.icmp_name(rule.icmp_type, rule.af)}")
        if rule.icmp_code >= 0:
            words.append(f"code {names.icmp_code_name(rule.icmp_type, rule.icmp_code, rule.af)}")
    if rule.tos:
        words.append(f"tos 0x{rule.tos:02x}")
    if rule.state:
        words.append(_state(rule))
    if rule.action == "scrub":
        how = "fragment reassemble" if rule.fragment else "fragment no reassemble"
        words += [] if rule.negated else [how]
    else:
        words += [word for word, there in (("allow-opts", rule.allow_opts), ("fragment", rule.fragment)) if there]
    words += [f'label "{label}"' for label in rule.labels]
    if rule.ridentifier:
        words.append(f"ridentifier {rule.ridentifier}")
    if rule.tag:
        words.append(f"tag {rule.tag}")
    if rule.tagged:
        words.append(f"{'! ' if rule.tagged_not else ''}tagged {rule.tagged}")
    if rule.translation:
        words.append(rule.translation)
    if rule.target:
        words.append(f"-> {rule.target}")
    return " ".join(words)


def counters(rule: Rule, verbose: int) -> str:
    """The indented lines of -v and -vv."""
    packets, size = rule.packets_in + rule.packets_out, rule.bytes_in + rule.bytes_out
    text = (
        f"  [ Evaluations: {rule.evaluations:<8}  Packets: {packets:<8}  "
        f"Bytes: {size:<10}  States: {rule.states_now:<6}]\n"
        f"  [ Source Nodes: {0:<6} Limit: {0:<6} NAT/RDR: {0:<6} Route: {0:<6} ]\n"
        f"  [ Inserted: uid 0 pid 0 State Creations: {rule.states_made:<6}]\n"
    )
    if verbose > 1:
        when = "N/A" if rule.last_active is None else time.asctime(time.gmtime(rule.last_active))
        text += f"  [ Last Active Time: {when} ]\n"
    return text


def label(rule: Rule) -> str:
    """A line of -s labels for each label: evaluations, packets and bytes (all, in, out), states made."""
    packets, size = rule.packets_in + rule.packets_out, rule.bytes_in + rule.bytes_out
    numbers = (
        f"{rule.evaluations} {packets} {size} {rule.packets_in} {rule.bytes_in} "
        f"{rule.packets_out} {rule.bytes_out} {rule.states_made}\n"
    )
    return "".join(f"{one} {numbers}" for one in rule.labels)


def ether(rule: EtherRule) -> str:
    words = ["ether"]
    words.append(f'anchor "{rule.anchor}"' if rule.anchor else rule.action)
    words += [word for word in (rule.direction, "quick" if rule.quick else "") if word]
    if rule.ifname:
        words.append(f"on ! {rule.ifname}" if rule.ifnot else f"on {rule.ifname}")
    if rule.proto:
        words.append(f"proto 0x{rule.proto:04x}")
    if rule.src:
        words.append(f"from {rule.src}")
    if rule.dst:
        words.append(f"to {rule.dst}")
    words.append(f"l3 {rule.l3}")
    if rule.tag:
        words.append(f"tag {rule.tag}")
    return " ".join(words)
