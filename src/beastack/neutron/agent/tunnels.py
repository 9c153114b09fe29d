"""VXLAN networks of this host: forwarding entries, and who gets broadcasts.

l2population's messages change what is known of a network (``fdb``); ``resync`` replaces it with what the server says.
Both end in ``_apply``, which makes the difference: entries of the kernel's table by the privileged side, floods by the
replicator's table. The kernel's table cannot be read, so what was put there is noted in a journal beside it: before a
change as pending, after it as done. A pending entry is set again at the next start; a tunnel made anew has none.

With a multicast group the kernel floods and learns by itself: then there is nothing to do here.
"""

import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from oslo_log import log as logging

from beastack.neutron.agent.fdb import Network, ports_by_host
from beastack.neutron.agent.flooding import Flooding
from beastack.privsep import checks, uplinks

LOG = logging.getLogger(__name__)
# Entries in one call (privsep/uplinks.py takes no more).
CHUNK = 128


class Journal:
    """What the kernel's table of one tunnel holds, as a file: MAC -> host, and the MACs of which that is not sure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: dict[str, str] = {}
        self.pending: set[str] = set()
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            self.entries = {checks.mac(mac): checks.peer(host) for mac, host in raw["entries"].items()}
            self.pending = {checks.mac(mac) for mac in raw["pending"]}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError, checks.Refused) as e:
            LOG.error("%s is damaged: %s; entries of hosts that went may stay until the tunnel goes", path, e)

    def save(self) -> None:
        """Write it in one step."""
        text = json.dumps({"entries": self.entries, "pending": sorted(self.pending)}, indent=1, sort_keys=True)
        new = self._path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self._path)

    def clear(self) -> None:
        """The tunnel is a new one."""
        self.entries, self.pending = {}, set()
        self.save()

    def remove(self) -> None:
        """The tunnel is gone."""
        self._path.unlink(missing_ok=True)


class Tunnels:
    """The tunnels of this host, by network. Called by the loop and by the threads that messages arrive in."""

    def __init__(self, folder: Path, address: str, flooding: Flooding) -> None:
        self._folder = folder
        self._address = address
        self._flooding = flooding
        self._lock = threading.RLock()
        self._vnis: dict[str, int] = {}
        self._known: dict[str, Network] = {}
        self._journals: dict[str, Journal] = {}
        self._changes: dict[str, int] = {}
        self.due: set[str] = set()
        self.wake = threading.Event()

    def wired(self, network_id: str, vni: int, fresh: bool) -> None:
        """The network has a tunnel here; ``fresh``: it was made now."""
        with self._lock:
            new = network_id not in self._vnis
            self._vnis[network_id] = vni
            if new:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._known[network_id] = Network()
                journal = self._journals[network_id] = Journal(self._folder / f"{network_id}.json")
                # until the server has answered, floods go where unicast went before
                self._known[network_id].hosts.update(journal.entries.values())
            if fresh:
                self._journals[network_id].clear()
            if new or fresh:
                self.due.add(network_id)
                self._flood()
                self.wake.set()

    def gone(self, present: Iterable[str]) -> None:
        """Forget the networks whose id is not in ``present``."""
        with self._lock:
            left = set(self._vnis) - set(present)
            for network_id in left:
                del self._vnis[network_id], self._known[network_id]
                self._journals.pop(network_id).remove()
                self.due.discard(network_id)
            if left:
                self._flood()

    def tidy(self, interfaces: Iterable[str]) -> None:
        """At start: journals of tunnels that are not there any more."""
        present = set(interfaces)
        for path in self._folder.glob("*-*.json"):
            if f"vxl{path.stem[:11]}" not in present:
                path.unlink(missing_ok=True)

    def networks(self) -> list[str]:
        """Ids of the networks that have a tunnel here."""
        with self._lock:
            return sorted(self._vnis)

    def all_due(self) -> None:
        """Compare every network with the server."""
        with self._lock:
            self.due |= set(self._vnis)
        self.wake.set()

    def version(self, network_id: str) -> int:
        """Grows with each message about the network."""
        with self._lock:
            return self._changes.get(network_id, 0)

    # what l2population says

    def add(self, message: Mapping[str, Any]) -> None:
        """fdb_add."""
        self._each(message, lambda known, host, ports: known.add(host, ports))

    def remove(self, message: Mapping[str, Any]) -> None:
        """fdb_remove."""
        self._each(message, lambda known, host, ports: known.remove(host, ports))

    def change_addresses(self, message: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """chg_ip: a station's addresses by host, before and after."""
        after = {net: {"ports": {h: c.get("after", ()) for h, c in hosts.items()}} for net, hosts in message.items()}
        before = {net: {"ports": {h: c.get("before", ()) for h, c in hosts.items()}} for net, hosts in message.items()}
        self.add(after)
        self.remove(before)

    def _each(self, message: Mapping[str, Any], change: Any) -> None:
        with self._lock:
            for network_id, values in message.items():
                if network_id not in self._vnis:
                    continue
                self._changes[network_id] = self._changes.get(network_id, 0) + 1
                for host, ports in ports_by_host(values.get("ports", {}), self._address).items():
                    change(self._known[network_id], host, ports)
                self._apply(network_id)

    # what the server says when it is asked

    def replace(self, network_id: str, ports: Mapping[str, Iterable[Any]], version: int) -> bool:
        """Make this the whole truth about the network; False when a message came in between (ask again)."""
        with self._lock:
            if network_id not in self._vnis:
                return True
            if self._changes.get(network_id, 0) != version:
                return False
            fresh = Network()
            for host, pairs in ports_by_host(ports, self._address).items():
                fresh.add(host, pairs)
            self._known[network_id] = fresh
            return self._apply(network_id)

    # making the difference

    def _apply(self, network_id: str) -> bool:
        """True when the kernel and the replicator have it."""
        journal, wanted = self._journals[network_id], self._known[network_id].entries()
        add = {m: h for m, h in wanted.items() if journal.entries.get(m) != h or m in journal.pending}
        remove = sorted((set(journal.entries) | journal.pending) - set(wanted))
        done = True
        # who floods first: what is not known yet is flooded
        self._flood()
        if add or remove:
            done = self._change(network_id, journal, add, remove)
        return done

    def _change(self, network_id: str, journal: Journal, add: Mapping[str, str], remove: list[str]) -> bool:
        try:
            journal.pending |= {*add, *remove}
            journal.save()
            pairs = sorted(add.items())
            for at in range(0, max(len(pairs), len(remove)), CHUNK):
                some, gone = pairs[at : at + CHUNK], remove[at : at + CHUNK]
                uplinks.change_entries(network_id, [list(pair) for pair in some], gone)
                for mac in gone:
                    journal.entries.pop(mac, None)
                journal.entries.update(some)
                journal.pending -= {*gone, *(mac for mac, _ in some)}
            journal.save()
        except Exception as e:  # noqa: BLE001 - what is not in the kernel's table is flooded; it is tried again
            LOG.error("Forwarding entries of network %s: %s; tried again", network_id, e)
            self.due.add(network_id)
            return False
        return True

    def _flood(self) -> None:
        """Tell the replicator."""
        peers = {vni: tuple(sorted(self._known[net].hosts)) for net, vni in self._vnis.items()}
        try:
            self._flooding.update(peers)
        except OSError as e:
            LOG.error("The replicator's table could not be written: %s; tried again", e)

    def keep(self) -> None:
        """See that the replicator runs with the right table."""
        with self._lock:
            if self._vnis:
                self._flood()
                self._flooding.keep_running()


def state_folder(state_path: str) -> Path:
    """Where journals and the replicator's table are."""
    return Path(state_path).absolute() / "tunnels"
