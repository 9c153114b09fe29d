"""pf(4) of one port: its anchor ``beastack/<interface>``, the tables of the main ruleset, its states.

What is loaded is read back and compared. pf reads addresses of a table in a rule's own anchor and in the main ruleset
only (shared/freebsd, 05), so all tables are in the main one, without ``-a``.
"""

import ipaddress
from collections.abc import Collection, Sequence

from beastack.freebsd.errors import CommandFailed, HostError, UnexpectedOutput
from beastack.freebsd.host import Completed, Host
from beastack.freebsd.pf_read import parse_rules
from beastack.freebsd.pf_rules import Rule, block_all, render
from beastack.freebsd.pf_states import State, end_forbidden, end_states, read_states
from beastack.freebsd.pf_states import kill_states as kill_states

ANCHOR = "beastack"
# Seconds: loading some thousand rules, and their listing.
LOAD_LIMIT = 30.0
# So many members of a table may be named on the command line.
MOST_ARGUMENTS = 64
_NO_ANCHOR = "Anchor does not exist"
_NO_TABLE = "Table does not exist"


class RulesDiffer(HostError):
    """pf holds other rules than were loaded; the port was closed (block all)."""


class TableDiffers(HostError):
    """pf holds other members of a table than were loaded."""


def anchor(interface: str) -> str:
    """The anchor of an interface's rules."""
    return f"{ANCHOR}/{interface}"


def _load(host: Host, interface: str, rules: Sequence[Rule]) -> None:
    text = "".join(render(rule, interface) + "\n" for rule in rules)
    # -o none: the optimizer reorders rules, and drops some on 14.x (shared/freebsd, README)
    argv = ["pfctl", "-q", "-o", "none", "-a", anchor(interface), "-f", "-"]
    host.run(argv, input=text, timeout=LOAD_LIMIT)


def _listing(host: Host, argv: list[str], absent: str) -> Completed | None:
    """The command's output; None when pf says that the object does not exist (with status 0 or not)."""
    done = host.run(argv, check=False, timeout=LOAD_LIMIT)
    if absent in done.err + done.out:
        return None
    if done.rc:
        raise CommandFailed(argv, done.rc, done.out, done.err)
    return done


def read_rules(host: Host, interface: str) -> list[Rule] | None:
    """The rules in force in the interface's anchor; None when it has none. Raises UnexpectedOutput."""
    done = _listing(host, ["pfctl", "-a", anchor(interface), "-sr"], _NO_ANCHOR)
    if done is None:
        return None
    found = parse_rules(done.out, done.argv)
    for other, _ in found:
        if other != interface:
            raise UnexpectedOutput(done.argv, done.out, f"rules on {interface} only")
    return [rule for _, rule in found]


def load_rules(host: Host, interface: str, rules: Sequence[Rule]) -> None:
    """Make ``rules``, and after them block all, the interface's rules.

    pf replaces an anchor's rules in one step and keeps the old ones when it refuses the new. Whatever goes wrong, the
    port is closed and the error raised: its old rules are not what was asked for either.
    Raises RulesDiffer, RulesRefused.
    """
    wanted = [*rules, block_all(interface)]
    before = _before(host, interface)
    if before == wanted:
        return  # an agent that starts anew finds its rules in force
    try:
        _load(host, interface, wanted)
        found = read_rules(host, interface)
        if found != wanted:
            at = next((n for n, pair in enumerate(zip(found or [], wanted, strict=False)) if pair[0] != pair[1]), None)
            where = f"from rule {at}" if at is not None else f"{len(found or [])} rules instead of {len(wanted)}"
            raise RulesDiffer(f"{interface}: pf holds other rules than were loaded, {where}; the port was closed")
    except HostError:
        _load(host, interface, [block_all(interface)])
        kill_states(host, interface)
        raise
    _withdraw(host, interface, before, wanted)


def _before(host: Host, interface: str) -> list[Rule] | None:
    """The rules in force before a load; None when they cannot be read."""
    try:
        return read_rules(host, interface) or []
    except UnexpectedOutput:
        return None


def _withdraw(host: Host, interface: str, before: Sequence[Rule] | None, after: Sequence[Rule]) -> None:
    """End the states of access that is no longer given; a change that only gives more ends none.

    Not all of the interface's: a security group's change must not break its port's other connections.
    """
    if before is None:
        kill_states(host, interface)
        return
    old, new = set(before), set(after)
    went = any(rule.action == "pass" for rule in old - new)
    came = any(rule.action == "block" for rule in new - old)
    if before and (went or came):
        _hold_against(host, interface, after)


def _hold_against(host: Host, interface: str, rules: Sequence[Rule]) -> None:
    try:
        states = read_states(host, [interface])
    except UnexpectedOutput:
        kill_states(host, interface)  # what cannot be read cannot be kept
        return
    end_forbidden(host, {interface: rules}, states)


