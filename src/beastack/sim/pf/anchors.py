"""Owns the tree of anchors with their rules and tables, and which go when they are empty (pf.conf(5), ANCHORS)."""

from collections.abc import Callable, Collection, Iterator

from beastack.sim.pf.model import EtherRule, Parsed, Rule
from beastack.sim.pf.tables import Table


class Anchor:
    """One anchor; the main ruleset is the root, with an empty path."""

    def __init__(self, name: str = "", parent: "Anchor | None" = None) -> None:
        self.name = name
        self.parent = parent
        self.path: str = f"{parent.path}/{name}" if parent is not None and parent.path else name
        self.children: dict[str, Anchor] = {}
        self.filters: list[Rule] = []
        self.nats: list[Rule] = []
        self.rdrs: list[Rule] = []
        self.binats: list[Rule] = []
        self.scrubs: list[Rule] = []
        self.ethers: list[EtherRule] = []
        self.tables: dict[str, Table] = {}
        # asked of the root only: an interface's own addresses, for `(em0)`
        self.addresses: Callable[[str], Collection[bytes]] = lambda _ifname: ()

    @property
    def root(self) -> "Anchor":
        return self if self.parent is None else self.parent.root

    def find(self, path: str) -> "Anchor | None":
        node: Anchor | None = self
        for part in parts(path):
            node = node.children.get(part) if node is not None else None
        return node

    def ensure(self, path: str) -> "Anchor":
        node = self
        for part in parts(path):
            node = node.children.setdefault(part, Anchor(part, node))
        return node

    def sorted_children(self) -> "list[Anchor]":
        return [self.children[name] for name in sorted(self.children)]

    def walk(self) -> "Iterator[Anchor]":
        """This anchor and all below it, by name."""
        yield self
        for child in self.sorted_children():
            yield from child.walk()

    def callers(self) -> Iterator[Rule]:
        """The anchor rules of this ruleset, which keep the anchors they name alive."""
        for rules in (self.filters, self.nats, self.rdrs, self.binats):
            for rule in rules:
                if rule.anchor:
                    yield rule

    def called(self, rule: Rule) -> str:
        """The full path an anchor rule of this ruleset names, with its `/*`."""
        if rule.anchor.startswith("/"):
            return rule.anchor[1:]
        return f"{self.path}/{rule.anchor}" if self.path else rule.anchor

    def referenced_tables(self) -> set[str]:
        rules = (*self.filters, *self.nats, *self.rdrs, *self.binats)
        sides = (side for rule in rules for side in (rule.src, rule.dst))
        return {side.name for side in sides if side.kind == "table"}

    def table(self, name: str) -> Table | None:
        """A table named in a rule here: this anchor's own, then the main ruleset's, never one between (05)."""
        return self.tables.get(name) or self.root.tables.get(name)

    def load(self, parsed: Parsed, now: float) -> None:
        """Replace the rules. A table keeps its members when its new line gives none."""
        self.filters = parsed.filters
        self.nats, self.rdrs, self.binats = parsed.nats, parsed.rdrs, parsed.binats
        self.scrubs, self.ethers = parsed.scrubs, parsed.ethers
        defined = {spec.name for spec in parsed.tables}
        referenced = self.referenced_tables()
        for name in list(self.tables):
            if name not in defined and not self.tables[name].persist and name not in referenced:
                del self.tables[name]
        for spec in parsed.tables:
            table = self.tables.setdefault(spec.name, Table(spec.name))
            table.persist, table.const = spec.persist, spec.const
            if spec.members is not None:
                table.replace(spec.members, now)
            if not spec.persist and spec.name not in referenced and not table.members:
                del self.tables[spec.name]
        for rule in self.callers():
            self.root.ensure(self.called(rule).removesuffix("*").rstrip("/"))

    def empty(self) -> bool:
        rules = self.filters or self.nats or self.rdrs or self.binats or self.scrubs or self.ethers
        return not (rules or self.tables or self.children)


def parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def prune(anchor: Anchor) -> None:
    """Remove an anchor that holds nothing and that no rule names, and its parents likewise."""
    root = anchor.root
    while anchor.parent is not None and anchor.empty():
        named = {one.called(rule).removesuffix("*").rstrip("/") for one in root.walk() for rule in one.callers()}
        if anchor.path in named:
            return
        del anchor.parent.children[anchor.name]
        anchor = anchor.parent
