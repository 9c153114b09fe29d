"""A cloud's state as data: what ``status --json`` prints."""

from typing import Any

import psutil
from pydantic import BaseModel


class ServiceStatus(BaseModel):
    """One supervised service; memory is its share (PSS) with its children, bytes."""

    name: str
    state: str
    pid: int | None
    restarts: int
    seconds: float
    memory: int
    log: str

    @classmethod
    def of(cls, name: str, data: dict[str, Any]) -> "ServiceStatus":
        """From the supervisor's answer."""
        return cls(
            name=name,
            state=data["state"],
            pid=data["pid"],
            restarts=data["restarts"],
            seconds=round(data["seconds"], 1),
            memory=memory(data["pid"]) if data["pid"] else 0,
            log=data["log"],
        )


class HostStatus(BaseModel):
    """One FreeBSD host: its management address, and the release that it answers with."""

    name: str
    address: str
    release: str


class AgentStatus(BaseModel):
    """What neutron or nova last heard of a service on a host: state is up, down or disabled."""

    kind: str
    host: str
    state: str


class InstanceStatus(BaseModel):
    """One server of any project."""

    name: str
    id: str
    project: str
    host: str
    state: str
    power: str
    addresses: list[str]


class Status(BaseModel):
    """The whole cloud; ``unknown`` says what could not be asked, and why."""

    name: str
    run_dir: str
    running: bool
    services: list[ServiceStatus]
    hosts: list[HostStatus]
    agents: list[AgentStatus]
    instances: list[InstanceStatus]
    unknown: list[str]
    endpoints: dict[str, str]


def memory(pid: int) -> int:
    """PSS of a process and its children, bytes; what has just ended counts nothing."""
    total = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in processes:
        try:
            info = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        total += getattr(info, "pss", info.rss)
    return total