def end_member_states(host: Host, interfaces: Collection[str], addresses: Collection[str]) -> None:
    """After these addresses and networks left a table: end the interfaces' states with them that nothing else allows.

    One listing of states, whatever the number of interfaces; rules are read where there is such a state.
    """
    went = _networks(addresses)
    try:
        states = read_states(host, interfaces)
    except UnexpectedOutput:
        for interface in interfaces:
            kill_states(host, interface)
        return
    touched: dict[str, list[State]] = {}
    for state in states:
        ends = [ipaddress.ip_address(end) for end in (state.source, state.destination)]
        if any(end in network for network in went for end in ends):
            touched.setdefault(state.interface, []).append(state)
    for interface, these in touched.items():
        rules = _before(host, interface)
        if rules is None:
            end_states(host, these)
        else:
            end_forbidden(host, {interface: rules}, these)


def unload(host: Host, interface: str) -> None:
    """Remove the interface's rules; gone is fine."""
    host.run(["pfctl", "-q", "-a", anchor(interface), "-F", "rules"])


def list_anchors(host: Host) -> list[str]:
    """Interfaces that have an anchor of ours. Raises UnexpectedOutput."""
    done = _listing(host, ["pfctl", "-a", ANCHOR, "-s", "Anchors"], _NO_ANCHOR)
    if done is None:
        return []
    found = []
    for line in done.out.splitlines():
        parent, _, interface = line.strip().partition("/")
        if parent != ANCHOR or not interface:
            raise UnexpectedOutput(done.argv, line, f"{ANCHOR}/INTERFACE")
        found.append(interface)
    return sorted(found)


def list_tables(host: Host) -> list[str]:
    """Every table of the main ruleset."""
    return host.run(["pfctl", "-s", "Tables"]).out.split()


def read_table(host: Host, name: str) -> list[str] | None:
    """A table's members; None when there is no such table. Raises UnexpectedOutput."""
    done = _listing(host, ["pfctl", "-t", name, "-T", "show"], _NO_TABLE)
    if done is None:
        return None
    members = done.out.split()
    try:
        _networks(members)
    except ValueError as e:
        raise UnexpectedOutput(done.argv, done.out, f"addresses and networks ({e})") from e
    return members


def _networks(members: Collection[str]) -> set[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return {ipaddress.ip_network(m, strict=False) for m in members}


def replace_table(host: Host, name: str, members: Collection[str]) -> list[str]:
    """Make ``members`` (addresses and networks) the table's, in one step; made when there is none.

    Returns the members that went: the states that they were allowed are still there.
    Raises TableDiffers, ValueError for what is no address.
    """
    before = _networks(read_table(host, name) or [])
    wanted = sorted({str(network) for network in _networks(members)})
    host.run(
        ["pfctl", "-q", "-t", name, "-T", "replace", "-f", "-"],
        input="".join(f"{member}\n" for member in wanted),
        timeout=LOAD_LIMIT,
    )
    found = read_table(host, name)
    if found is None or _networks(found) != _networks(wanted):
        raise TableDiffers(f"table {name}: pf holds {len(found or [])} members of {len(wanted)}, or others")
    return sorted(str(network) for network in before - _networks(wanted))


def change_table(host: Host, name: str, come: Collection[str], go: Collection[str]) -> bool:
    """Add and delete members; what is the same stays untouched and unread.

    False when pf did not have the table, or the members that go, or had some that come: it is not as it was thought.
    """
    for command, done_word, members in (("add", "added", come), ("delete", "deleted", go)):
        wanted = sorted({str(network) for network in _networks(members)})
        if not wanted:
            continue
        few = len(wanted) <= MOST_ARGUMENTS
        argv = ["pfctl", "-t", name, "-T", command, *(wanted if few else ("-f", "-"))]
        lines = None if few else "".join(f"{member}\n" for member in wanted)
        done = host.run(argv, input=lines, check=False, timeout=LOAD_LIMIT)
        words = done.err + done.out
        if done.rc or f"{len(wanted)}/{len(wanted)} addresses {done_word}." not in words or "table created" in words:
            return False
    return True


def drop_table(host: Host, name: str) -> None:
    """Remove a table; gone is fine. Raises CommandFailed."""
    done = host.run(["pfctl", "-q", "-t", name, "-T", "kill"], check=False)
    if done.rc and read_table(host, name) is not None:
        raise CommandFailed(done.argv, done.rc, done.out, done.err)


def kill_label(host: Host, label: str) -> None:
    """End the states that rules with this label made."""
    host.run(["pfctl", "-q", "-k", "label", "-k", label])


def kill_address(host: Host, interface: str, address: str) -> None:
    """End the interface's states from and to an address or network."""
    anywhere = "::/0" if ":" in address else "0.0.0.0/0"
    host.run(["pfctl", "-q", "-i", interface, "-k", address])
    host.run(["pfctl", "-q", "-i", interface, "-k", anywhere, "-k", address])
