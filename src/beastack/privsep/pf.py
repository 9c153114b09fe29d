"""Entry points for pf(4): a port's rules, the tables that they name, states.

Rules arrive as plain dictionaries (``pf_rules.to_dict``) and become typed rules here, on the privileged side; what is
not a rule of the port's own interface is refused before pf sees anything.
"""

import ipaddress

from beastack.freebsd import ifnet, pf, pf_host
from beastack.freebsd.host import LocalHost
from beastack.freebsd.pf_rules import BadRule, from_dict
from beastack.privsep import checks
from beastack.privsep.context import entry

HOST = LocalHost()
MAX_RULES = 5000
MAX_MEMBERS = 100_000
MAX_PORTS = 5000


@entry
def prepare_host() -> list[str]:
    """Modules, sysctls, main ruleset and pf itself as filtering needs them; returns what had to be changed."""
    return pf_host.prepare(HOST)


@entry
def load_port_rules(interface: str, rules: list[dict[str, str | int | bool | list[int] | None]]) -> None:
    """Make these the rules of a tap, with block all behind them; read back and compared. No rule closes the port."""
    name = checks.tap_name(interface)
    typed = [from_dict(rule) for rule in checks.items(rules, MAX_RULES, "rules")]
    for rule in typed:
        for table in (rule.source, rule.destination):
            if table.startswith("<"):
                checks.table_name(table.strip("<>"))
        if not rule.label.startswith(f"{name}/"):
            raise BadRule(f"label {rule.label!r} is not one of {name}")
    pf.load_rules(HOST, name, typed)


@entry
def unload_port(interface: str) -> None:
    """Remove the rules and states of a port that is gone; a tap that is still there is closed instead."""
    name = checks.tap_name(interface)
    if ifnet.find(HOST, name) is None:
        pf.unload(HOST, name)
    else:
        pf.load_rules(HOST, name, [])
    pf.kill_states(HOST, name)


def _members(table: str, members: object) -> list[str]:
    found = []
    for member in checks.items(members, MAX_MEMBERS, "members"):
        text = checks.cidr(member) if isinstance(member, str) and "/" in member else checks.ip(member)
        if ipaddress.ip_interface(text).version != int(table[2]):
            raise checks.Refused(f"member {text} in table {table}")
        found.append(text)
    return found


@entry
def replace_table(name: str, members: list[str]) -> list[str]:
    """Make these addresses and networks, of the family in the table's name, the members of a table of ours.

    Returns the members that went.
    """
    table = checks.table_name(name)
    return pf.replace_table(HOST, table, _members(table, members))


@entry
def change_table(name: str, come: list[str], go: list[str]) -> bool:
    """Add and delete members of a table of ours; False when pf does not hold what it was thought to hold."""
    table = checks.table_name(name)
    return pf.change_table(HOST, table, _members(table, come), _members(table, go))


@entry
def end_member_states(interfaces: list[str], addresses: list[str]) -> None:
    """End the ports' states with these addresses that their rules and tables do not allow now."""
    names = [checks.tap_name(name) for name in checks.items(interfaces, MAX_PORTS, "interfaces")]
    found = []
    for one in checks.items(addresses, MAX_MEMBERS, "addresses"):
        found.append(checks.cidr(one) if isinstance(one, str) and "/" in one else checks.ip(one))
    if names and found:
        pf.end_member_states(HOST, names, found)


@entry
def drop_table(name: str) -> None:
    """Remove a table of ours; gone is fine."""
    pf.drop_table(HOST, checks.table_name(name))


@entry
def list_tables() -> list[str]:
    """Names of the tables of ours."""
    found = []
    for name in pf.list_tables(HOST):
        try:
            found.append(checks.table_name(name))
        except checks.Refused:
            continue  # the operator's own
    return found


@entry
def kill_states(interface: str) -> None:
    """End every state of a port."""
    pf.kill_states(HOST, checks.tap_name(interface))


@entry
def list_ports() -> list[str]:
    """Interfaces that have rules of ours (anchors)."""
    return pf.list_anchors(HOST)
