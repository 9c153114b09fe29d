"""Whether the ports of a cloud are free, and who has them when not: asked before anything is started."""

from collections.abc import Iterable

import psutil

from beastack.cloud.config import backing
from beastack.cloud.config.common import PORTS
from beastack.cloud.errors import CloudError
from beastack.cloud.layout import Layout

ANY = ("0.0.0.0", "::", "*")  # noqa: S104 - what is looked for, not what is bound
# Debian starts these when it installs their packages; the cloud has its own.
SYSTEM_SERVICES = {"rabbitmq": "rabbitmq-server", "memcached": "memcached"}


def wanted(layout: Layout) -> dict[int, str]:
    """The cloud's ports, and what each is for."""
    return {
        **{number: name for name, number in PORTS.items()},
        backing.epmd_port(layout): "rabbitmq's port mapper",
        backing.distribution_port(layout): "rabbitmq's distribution",
    }


def taken(layout: Layout, listening: Iterable[tuple[str, int, int | None]]) -> list[tuple[int, str, str, int | None]]:
    """Conflicts among ``listening`` (address, port, pid): port, what it is for, who has which address, pid."""
    ours = wanted(layout)
    loopback = ("127.0.0.1", "::1")
    found = []
    for address, port, pid in sorted(listening, key=lambda row: row[1]):
        # the port mapper listens on the loop-back address as well
        everywhere = (*ANY, layout.address, *(loopback if port == backing.epmd_port(layout) else ()))
        if port in ours and address in everywhere:
            found.append((port, ours[port], address, pid))
    return found


def _program(pid: int | None) -> str:
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})" if pid else "a program that cannot be seen from here"
    except psutil.NoSuchProcess:
        return f"pid {pid}"


def check_free(layout: Layout) -> None:
    """CloudError that names the port, what it is for, who has it and what to do."""
    rows = [
        (c.laddr.ip, c.laddr.port, c.pid)
        for c in psutil.net_connections("inet")
        if c.status == psutil.CONN_LISTEN and c.laddr
    ]
    conflicts = taken(layout, rows)
    if not conflicts:
        return
    words = [
        f"port {port} ({name}) of {layout.address} is in use: {_program(pid)} listens on {address}"
        for port, name, address, pid in conflicts
    ]
    service = next((SYSTEM_SERVICES[name] for _, name, _, _ in conflicts if name in SYSTEM_SERVICES), None)
    hint = f" (Debian's own: systemctl disable --now {service}, or service {service} stop)" if service else ""
    raise CloudError("\n".join(dict.fromkeys(words)), remedy=f"end what holds it{hint}, then ./beastack up")
