"""From answering APIs to a guest that answers: the last part of ``up``, as tasks of its graph."""

import threading
from collections.abc import Callable
from typing import Any

from beastack.cloud import sdk, services
from beastack.cloud.description import Cluster
from beastack.cloud.first import resources, server
from beastack.cloud.graph import Graph
from beastack.cloud.layout import Layout


class FirstServer:
    """Makes what is missing, waits for the guest, and remembers whether something was made."""

    def __init__(self, layout: Layout, secrets: dict[str, str], cluster: Cluster) -> None:
        self.layout, self.secrets = layout, secrets
        self.physical_network = cluster.physical_network[0].name
        self.hosts = {host.name for host in cluster.host}
        self.services = {name for host in cluster.host for name in services.on_host(layout, host, cluster.switch)}
        self.wiring, _, self.agent = services.AGENTS[cluster.switch]
        self.made: list[str] = []
        self.address = ""
        self.running = False
        self._image: Any = None
        # one connection a thread: a session of openstacksdk is not made for several at once
        self._local = threading.local()

    def add_tasks(self, graph: Graph) -> None:
        """Add everything; of what must be there before, only what the graph starts is waited for."""

        def add(name: str, work: Callable[[], str | None], *needs: str) -> None:
            graph.add(name, work, *(n for n in needs if n in graph.tasks))

        def on_hosts(kind: str) -> list[str]:
            return sorted(name for name in self.services if name.startswith(f"{kind}-"))

        add("guest image", self._build)
        add("project", self._making(lambda: resources.ensure_project(self.admin, self.secrets["demo"])), "keystone")
        add("image", self._making(self._upload), "guest image", "glance-api", "keystone")
        add("flavors", self._making(lambda: resources.ensure_flavors(self.admin)), "nova-api")
        add("network", self._making(self._network), "neutron-api", "neutron-rpc-server")
        add("security group", self._making(lambda: resources.ensure_group(self.demo)), "project", "neutron-api")
        add("key pair", self._making(lambda: resources.ensure_key(self.demo, self.layout)), "project", "nova-api")
        add("agents known", lambda: server.agents_alive(self.admin, self.hosts, self.agent), *on_hosts(self.wiring))
        parts = ("image", "flavors", "network", "security group", "key pair", "agents known", "nova-scheduler")
        add("server", self._making(lambda: server.ensure(self.demo)), *parts, *on_hosts("nova-compute"))
        add("server ACTIVE", self._active, "server")
        add("ping", self._ping, "server ACTIVE", *on_hosts("dhcp-agent"))
        add("lease", lambda: self._when_running(lambda: server.wait_lease(self.demo, self.address)), "ping")
        metadata = on_hosts("metadata-agent")
        add("metadata", lambda: self._when_running(lambda: server.wait_metadata(self.demo)), "ping", *metadata)

    @property
    def admin(self) -> Any:
        """The administrator's connection of this thread."""
        return self._connection("admin", "admin")

    @property
    def demo(self) -> Any:
        """The user's connection of this thread."""
        return self._connection(resources.USER, resources.PROJECT)

    def _connection(self, user: str, project: str) -> Any:
        if not hasattr(self._local, user):
            setattr(self._local, user, sdk.connect(self.layout, self.secrets[user], user, project))
        return getattr(self._local, user)

    def _making(self, work: Callable[[], str]) -> Callable[[], str]:
        def run() -> str:
            note = work()
            if note.startswith("made "):
                self.made.append(note)
            return note

        return run

    def _build(self) -> str:
        self._image = resources.build_image(self.layout)
        return f"version {self._image[1]}"

    def _upload(self) -> str:
        file, version = self._image
        note = resources.ensure_image(self.admin, file, version)
        file.unlink()
        return note

    def _network(self) -> str:
        return resources.ensure_network(self.admin, self.physical_network, self.layout.provider_prefix)

    def _active(self) -> str:
        state = server.wait_active(self.demo)
        self.running = state == "ACTIVE"
        self.address = server.address(self.demo)
        return f"{state}, {self.address}"

    def _when_running(self, work: Callable[[], str]) -> str:
        return work() if self.running else "it is switched off"

    def _ping(self) -> str:
        return self._when_running(
            lambda: server.wait_ping(self.address, self.layout.log(f"{self.wiring}-{min(self.hosts)}"))
        )
