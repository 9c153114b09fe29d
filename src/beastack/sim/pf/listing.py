"""Owns `pfctl -s …`: rules, nat, ether, anchors, tables, labels, states and the counters (pfctl(8))."""

from typing import TYPE_CHECKING

from beastack.sim.pf import render, status
from beastack.sim.pf.model import Failure, Parsed, Rule

if TYPE_CHECKING:
    from beastack.sim.pf.anchors import Anchor
    from beastack.sim.pf.control import Control

MODIFIERS = (  # noqa: SIM905  in pfctl's order, which decides what a short form means
    "ether nat queue rules Anchors Sources states info Interfaces labels timeouts memory Tables osfp Running all "
    "creatorids"
).split()


def show(control: "Control", what: str) -> None:
    pf = control.pf
    out = control.out
    if what == "info":
        out.append(pf.status.info(pf.states, control.now))
    elif what == "memory":
        out.append(pf.status.memory())
    elif what == "timeouts":
        out.append(status.timeouts(pf.states.timeouts))
    elif what == "states":
        for state in pf.states:
            if control.interface in ("", state.ifname):
                out.append(state.line(control.now, control.verbose))
    elif what == "Running":
        out.append("Enabled\n" if pf.status.enabled else "Disabled\n")
    elif what in ("queue", "Sources", "osfp", "creatorids"):
        return  # nothing of the kind is simulated, so there is never any
    elif what == "all":
        for one in ("nat", "rules", "Anchors", "states", "info", "labels", "timeouts", "memory", "Tables"):
            show(control, one)
    elif what == "Interfaces":
        raise Failure("-s Interfaces is not simulated")
    else:
        _of_anchor(control, what)


def _of_anchor(control: "Control", what: str) -> None:
    anchor = control.found_anchor()
    if anchor is None:
        control.err.append("pfctl: Anchor does not exist.\n")
        return
    if what == "Anchors":
        _anchors(control, anchor)
    elif what == "Tables":
        control.out += [f"{_table_flags(control, anchor, name)}{name}\n" for name in sorted(anchor.tables)]
    else:
        if control.wildcard and what != "labels":
            raise Failure(f"-s {what} below a wildcard anchor is not simulated")
        for one in anchor.walk() if control.wildcard else (anchor,):
            _rules_of(control, one, what)


def _table_flags(control: "Control", anchor: "Anchor", name: str) -> str:
    if not control.verbose:
        return ""
    table = anchor.tables[name]
    referenced = name in anchor.referenced_tables()
    letters = ("c" if table.const else "-") + ("p" if table.persist else "-") + "a"
    return f"{letters}{'r' if referenced else '-'}--\t"


def _rules_of(control: "Control", anchor: "Anchor", what: str) -> None:
    if what == "ether":
        for rule in anchor.ethers:
            control.out.append(render.ether(rule) + "\n")
            if control.verbose:
                control.out.append(f"  [ Evaluations: {0:<8}  Packets: {0:<8}  Bytes: {0:<10}]\n")
    elif what == "labels":
        control.out += [render.label(one) for one in anchor.filters if one.labels]
    elif what == "nat":
        _rules(control, [*anchor.nats, *anchor.rdrs, *anchor.binats])
    else:
        _rules(control, [*anchor.scrubs, *anchor.filters])


def _rules(control: "Control", rules: list[Rule]) -> None:
    for rule in rules:
        number = f"@{rule.number} " if control.verbose > 1 else ""
        control.out.append(f"{number}{render.rule(rule)}\n")
        if control.verbose:
            control.out.append(render.counters(rule, control.verbose))


def rules_of_file(control: "Control", parsed: Parsed) -> None:
    """What -v prints of a file while it is loaded or only checked."""
    control.out += [f"{render.ether(rule)}\n" for rule in parsed.ethers]
    for rule in (*parsed.scrubs, *parsed.nats, *parsed.rdrs, *parsed.binats, *parsed.filters):
        number = f"@{rule.number} " if control.verbose > 1 else ""
        control.out.append(f"{number}{render.rule(rule)}\n")


def _anchors(control: "Control", anchor: "Anchor") -> None:
    for child in anchor.sorted_children():
        if child.name.startswith("_") and not control.verbose:
            continue
        control.out.append(f"  {child.path}\n")
        if control.verbose:
            _anchors(control, child)
