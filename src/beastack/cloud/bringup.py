"""From folders to answering APIs: the control plane's part of ``up``, as tasks of a graph."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import psutil

from beastack.cloud import commands, databases, novnc, services, waits
from beastack.cloud.config import backing, neutron, nova
from beastack.cloud.config.common import PORTS, database, transport, url
from beastack.cloud.config.identity import ENDPOINTS, USERS
from beastack.cloud.description import Cluster, Host
from beastack.cloud.errors import CloudError, tail
from beastack.cloud.graph import Graph
from beastack.cloud.layout import Layout, write_private
from beastack.cloud.platform import programs
from beastack.cloud.supervisor.client import SupervisorGone, ask
from beastack.cloud.supervisor.spec import ServiceSpec

SCHEMA_LIMIT = 180.0
# In the environment of the supervisor and so of everything that it starts: whose a process is.
MARK = "BEASTACK_CLOUD"
READY_LIMIT = 90.0


def run(argv: list[str], limit: float, log: Path, text: str | None = None, mark: Path | None = None) -> None:
    """Run one command with its words in ``log``; CloudError with their end when it fails.

    With ``mark``, the run folder, it is ended by the next ``up`` when this process is killed meanwhile.
    """
    again = "mend what the log names, then ./beastack up"
    with log.open("ab") as file:
        try:
            done = commands.run(argv, limit, text=text, log=file, env={MARK: str(mark)} if mark else None)
        except subprocess.TimeoutExpired as e:
            words = f"{Path(argv[0]).name} {argv[-1]} did not end within {limit:.0f} s"
            raise CloudError(words, log=log, remedy=again) from e
        except FileNotFoundError as e:
            raise CloudError(f"{argv[0]} is not installed", remedy="./beastack doctor") from e
    if done.rc:
        raise CloudError(f"{' '.join(argv)} failed with status {done.rc}:\n{tail(log)}", log=log, remedy=again)


def schema_digest(project: str, arguments: dict[str, object]) -> str:
    """What a schema depends on: the project's release, what it is told, and the code that does it."""
    release = version({"placement": "openstack-placement"}.get(project, project))
    code = b"".join((Path(__file__).parent / name).read_bytes() for name in ("schema.py", "schema_catalogue.py"))
    text = json.dumps([release, arguments], sort_keys=True)
    return hashlib.sha256(text.encode() + code).hexdigest()


