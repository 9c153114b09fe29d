"""Agents and instances, as the cloud's own APIs tell of them."""

from typing import Any

from beastack.cloud.status import AgentStatus, InstanceStatus

# nova's power states (nova/compute/power_state.py)
POWER = {0: "no state", 1: "running", 3: "paused", 4: "off", 6: "crashed", 7: "suspended"}


def agents(cloud: Any) -> list[AgentStatus]:
    """Neutron's agents and nova's services on hosts."""
    found = []
    for agent in cloud.network.agents():
        state = "up" if agent.is_alive else "down"
        found.append(
            AgentStatus(kind=agent.agent_type, host=agent.host, state=state if agent.is_admin_state_up else "disabled")
        )
    for service in cloud.compute.services():
        state = service.state if service.status == "enabled" else "disabled"
        found.append(AgentStatus(kind=service.binary, host=service.host, state=state))
    return sorted(found, key=lambda a: (a.host, a.kind))


def instances(cloud: Any) -> list[InstanceStatus]:
    """Servers of all projects."""
    projects = {p.id: p.name for p in cloud.identity.projects()}
    return [
        InstanceStatus(
            name=server.name,
            id=server.id,
            project=projects.get(server.project_id, server.project_id),
            host=server.compute_host or "",
            state=server.status,
            power=POWER.get(server.power_state, str(server.power_state)),
            addresses=[a["addr"] for network in (server.addresses or {}).values() for a in network],
        )
        for server in cloud.compute.servers(all_projects=True)
    ]
