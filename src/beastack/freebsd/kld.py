"""Kernel modules (kldload(8), kldstat(8); shared/freebsd/15.1/04)."""

from beastack.freebsd.errors import failure
from beastack.freebsd.host import Host


def ensure_loaded(host: Host, names: tuple[str, ...]) -> None:
    """Load each module unless it is loaded or compiled in. Raises NoSuchPath, NotPermitted."""
    for name in names:
        host.run(["kldload", "-n", name])


def is_loaded(host: Host, name: str) -> bool:
    """Whether the kernel has this module (`kldstat -q -m`: its name inside, not its file's). Raises CommandFailed."""
    done = host.run(["kldstat", "-q", "-m", name], check=False)
    if done.rc > 1 or done.err.strip():
        raise failure(done.argv, done.rc, done.out, done.err)
    return done.rc == 0
