"""``beastack-privsep-helper``: starts upstream's privileged daemon without its Linux half.

oslo.privsep's client (ROOTWRAP) is portable; its daemon keeps and drops Linux capabilities, which FreeBSD does not
have (shared/plugpoints.md, section 1). It is chosen by configuration alone: ``helper_command`` in the section of each
context, by sudo(8), doas(1) or mdo(1) where the services are not root's (docs/privileges.md). A simulated host takes
the same way, so that it tests what a FreeBSD host does.

Whoever starts it may be compromised. So before anything else runs: the command line has exactly one form; the
configuration files are root's alone; the caller, as the kernel names it, is one that these files allow; and so is the
context. Each failure ends the start with its reason on standard error, which the service logs.
"""

import fcntl
import grp
import importlib
import logging as pylogging
import os
import pkgutil
import pwd
import socket
import sys
from typing import Any, NoReturn

from oslo_config import cfg
from oslo_log import log as logging
from oslo_privsep import capabilities, comm, daemon, priv_context
from oslo_utils import importutils

import beastack.privsep
from beastack.freebsd.errors import HostError
from beastack.freebsd.host import LocalHost
from beastack.privsep import audit, commandline, conf, confine, confinement, peer, server, trust
from beastack.privsep.checks import Refused
from beastack.privsep.commandline import Invocation
from beastack.privsep.confinement import Means, Verdict
from beastack.privsep.peer import Caller

LOG = logging.getLogger(__name__)
PATH = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
SERVICE_MARK = "BEASTACK_CLOUD"
# Our own, and upstream's by the sections they read (shared/plugpoints.md, section 1).
CONTEXTS = {
    "beastack.privsep.context.default": "beastack_privileged",
    "nova.privsep.sys_admin_pctxt": "nova_sys_admin",
    "neutron.privileged.default": "privsep",
    "neutron.privileged.dhcp_release_cmd": "privsep_dhcp_release",
    "neutron.privileged.ovs_vsctl_cmd": "privsep_ovs_vsctl",
    "neutron.privileged.namespace_cmd": "privsep_namespace",
    "neutron.privileged.conntrack_cmd": "privsep_conntrack",
    "neutron.privileged.link_cmd": "privsep_link",
    "vif_plug_ovs.privsep.vif_plug": "vif_plug_ovs_privileged",
    "os_brick.privileged.default": "privsep_osbrick",
    "os_brick.privileged.brick_privsep_hide_output": "privsep_osbrick",
}


def configure(invocation: Invocation) -> Any:
    """Read the configuration, and only the files named, each root's alone. Raises Refused. Returns ``[beastack]``."""
    for path in invocation.config_files:
        trust.check_file(path)
    logging.register_options(cfg.CONF)
    try:
        # without default folders: oslo.config looks for some below the caller's HOME
        cfg.CONF(args=invocation.config_arguments(), project="privsep", default_config_files=[], default_config_dirs=[])
    except cfg.Error as e:
        raise Refused(f"configuration: {e}") from None
    logging.setup(cfg.CONF, "privsep", fix_eventlet=False)
    return conf.register(cfg.CONF)


def authorise(caller: Caller, section: Any, wanted: str) -> None:
    """The caller's user and the context are among those that the configuration allows. Raises Refused."""
    if wanted not in CONTEXTS:
        raise Refused(f"context {wanted} is not known here")
    if wanted not in section.privsep_contexts:
        raise Refused(f"context {wanted} is not among [beastack] privsep_contexts of this service")
    if caller.uid != os.geteuid() and caller.uid not in [_uid(name) for name in section.privsep_callers]:
        raise Refused(f"{caller}: this user is not among [beastack] privsep_callers")


