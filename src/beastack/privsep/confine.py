"""Carrying out what ``confinement`` decides: make a context's jail (jail(8), mount_nullfs(8), devfs(8)), or become the
service's user (setuid(2)).
"""

import fcntl
import os
import pwd
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from beastack.freebsd import devfs
from beastack.freebsd.errors import CommandFailed, JailExists
from beastack.freebsd.host import Host
from beastack.freebsd.jail import list_jails
from beastack.privsep import confinement, trust
from beastack.privsep.checks import Refused
from beastack.privsep.confinement import Place, Verdict

_LOCK = ".lock"


def simulated() -> bool:
    """Whether this host is a simulated one: its jails share ``/``, and it has neither nullfs nor devfs."""
    return not sys.platform.startswith("freebsd")


def make_jail(host: Host, where: Place, verdict: Verdict, warn: Callable[[str], None]) -> None:
    """The context's jail with its mounts; what is there is kept. Raises HostError, Refused."""
    folder = trust.own_folder(Path(where.root).parent)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # another start of the same context makes it within seconds
        if simulated():
            warn(f"jail {where.name}: a simulated host has no devfs and no nullfs: the jail shares / and /dev")
            where = Place(where.name, "/", where.ruleset)
        else:
            _mount(host, where)
        if where.name not in list_jails(host):
            with suppress(JailExists):
                host.run(confinement.create(where, verdict), timeout=confinement.PROGRAM_LIMIT)
    finally:
        os.close(descriptor)


def _mount(host: Host, where: Place) -> None:
    trust.own_folder(Path(where.root))
    present = confinement.mounted(host.run(["mount", "-p"]).out)
    wanted = [(point, argv) for point, argv in confinement.mounts(where) if point not in present]
    # looked at on every start, and read back: whoever changed the ruleset opened devices to come
    loaded = devfs.ensure_ruleset(host, where.ruleset, confinement.DEVICES)
    if loaded and confinement.devices(where) in present:
        devfs.apply(host, where.ruleset, confinement.devices(where))
    for _point, argv in wanted:
        host.run(argv, timeout=confinement.PROGRAM_LIMIT)
    missing = {point for point, _ in wanted} - confinement.mounted(host.run(["mount", "-p"]).out)
    if missing:
        raise CommandFailed(("mount", "-p"), 0, "", f"not mounted: {', '.join(sorted(missing))}")


def become(uid: int) -> None:
    """Become the user ``uid`` for good, with its groups. Raises Refused when that does not hold.

    A service that runs as root stays root: there is no other user to become.
    """
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        raise Refused(f"uid {uid}: no such user: the context's section must name one (user=)") from None
    if os.geteuid() == 0:
        os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
        os.setgid(user.pw_gid)
        os.setuid(uid)
    if os.getresuid() != (uid, uid, uid):
        raise Refused(f"this process runs as {os.getresuid()}, not as uid {uid} alone")