class ControlPlane:
    """The control plane of one cloud; its methods are the tasks' work."""

    def __init__(self, layout: Layout, secrets: dict[str, str], cluster: Cluster) -> None:
        self.layout, self.secrets, self.cluster = layout, secrets, cluster

    def add_tasks(self, graph: Graph, needs: tuple[str, ...]) -> None:
        """Add everything from the supervisor to the last API to the graph."""
        graph.add("configuration", self.configure, *needs)
        graph.add("supervisor", self.supervisor, *needs)
        graph.add("rabbitmq", self.rabbitmq, "configuration", "supervisor")
        graph.add("memcached", self.memcached, "configuration", "supervisor")
        graph.add("mariadb", self.mariadb, "configuration", "supervisor")
        for project in ("keystone", "glance", "placement", "nova", "neutron"):
            graph.add(f"{project} schema", lambda p=project: self.schema(p), "mariadb")  # type: ignore[misc]
        graph.add("noVNC", lambda: novnc.ensure(self.layout.log("novnc")), *needs)
        specs = services.control_plane(self.layout)
        wants = {
            "nova-novncproxy": ("nova schema", "rabbitmq", "noVNC"),
            "nova-serialproxy": ("nova schema", "rabbitmq"),
            "glance-api": ("glance schema", "memcached"),
            "placement-api": ("placement schema", "memcached"),
        }
        graph.add("keystone", lambda: self.service(specs["keystone"]), "keystone schema")
        for name, spec in specs.items():
            if name == "keystone":
                continue
            project = name.split("-")[0]
            before = wants.get(name, (f"{project} schema", "rabbitmq", "memcached", "keystone"))
            graph.add(name, lambda s=spec: self.service(s), *before)  # type: ignore[misc]

    def configure(self) -> str:
        """Write every configuration file, and the certificates that are missing."""
        from beastack.cloud import certificates  # its libraries cost every other command 0.1 s

        hosts = [host.name for host in self.cluster.host if "compute" in host.roles]
        certificates.ensure(self.layout, hosts)
        services.write_configuration(self.layout, self.secrets, self.cluster)
        return str(self.layout.run_dir / "etc")

    def supervisor(self) -> str:
        """Start the supervisor unless it answers."""
        log = self.layout.log("supervisor")
        try:
            ask(self.layout.run_dir, {"do": "status"})
            return "runs already"
        except SupervisorGone:
            argv = [sys.executable, "-m", "beastack.cloud.supervisor.main", str(self.layout.run_dir)]
        with log.open("ab") as file:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                cwd="/",
                env={**os.environ, MARK: str(self.layout.run_dir)},
            )
        record = {"pid": child.pid, "start_time": psutil.Process(child.pid).create_time()}
        (self.layout.run_dir / "run" / "supervisor.json").write_text(json.dumps(record))

        def answers() -> bool:
            if child.poll() is not None:
                raise CloudError(f"the supervisor ended at once:\n{tail(log)}", log=log)
            try:
                ask(self.layout.run_dir, {"do": "status"})
            except SupervisorGone:
                return False
            return True

        waits.until("the supervisor", answers, 60, log)
        return f"pid {child.pid}"

    def start(self, spec: ServiceSpec) -> None:
        """Hand a service to the supervisor; one that runs stays as it is. CloudError when its program is missing."""
        if spec.kind == "program" and shutil.which(spec.argv[0]) is None:
            raise CloudError(f"{spec.name}: {spec.argv[0]} is not installed", remedy="./beastack doctor")
        spec.write(self.layout.run_dir / "run" / "services" / f"{spec.name}.json")
        ask(self.layout.run_dir, {"do": "start", "name": spec.name}, 90)

    def alive(self, name: str) -> None:
        """CloudError when the service has died since it was started."""
        status = ask(self.layout.run_dir, {"do": "status"})["services"][name]
        if status["restarts"] >= 3:
            log = Path(status["log"])
            raise CloudError(
                f"{name} dies at start (status {status['last_exit']}, {status['restarts']} times):\n{tail(log)}",
                log=log,
                remedy="mend what the log names, then ./beastack up",
            )

    def wait(self, spec: ServiceSpec, what: str, ready: Callable[[], bool], limit: float = READY_LIMIT) -> None:
        """Wait for a started service; notice when it dies instead."""
        checked = time.monotonic()

        def condition() -> bool:
            nonlocal checked
            if ready():
                return True
            if time.monotonic() - checked > 1:
                checked = time.monotonic()
                self.alive(spec.name)
            return False

        waits.until(f"{spec.name} ({what})", condition, limit, Path(spec.log))

    def rabbitmq(self) -> str:
        """The broker."""
        spec = backing.rabbitmq(self.layout)
        cookie = Path(spec.cwd) / ".erlang.cookie"
        if not cookie.exists():
            with os.fdopen(os.open(cookie, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
                file.write(self.secrets["cookie"])
        self.start(spec)
        port = PORTS["rabbitmq"]
        self.wait(spec, "AMQP", lambda: waits.broker_serves(self.layout.address, port, self.secrets["rabbit"]))
        return f"{self.layout.address}:{port}"

    def memcached(self) -> str:
        """The token cache."""
        spec = backing.memcached(self.layout)
        self.start(spec)
        self.wait(spec, "TCP", lambda: waits.port_open(self.layout.address, PORTS["memcached"]))
        return f"{self.layout.address}:{PORTS['memcached']}"

    def mariadb(self) -> str:
        """The database server, its databases and user."""
        home = self.layout.data("mariadb")
        log = self.layout.log("mariadb")
        if not home.is_dir():
            # beside it and renamed when whole: what was cut off is not taken for a database
            new = self.layout.data("mariadb.new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            options = backing.mariadb_options(new)
            own = ["--user=root", "--skip-test-db", "--auth-root-authentication-method=socket"]
            run([programs.program("mariadb-install-db"), *options, *own], 120, log, mark=self.layout.run_dir)
            new.rename(home)
        spec = backing.mariadb(self.layout)
        self.start(spec)
        self.wait(spec, "SQL", lambda: databases.ensure(self._mariadb_socket, self.secrets["database"]))
        return str(self._mariadb_socket)

    @property
    def _mariadb_socket(self) -> Path:
        return self.layout.run_dir / "run" / "mariadb.sock"

    def schema(self, project: str) -> str:
        """Create or upgrade one project's tables and first data, unless this very work was done on this data."""
        etc = self.layout.etc(project)
        name = {"glance": "glance-api"}.get(project, project)
        arguments: dict[str, object] = {
            "config": str(etc / f"{name}.conf"),
            "configs": [str(etc / "neutron.conf"), str(etc / "ml2_conf.ini")],
            "password": self.secrets["admin"],
            "service_password": self.secrets["service"],
            "users": USERS,
            "endpoints": [(name, kind, url(self.layout, name) + path) for name, kind, path in ENDPOINTS],
            "url": f"{url(self.layout, 'keystone')}/v3",
            "group": programs.ROOT_GROUP[programs.system()],
            "cell0": database(self.layout, self.secrets, "nova_cell0"),
            "database": database(self.layout, self.secrets, "nova_cell1"),
            "transport": transport(self.layout, self.secrets),
            "hosts": [host.name for host in self.cluster.host if "compute" in host.roles],
        }
        done, wanted = self._schema_done(project), schema_digest(project, arguments)
        if done.exists() and done.read_text() == wanted:
            return "as it was"
        begun = done.with_suffix(".begun")
        if not done.exists():
            # MariaDB's tables are not made in transactions: half a first schema is of no use to the next attempt
            if begun.exists():
                databases.empty(self._mariadb_socket, project)
            begun.touch()
        argv = [sys.executable, "-m", "beastack.cloud.schema", project]
        run(argv, SCHEMA_LIMIT, self.layout.log(f"{project}-schema"), json.dumps(arguments), self.layout.run_dir)
        write_private(done, wanted)
        begun.unlink(missing_ok=True)
        return "made"

    def _schema_done(self, project: str) -> Path:
        """What was done to the project's schema; it goes with the databases."""
        return self.layout.data("mariadb") / f"beastack-{project}-schema"

    def service(self, spec: ServiceSpec) -> str:
        """Start one OpenStack service and wait until it serves."""
        self.start(spec)
        queues = {"nova-conductor": "conductor", "nova-scheduler": "scheduler", "neutron-rpc-server": "q-plugin"}
        if spec.listen is not None:
            where = f"http://{spec.listen[0]}:{spec.listen[1]}/"
            self.wait(spec, where, lambda: waits.http_answers(where))
            return where
        if spec.name in PORTS:
            where = url(self.layout, spec.name)
            self.wait(spec, where, lambda: waits.http_answers(where))
            return where
        if spec.name in queues:
            queue = queues[spec.name]
            port, password = PORTS["rabbitmq"], self.secrets["rabbit"]
            self.wait(
                spec,
                f"consumer of {queue}",
                lambda: waits.queue_consumed(self.layout.address, port, password, queue),
            )
            return f"consumes {queue}"
        return "started"

    def add_host(self, graph: Graph, member: Host, needs: tuple[str, ...]) -> None:
        """Add the services of one host to the graph; their tasks have the services' names."""
        host = member.name
        specs = services.on_host(self.layout, member, self.cluster.switch)
        for kind, queue, server in (
            ("nova-compute", f"compute.{host}", ("nova-conductor", "placement-api")),
            ("bridge-agent", f"q-agent-notifier-port-update.{host}", ("neutron-rpc-server",)),
            ("openvswitch-agent", f"q-agent-notifier-tunnel-update.{host}", ("neutron-rpc-server",)),
            ("dhcp-agent", f"dhcp_agent.{host}", ("neutron-rpc-server",)),
            ("l3-agent", f"l3_agent.{host}", ("neutron-rpc-server",)),
        ):
            spec = specs.get(f"{kind}-{host}")
            if spec is not None:
                graph.add(spec.name, partial(self.consumer, spec, queue), *needs, *server)
        spec = specs.get(f"consoles-{host}")
        if spec is not None:
            graph.add(spec.name, partial(self.consoles, spec, member), *needs, "configuration", "supervisor")
        spec = specs.get(f"metadata-agent-{host}")
        if spec is not None:
            graph.add(spec.name, partial(self.metadata_agent, spec, host), *needs, "neutron-rpc-server")

    def consumer(self, spec: ServiceSpec, queue: str) -> str:
        """A service on a host: ready when its own queue is consumed, and the server has heard of it before."""
        self.start(spec)
        port, password = PORTS["rabbitmq"], self.secrets["rabbit"]
        self.wait(
            spec, f"consumer of {queue}", lambda: waits.queue_consumed(self.layout.address, port, password, queue)
        )
        return f"consumes {queue}"

    def consoles(self, spec: ServiceSpec, member: Host) -> str:
        """The console service of a host: ready when its port is open for the proxies."""
        self.start(spec)
        address = self.layout.host_address(self.cluster.host.index(member) + 1)
        self.wait(spec, "TCP", lambda: waits.port_open(address, nova.CONSOLE_PORT))
        return f"{address}:{nova.CONSOLE_PORT}"

    def metadata_agent(self, spec: ServiceSpec, host: str) -> str:
        """The metadata agent: ready when it answers, with the server's help, that it does not know somebody."""
        self.start(spec)
        path = neutron.metadata_socket(self.layout, host)
        self.wait(spec, str(path), lambda: waits.metadata_answers(path))
        return str(path)