def _uid(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise Refused(f"[beastack] privsep_callers: there is no user {name!r}") from None


def load_context(name: str) -> priv_context.PrivContext:
    """The context, and for ours every module with entry points: none is imported later on a caller's word."""
    if name == "beastack.privsep.context.default":
        load_entries()
    found = importutils.import_class(name)
    if not isinstance(found, priv_context.PrivContext):
        raise Refused(f"{name}: not a context")
    return found


def load_entries() -> None:
    """Import every module below beastack.privsep, so that all entries are listed."""
    for module in pkgutil.iter_modules(beastack.privsep.__path__):
        importlib.import_module(f"beastack.privsep.{module.name}")


def verdict_of(privileged: priv_context.PrivContext) -> Verdict:
    """How the daemon runs, from the capabilities in the context's section. Raises Refused."""
    numbers = privileged.conf.capabilities
    return confinement.decide(str(capabilities.CAPS_BYVALUE.get(number, number)) for number in numbers)


def clean_environment(caller: Caller, section: Any) -> None:
    """Nothing of another user's environment reaches what is run here, and nothing started here is a service."""
    # guests, dnsmasq, haproxy belong to the host and outlive the services that carry the mark (docs/contracts.md)
    os.environ.pop(SERVICE_MARK, None)
    if caller.uid == os.geteuid() and os.getuid() == os.geteuid():
        return
    os.environ.clear()
    os.environ.update({"PATH": section.program_path or PATH, "LC_ALL": "C", "HOME": "/"})


def linux_names() -> None:
    """Bind what upstream's daemon imports on Linux only (daemon.py, top)."""
    for name, module in (("fcntl", fcntl), ("grp", grp), ("pwd", pwd)):
        setattr(daemon, name, module)


def connect(path: str) -> socket.socket:
    """The client's socket."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(path)
    except OSError as e:
        sock.close()
        raise Refused(f"{path}: {e.strerror}") from None
    return sock


def serve(sock: socket.socket, caller: Caller, name: str, verdict: Verdict) -> NoReturn:
    """Serve the caller until it closes the socket."""
    channel = comm.ServerChannel(sock)
    daemon.replace_logging(daemon.PrivsepLogHandler(channel))
    code: str | int = 0
    try:
        section = conf.register(cfg.CONF)
        audit.open_log(section.audit_log)
        allowed = frozenset(section.privsep_entries)
        server.FreeBSDDaemon(channel, load_context(name), caller, verdict, allowed).run()
    except Exception as e:  # the process's last word, to the client's log
        LOG.exception("privsep daemon of %s ends", name)
        code = str(e)
    sys.exit(code)


def start(words: list[str]) -> None:
    """Check everything, then leave the daemon in the background. Raises Refused, HostError."""
    invocation = commandline.parse(words)
    section = configure(invocation)
    sock = connect(invocation.socket)
    caller = peer.caller(sock)
    authorise(caller, section, invocation.context)
    clean_environment(caller, section)
    verdict = verdict_of(load_context(invocation.context))
    where = None
    if verdict.means is Means.JAIL:
        base, folders = section.confined_path, section.confined_folders
        where = confinement.place(CONTEXTS[invocation.context], base, section.confined_devfs_ruleset, folders)
        confine.make_jail(LocalHost(), where, verdict, pylogging.getLogger(__name__).warning)
    if os.fork() != 0:
        return
    if where is None:
        serve(sock, caller, invocation.context, verdict)
    os.set_inheritable(sock.fileno(), True)
    inner = [sys.executable, "-I", "-m", "beastack.privsep.confined", str(sock.fileno()), caller.program]
    argv = confinement.enter(where, [*inner, invocation.context, *invocation.config_arguments()])
    os.execvp(argv[0], argv)  # noqa: S606 — becoming the jailed daemon is the purpose


def main() -> None:
    """Entry point; the arguments are upstream's."""
    linux_names()
    try:
        start(sys.argv[1:])
    except (Refused, HostError, OSError) as e:
        sys.exit(f"beastack-privsep-helper: {e}")


if __name__ == "__main__":
    main()
