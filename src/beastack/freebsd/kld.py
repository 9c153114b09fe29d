"""Kernel modules (kldload(8))."""

from beastack.freebsd.host import Host


def ensure_loaded(host: Host, names: tuple[str, ...]) -> None:
    """Load each module unless it is loaded or compiled in."""
    for name in names:
        host.run(["kldload", "-n", name])
