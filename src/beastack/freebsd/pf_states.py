"""States of pf(4): reading them, and ending those that the rules in force would not make any more.

Removing a rule or a table's member ends no state (shared/freebsd, 05). What one rule made and another still allows goes
on: each state is held against the rules as its first packet would be.
"""

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from beastack.freebsd import pf_names
from beastack.freebsd.errors import CommandFailed, UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.pf_rules import ICMP, ICMP6, Rule

# Above this, all states of an interface are ended at once.
MOST_KILLS = 16
# Seconds: half a million states.
LIST_LIMIT = 60.0
_HOST = r"(?P<{0}>[0-9a-f.]+|[0-9a-f:]+)(?::(?P<{0}_port>\d+)|\[(?P<{0}_port6>\d+)\])?"
_STATE = re.compile(
    rf"(?P<on>\S+) (?P<proto>\S+) {_HOST.format('one')} (?P<way><-|->) {_HOST.format('two')} +\S+:\S+ *"
)
_ID = re.compile(r" +id: (?P<id>[0-9a-f]{16}) creatorid: (?P<by>[0-9a-f]+)\b.*")
_KILLED = re.compile(r"killed (\d+) states")
_ICMP_QUERIES = {4: ICMP, 6: ICMP6}


@dataclass(frozen=True, slots=True)
class State:
    """A connection as its first packet went: ``in`` is what the guest sent, ``out`` what was sent to it."""

    interface: str
    direction: str
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    key: str

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.source else 4


def _end(match: re.Match[str], name: str) -> tuple[str, int]:
    return match[name], int(match[f"{name}_port"] or match[f"{name}_port6"] or 0)


def parse_states(text: str, wanted: Collection[str], argv: Sequence[str]) -> list[State]:
    """States of the ``wanted`` interfaces in `pfctl -vvs states`. Raises UnexpectedOutput."""
    found: list[State] = []
    open_line: re.Match[str] | None = None
    for line in text.splitlines():
        if not line.startswith(" "):
            if open_line is not None:
                raise UnexpectedOutput(argv, open_line[0], "an id of the state")
            if line.partition(" ")[0] not in wanted:
                continue
            open_line = _STATE.fullmatch(line)
            if open_line is None:
                raise UnexpectedOutput(argv, line, "a state without translation")
        elif open_line is not None and (key := _ID.fullmatch(line)):
            first, second = _end(open_line, "one"), _end(open_line, "two")
            inward = open_line["way"] == "<-"
            source, destination = (second, first) if inward else (first, second)
            try:
                protocol = pf_names.protocol(open_line["proto"])
            except pf_names.UnknownName as e:
                raise UnexpectedOutput(argv, line, str(e)) from e
            way, name = "in" if inward else "out", f"{key['id']}/{key['by']}"
            found.append(State(open_line["on"], way, protocol, *source, *destination, name))
            open_line = None
    if open_line is not None:
        raise UnexpectedOutput(argv, open_line[0], "an id of the state")
    return found


def read_states(host: Host, interfaces: Collection[str]) -> list[State]:
    """States of these interfaces, by one command. Raises UnexpectedOutput."""
    own = ["-i", next(iter(interfaces))] if len(interfaces) == 1 else []
    done = host.run(["pfctl", *own, "-vv", "-s", "states"], timeout=LIST_LIMIT)
    return parse_states(done.out, interfaces, done.argv)


def in_table(host: Host, table: str, address: str) -> bool:
    """Whether pf finds an address in a table; a table that is not there holds none. Raises CommandFailed."""
    argv = ["pfctl", "-t", table, "-T", "test", address]
    done = host.run(argv, check=False)
    if " addresses match." in done.err + done.out:
        return done.rc == 0
    if "Table does not exist" in done.err + done.out:
        return False
    raise CommandFailed(argv, done.rc, done.out, done.err)


def allowed(state: State, rules: Iterable[Rule], member: Callable[[str, str], bool]) -> bool:
    """Whether a first packet like the state's would make a state now, and its answers may come from where they do.

    ``member`` says whether a table (by its name) holds an address. Raises nothing; what cannot be known is not allowed.
    """
    for rule in rules:
        if rule.action == "block" and rule.direction == "in" and state.direction == "out" and rule.protocol is None:
            # no state answers from an address that the port may not use
            from_it = _within(rule.source, state.destination, member) != rule.source_not
            if rule.family in (None, state.family) and not rule.destination and from_it:
                return False
            continue
        if _matches(rule, state, member):
            return rule.action == "pass" and rule.stateful
    return False


def _matches(rule: Rule, state: State, member: Callable[[str, str], bool]) -> bool:
    if rule.direction not in (None, state.direction) or rule.family not in (None, state.family):
        return False
    if rule.protocol not in (None, state.protocol):
        return False
    if rule.icmp_type is not None:
        # of queries only states are made; their code is 0 and their type stands where the port of others does
        if state.protocol != _ICMP_QUERIES[state.family] or rule.icmp_type != state.destination_port:
            return False
        if rule.icmp_code not in (None, 0):
            return False
    for ports, port in (
        (rule.source_ports, state.source_port),
        (rule.destination_ports, state.destination_port),
    ):
        if ports is not None and not ports[0] <= port <= ports[1]:
            return False
    return _within(rule.source, state.source, member) != rule.source_not and _within(
        rule.destination, state.destination, member
    )


def _within(where: str, address: str, member: Callable[[str, str], bool]) -> bool:
    if not where:
        return True
    if where.startswith("<"):
        return member(where.strip("<>"), address)
    return ipaddress.ip_address(address) in ipaddress.ip_network(where)


def end_states(host: Host, states: Iterable[State]) -> None:
    """End these, by their ids; an interface of which many or not all of them end loses all of its states."""
    by_interface: dict[str, list[State]] = {}
    for state in states:
        by_interface.setdefault(state.interface, []).append(state)
    for interface, these in by_interface.items():
        if len(these) > MOST_KILLS or not all([_kill(host, state) for state in these]):
            kill_states(host, interface)


def _kill(host: Host, state: State) -> bool:
    """Whether pf says that it ended the state."""
    done = host.run(["pfctl", "-k", "id", "-k", state.key])
    match = _KILLED.search(done.err + done.out)
    return match is not None and int(match[1]) > 0


def end_forbidden(host: Host, rules: Mapping[str, Sequence[Rule]], states: Iterable[State]) -> None:
    """End those of the states that the interfaces' rules would not allow now."""
    known: dict[tuple[str, str], bool] = {}

    def member(table: str, address: str) -> bool:
        if (table, address) not in known:
            known[table, address] = in_table(host, table, address)
        return known[table, address]

    end_states(host, [one for one in states if not allowed(one, rules[one.interface], member)])


def kill_states(host: Host, interface: str) -> None:
    """End every state of the interface (05: removing a rule ends none)."""
    host.run(["pfctl", "-q", "-i", interface, "-F", "states"])
