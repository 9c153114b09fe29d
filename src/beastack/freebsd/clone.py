"""Cloned interfaces: made with our mark, finished under our name, or not left behind (ifconfig(8), `create`).

The mark (group ``beastack``) is part of the very command that creates, so that there is no moment in which an
interface of ours cannot be told from somebody else's: when the answer is lost, cut short or not understood, what is
marked and still has the kernel's own name is half-made and goes. Names of ours never have the kernel's form.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from beastack.freebsd.errors import CommandFailed, HostError, NoSuchInterface, NotOurs, UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import Interface, get_interface

GROUP = "beastack"
# Seconds. Destroying a tap waits for its opener: bhyve must have ended first (shared/freebsd, 13).
DESTROY_LIMIT = 15.0


class Differs(HostError):
    """The host made something else than it was asked for; it was removed."""


def find(host: Host, name: str) -> Interface | None:
    """The interface, or None when the host says that it does not exist."""
    try:
        return get_interface(host, name)
    except NoSuchInterface:
        return None


def require_mark(interface: Interface) -> None:
    """Raises NotOurs unless the interface is in our group."""
    if GROUP not in interface.groups:
        raise NotOurs(f"interface {interface.name} exists and is not Beastack's (not in group {GROUP}): left alone")


def _kernels_name(kind: str, name: str) -> bool:
    return re.fullmatch(rf"{kind}[0-9]{{1,5}}{'a' if kind == 'epair' else ''}", name) is not None


def discard(host: Host, name: str) -> None:
    """Destroy an interface, whosever it is; gone is fine."""
    with suppress(NoSuchInterface):
        host.run(["ifconfig", name, "destroy"], timeout=DESTROY_LIMIT)


def sweep(host: Host, kind: str) -> list[str]:
    """Destroy what a broken creation left: marked as ours, with the kernel's name. Returns their names."""
    left = [n for n in host.run(["ifconfig", "-g", GROUP]).out.split() if _kernels_name(kind, n)]
    for name in left:
        discard(host, name)
    return left


def create(host: Host, kind: str, options: Sequence[str] = ()) -> str:
    """A new marked interface of this kind; returns the kernel's name for it (of an epair the ``a`` half's).

    Raises BadArgument, NoSuchInterface (a parent that is missing), InterfaceExists and others; nothing is left then.
    """
    argv = ["ifconfig", kind, "create", *options, "group", GROUP]
    try:
        done = host.run(argv)
        made = done.out.strip()
        if not _kernels_name(kind, made):
            raise UnexpectedOutput(argv, done.out, f"the new interface's name ({kind}N)")
    except CommandFailed as e:
        # 01: what was made stays when a later word fails, and its name is printed all the same
        for word in e.out.split():
            if _kernels_name(kind, word):
                discard(host, word)
        raise
    except HostError:
        with suppress(HostError):  # the first error is the one to tell
            sweep(host, kind)
        raise
    return made


def finish(host: Host, made: str, name: str) -> None:
    """Give a new interface its name, or destroy it. Raises NameTooLong, InterfaceExists and others."""
    try:
        host.run(["ifconfig", made, "name", name])
    except CommandFailed:
        with suppress(HostError):
            discard(host, made)
        raise
    except HostError:
        # no answer: it has the one name or the other
        with suppress(HostError):
            here = find(host, made) or find(host, name)
            if here is not None and GROUP in here.groups:
                discard(host, here.name)
        raise


@contextmanager
def making(host: Host, kind: str, name: str, description: str, options: Sequence[str] = ()) -> Iterator[Interface]:
    """An interface of ours with this name and description; ``options`` count only when it is made now.

    When the body raises a HostError, an interface that was made now is destroyed. Raises NotOurs when the name is
    somebody else's.
    """
    found = find(host, name)
    if found is None:
        finish(host, create(host, kind, options), name)
    try:
        interface = get_interface(host, name) if found is None else found
        require_mark(interface)
        if interface.description != description:
            host.run(["ifconfig", name, "description", description])
        yield interface
    except HostError:
        if found is None:
            with suppress(HostError):  # the first error is the one to tell
                discard(host, name)
        raise
