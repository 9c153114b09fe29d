"""Reads what ovsdb-server tells ovs-vswitchd: which interfaces it is to open. Pure.

JSON-RPC messages follow each other with nothing between them (RFC 7047, 4). ovs-vswitchd asks with
`monitor_cond_since`, older ones with `monitor_cond` or `monitor` (ovsdb-server(7)); a row is there by `initial`,
`insert`, `modify` or `new`.
"""

import codecs
import json
from collections.abc import Iterator

# what netdev-bsd opens through BPF; "internal" and "tap" are devices of its own, "patch" and tunnels are none
SYSTEM = ("", "system")


class Stream:
    """Cuts the bytes of one direction into messages."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._text = ""

    def feed(self, data: bytes) -> Iterator[object]:
        """The messages that these bytes complete."""
        self._text = (self._text + self._decoder.decode(data)).lstrip()
        while self._text:
            try:
                message, end = self._json.raw_decode(self._text)
            except ValueError:
                return  # the rest has not come yet
            self._text = self._text[end:].lstrip()
            yield message


class Rows:
    """The rows of the table Interface, as one ovs-vswitchd has been told of them."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[str, str]] = {}

    def names(self) -> frozenset[str]:
        """Interfaces of the system that the switch is to open."""
        return frozenset(name for name, kind in self._rows.values() if name and kind in SYSTEM)

    def take(self, message: object) -> bool:
        """Note what a message says; whether it says anything of interfaces."""
        if not isinstance(message, dict):
            return False
        updates = _notified(message)
        if updates is None:
            first = _answered(message)
            if first is None:
                return False
            updates, whole = first
            if whole:
                self._rows.clear()
        table = updates.get("Interface")
        if not isinstance(table, dict):
            return False
        for key, change in table.items():
            self._row(str(key), change)
        return True

    def _row(self, key: str, change: object) -> None:
        if not isinstance(change, dict):
            return
        row = next((change[word] for word in ("initial", "insert", "modify", "new") if change.get(word)), None)
        if isinstance(row, dict):
            name, kind = self._rows.get(key, ("", ""))
            self._rows[key] = (str(row.get("name", name)), str(row.get("type", kind)))
        elif "delete" in change or "old" in change:
            self._rows.pop(key, None)


def _notified(message: dict[str, object]) -> dict[str, object] | None:
    parameters = message.get("params")
    if message.get("method") not in ("update", "update2", "update3") or not isinstance(parameters, list):
        return None
    return parameters[-1] if parameters and isinstance(parameters[-1], dict) else None


def _answered(message: dict[str, object]) -> tuple[dict[str, object], bool] | None:
    """The first contents, and whether they are all there is: `monitor_cond_since` may tell what is new only."""
    result = message.get("result")
    if isinstance(result, list) and len(result) == 3 and isinstance(result[0], bool) and isinstance(result[2], dict):
        return result[2], not result[0]
    if isinstance(result, dict) and isinstance(result.get("Interface"), dict):
        return result, True
    return None
