"""One cloud as the command line sees it: up, down, status, and ways in.

Cloud("main").up(progress)  ->  Outcome(changed, timings, endpoints, not_built)
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException

from beastack.cloud import credentials, doctor, failures, inventory, layout, ports, sdk, services, stopping
from beastack.cloud.bringup import MARK, ControlPlane
from beastack.cloud.config.common import PORTS, url
from beastack.cloud.config.identity import ENDPOINTS
from beastack.cloud.description import Cluster
from beastack.cloud.errors import CloudError
from beastack.cloud.first.tasks import FirstServer
from beastack.cloud.graph import Graph, Progress, summary
from beastack.cloud.host import HostProvider, freebsd_release, provider
from beastack.cloud.layout import Layout, write_private
from beastack.cloud.platform import system
from beastack.cloud.status import AgentStatus, HostStatus, InstanceStatus, ServiceStatus, Status
from beastack.cloud.supervisor.client import SupervisorGone, ask

SHUTDOWN_LIMIT = 60.0


@dataclass(frozen=True)
class Outcome:
    """What ``up`` did: rows (task, began, seconds), what it made, endpoints by service, and the first server.

    ``address`` is the first server's, or empty when a person has switched the server off.
    """

    changed: bool
    timings: list[tuple[str, float, float]]
    made: list[str]
    endpoints: dict[str, str]
    address: str
    key: Path


def _pid_namespace(pid: int) -> str:
    """Linux: which pid namespace a process is in; one and the same elsewhere."""
    return str(Path(f"/proc/{pid}/ns/pid").readlink()) if sys.platform == "linux" else ""


class Cloud:
    """One cloud of this machine, by name."""

    def __init__(self, name: str, run_dir: Path | None = None, cluster: Cluster | None = None) -> None:
        if not name.isalnum() or len(name) > 20:
            raise CloudError(f"{name!r} cannot be a cloud's name", remedy="use 1 to 20 letters and digits")
        self.name, self.wanted_dir, self.wanted = name, run_dir, cluster

    # -- finding it -------------------------------------------------------------------------------------------

    def layout(self) -> Layout:
        """The cloud's layout; CloudError when there is none."""
        found = layout.existing(self.name, self.wanted_dir)
        if found is None:
            raise CloudError(f"there is no cloud {self.name!r} here", remedy="./beastack up")
        return found

    def cluster(self, where: Layout) -> Cluster:
        """What the cloud is made of: as it was described when it was made, or the one host without a description."""
        path = where.run_dir / "cluster.json"
        return Cluster.model_validate_json(path.read_text()) if path.exists() else Cluster()

    def _describe(self, where: Layout, running: bool) -> Cluster:
        """Keep the wanted description; CloudError when the cloud runs by another one."""
        wanted = self.wanted or self.cluster(where)
        if running and wanted.host != self.cluster(where).host:
            raise CloudError(
                f"cloud {self.name!r} runs with other hosts than the description's", remedy="./beastack down, then up"
            )
        write_private(where.run_dir / "cluster.json", wanted.model_dump_json(indent=2))
        return wanted

    def hosts(self, where: Layout) -> dict[str, str]:
        """Hosts and their management addresses."""
        return {host.name: where.host_address(n) for n, host in enumerate(self.cluster(where).host, 1)}

    def _lab(self, where: Layout) -> HostProvider:
        return provider(where, self.cluster(where))

    @contextmanager
    def _alone(self, where: Layout) -> Iterator[None]:
        """One `up` or `down` of a cloud at a time."""
        with (where.run_dir / "run" / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                raise CloudError(f"another command is changing cloud {self.name!r}", remedy="wait for it") from e
            yield

    # -- up ---------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """CloudError with the cause and the remedy when this machine cannot run a cloud."""
        for finding in doctor.examine(self.wanted_dir or layout.DEFAULT_BASE / self.name):
            if finding.level == "fail":
                raise CloudError(f"{finding.subject}: {finding.detail}", remedy=finding.remedy)

    def up(self, progress: Progress) -> Outcome:
        """Bring everything up; what runs stays as it is. On failure or Ctrl-C everything started is ended."""
        with stopping.caught() as stop:
            self.check()
            system.ensure_packages(progress, stop)
            return self._up(progress, stop)

    def _up(self, progress: Progress, stop: stopping.Stop) -> Outcome:
        where = layout.claim(self.name, self.wanted_dir)
        with self._alone(where):
            before = self._pids(where)
            if not before:
                self._clean(where)
                ports.check_free(where)
            cluster = self._describe(where, bool(before))
            endpoints = {kind: url(where, name) + path for name, kind, path in ENDPOINTS}
            secrets = layout.passwords(where)
            graph = Graph()
            if set(before) != self._expected(where):
                plane = ControlPlane(where, secrets, cluster)
                lab = self._lab(where)
                graph.add("networks", lab.networks_up)
                plane.add_tasks(graph, ("networks",))
                graph.add("credentials", lambda: credentials.write(where, secrets), "configuration")
                for host, address in zip(cluster.host, self.hosts(where).values(), strict=True):
                    graph.add(f"host {host.name}", partial(lab.start, host, address), "networks")
                    plane.add_host(graph, host, (f"host {host.name}",))
            first = FirstServer(where, secrets, cluster)
            first.add_tasks(graph)
            try:
                graph.run(progress, stop, watch=partial(failures.check_disk, where.run_dir))
            except BaseException as e:
                error = failures.explain(e, where, graph.failed or "up")
                if isinstance(e, stopping.Interrupted):
                    end = "what ran before goes on" if before else "everything that was started has been ended"
                    error = stopping.Interrupted(f"{stop.signal_name}: {end}", signal_number=stop.number)
                if not before:
                    progress.start("clean up")
                    self._end(where, error)
                raise error from e
            return Outcome(
                changed=bool(first.made) or self._pids(where) != before,
                timings=list(summary(graph.timings)),
                made=first.made,
                endpoints=endpoints,
                address=first.address if first.running else "",
                key=where.credentials / "id_ed25519",
            )

    def _expected(self, where: Layout) -> set[str]:
        """Names of all services of a cloud that is whole."""
        cluster = self.cluster(where)
        agents = {name for host in cluster.host for name in services.on_host(where, host, cluster.switch)}
        return {"rabbitmq", "memcached", "mariadb", *services.control_plane(where), *agents}

    def _pids(self, where: Layout) -> dict[str, int]:
        """Running services by name; empty without a supervisor."""
        try:
            found = ask(where.run_dir, {"do": "status"})["services"]
        except SupervisorGone:
            return {}
        return {name: service["pid"] for name, service in found.items() if service["pid"]}

    # -- down -------------------------------------------------------------------------------------------------

    def down(self, progress: Progress, keep_data: bool = False) -> None:
        """End everything of the cloud and remove its files; ``keep_data`` keeps databases, images and disks."""
        where = self.layout()
        with self._alone(where):
            progress.start("services and hosts")
            self._end(where)
            if keep_data:
                for sub in ("etc", "hosts"):
                    shutil.rmtree(where.run_dir / sub, ignore_errors=True)
        if not keep_data:
            layout.release(where)
            shutil.rmtree(where.run_dir)

    def _end(self, where: Layout, because: BaseException | None = None) -> None:
        """Ask the supervisor to end all; then end what is left, networks last.

        Each step is tried, whatever became of the one before. Raises the first error, ``because`` among its words.
        """
        lab = self._lab(where)
        steps: list[Callable[[], object]] = [
            partial(ask, where.run_dir, {"do": "shutdown"}, SHUTDOWN_LIMIT),
            *(partial(lab.stop, host) for host in self.hosts(where)),
            partial(self._clean, where),
            lab.networks_down,
        ]
        errors: list[Exception] = []
        for step in steps:
            try:
                step()
            except SupervisorGone:
                continue
            except (CloudError, OSError, psutil.Error) as e:
                errors.append(e)
        if errors:
            first = failures.explain(errors[0], where, "clean up")
            words = f"{because}\nCleaning up failed, too: {first}" if because else str(first)
            raise CloudError(words, remedy="./beastack down") from errors[0]

    def _clean(self, where: Layout) -> None:
        """End the supervisor and services that an earlier run left (after a kill -9, say).

        Hosts stay as they are: they may have guests, and ``host start`` mends them.
        """
        deadline = time.monotonic() + 20
        # again until none is left: one that was just about to start another may have done so
        while left := list(self._marked(where)):
            if time.monotonic() > deadline:
                raise CloudError(f"process {left[0].pid} of an earlier run does not end", remedy="see ps and dmesg")
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=5)
        for path in (where.run_dir / "run").rglob("*"):
            if not path.is_dir() and path.name != "lock":
                path.unlink()

    def _marked(self, where: Layout) -> Iterator[psutil.Process]:
        """Processes that carry this cloud's mark, those inside a simulated host left out."""
        ours = _pid_namespace(os.getpid())
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(where.run_dir) and _pid_namespace(process.pid) == ours:
                    yield process
            except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, PermissionError):
                # it has just ended, or is not root's to look at and so not ours
                continue

    # -- looking ----------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """Everything of the cloud as it is now."""
        where = self.layout()
        try:
            found = ask(where.run_dir, {"do": "status"})["services"]
        except SupervisorGone:
            found = {}
        agents: list[AgentStatus] = []
        instances: list[InstanceStatus] = []
        unknown: list[str] = []
        if found:
            try:
                cloud = sdk.connect(where, layout.passwords(where)["admin"])
                agents, instances = inventory.agents(cloud), inventory.instances(cloud)
            except (SDKException, ClientException) as e:
                unknown.append(f"agents and instances: the cloud's APIs do not answer: {e}")
        lab = self._lab(where)
        hosts = [HostStatus(name=h, address=a, release=freebsd_release(lab, h)) for h, a in self.hosts(where).items()]
        endpoints = {kind: url(where, name) + path for name, kind, path in ENDPOINTS}
        consoles = {name: url(where, name) for name in ("nova-serialproxy", "nova-novncproxy")}
        return Status(
            name=self.name,
            run_dir=str(where.run_dir),
            running=bool(found),
            services=[ServiceStatus.of(name, data) for name, data in found.items()],
            hosts=hosts if found else [],
            agents=agents,
            instances=instances,
            unknown=unknown,
            endpoints=endpoints | consoles if found else {},
        )

    def log_files(self) -> dict[str, Path]:
        """Every log by its service's name."""
        return {path.stem: path for path in sorted((self.layout().run_dir / "log").glob("*.log"))}

    def environment(self) -> dict[str, str]:
        """This process's variables, those for OpenStack's clients replaced by this cloud's administrator's."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        return others | {"OS_CLIENT_CONFIG_FILE": str(self.layout().credentials / "clouds.yaml"), "OS_CLOUD": self.name}

    def openstack(self, arguments: list[str]) -> int:
        """Run the OpenStack CLI against this cloud; its exit status."""
        argv = [str(Path(sys.executable).with_name("openstack")), *arguments]
        return subprocess.run(argv, env=self.environment(), check=False).returncode

    def console(self, server: str) -> int:
        """Attach this terminal to a server's serial console; the attached program's exit status."""
        where = self.layout()
        cloud = sdk.connect(where, layout.passwords(where)["admin"])
        found = cloud.compute.find_server(server, all_projects=True, details=True)
        if found is None:
            raise CloudError(f"there is no server {server!r}", remedy="./beastack openstack server list --all-projects")
        if not found.compute_host:
            raise CloudError(f"server {server!r} is {found.status} and on no host", remedy="look at its fault")
        folder = where.data("hosts") / found.compute_host / "nova" / "instances" / found.id
        guest = str(Path(sys.executable).with_name("beastack-guest"))
        return self.host_exec(found.compute_host, [guest, "attach", "--dir", str(folder)])

    def host_exec(self, host: str, argv: list[str]) -> int:
        """Run a command on a FreeBSD host of the cloud; its exit status."""
        return subprocess.run(self._lab(self.layout()).command(host, argv), check=False).returncode


__all__ = ["PORTS", "Cloud", "Outcome"]
