"""The tree of settings that a command line means, bhyve_config(5), with the order in which it is printed."""

import re

from beastack.sim.bhyve.errors import ERROR, Ended

Tree = dict[str, "str | Tree"]

_VARIABLE = re.compile(r"%\(([^)]*)\)")


class Config:
    """Values by dotted names. A value that is set again moves to the end of its node, as in an nvlist(9)."""

    def __init__(self) -> None:
        self._root: Tree = {}

    def node(self, path: str) -> "Tree | None":
        """The node of that name, if there is one."""
        here = self._root
        for name in path.split("."):
            below = here.get(name)
            if not isinstance(below, dict):
                return None
            here = below
        return here

    def set(self, path: str, value: str) -> None:
        """Set a value; its nodes are made on the way."""
        *nodes, name = path.split(".")
        here = self._root
        for one in nodes:
            below = here.setdefault(one, {})
            if not isinstance(below, dict):
                raise Ended(ERROR, f"bhyve: Node {one} already exists as a value\n")
            here = below
        if isinstance(here.get(name), dict):
            raise Ended(ERROR, f"bhyve: Attempting to add value {name} to existing node\n")
        here.pop(name, None)
        here[name] = value

    def make_node(self, path: str) -> None:
        """An empty node, for a device without settings."""
        self.set(f"{path}.x", "")
        node = self.node(path)
        if node is not None:
            del node["x"]

    def raw(self, path: str) -> str | None:
        """A value as it was given."""
        above, _, name = path.rpartition(".")
        node = self.node(above) if above else self._root
        value = None if node is None else node.get(name)
        return value if isinstance(value, str) else None

    def get(self, path: str) -> str | None:
        """A value with its `%(name)` replaced by the settings that they name."""
        value = self.raw(path)
        for _ in range(16):
            if value is None or not _VARIABLE.search(value):
                return value
            value = _VARIABLE.sub(lambda found: self.raw(found[1]) or "", value)
        raise Ended(ERROR, f"bhyve: Circular reference in {path}\n")

    def flag(self, path: str, default: bool = False) -> bool:
        """A value as yes or no."""
        value = self.get(path)
        if value is None:
            return default
        if value.lower() in ("true", "on", "yes", "1"):
            return True
        if value.lower() in ("false", "off", "no", "0"):
            return False
        raise Ended(ERROR, f"bhyve: Invalid value {value} for boolean variable {path}\n")

    def dump(self) -> str:
        """All of it, one `name=value` a line."""
        lines: list[str] = []

        def walk(prefix: str, node: Tree) -> None:
            for name, value in node.items():
                if isinstance(value, dict):
                    walk(f"{prefix}{name}.", value)
                else:
                    lines.append(f"{prefix}{name}={value}\n")

        walk("", self._root)
        return "".join(lines)
