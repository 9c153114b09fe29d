"""Kernel state by sysctl(8): read, and set with a read-back."""

from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.host import Host


def read(host: Host, name: str) -> str:
    """One value as text. Raises NoSuchSysctl."""
    return host.run(["sysctl", "-n", name]).out.strip()


def read_int(host: Host, name: str) -> int:
    """One value as a whole number; raises UnexpectedOutput."""
    text = read(host, name)
    try:
        return int(text)
    except ValueError as e:
        raise UnexpectedOutput(["sysctl", "-n", name], text, "a whole number") from e


def ensure(host: Host, name: str, value: int) -> bool:
    """Set ``name`` unless it has ``value``; True when it had to be changed. Raises when the kernel keeps another."""
    if read_int(host, name) == value:
        return False
    host.run(["sysctl", f"{name}={value}"])
    found = read_int(host, name)
    if found != value:
        raise UnexpectedOutput(["sysctl", f"{name}={value}"], str(found), f"{name} to read back as {value}")
    return True
