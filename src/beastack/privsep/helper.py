"""``beastack-privsep-helper``: upstream's privileged daemon without its Linux half.

oslo.privsep's client (ROOTWRAP) is portable; its daemon keeps and drops Linux capabilities, which FreeBSD does not
have (shared/plugpoints.md, section 1). Here the same daemon runs with another ``_drop_privs``. It is chosen by
configuration alone: ``helper_command`` in the section of each context. A simulated host takes the same way, so that
it tests what a FreeBSD host does.
"""

import fcntl
import grp
import logging
import os
import pwd
import sys

from oslo_privsep import daemon

LOG = logging.getLogger(__name__)


class FreeBSDDaemon(daemon.Daemon):
    """The request loop as root, or as the user that the context's section names."""

    def _drop_privs(self) -> None:
        # upstream sets umask 0 just before; a file made by root for root is nobody else's business
        os.umask(0o077)
        if self.group is not None:
            os.setgroups([])
            daemon.setgid(self.group)
        if self.user is not None:
            daemon.setuid(self.user)
        LOG.info("privsep daemon of %s runs as uid %d gid %d", self.context.prefix, os.getuid(), os.getgid())


def main() -> None:
    """Entry point; the arguments are upstream's."""
    # bound by upstream on Linux only (daemon.py, top)
    for name, module in (("fcntl", fcntl), ("grp", grp), ("pwd", pwd)):
        setattr(daemon, name, module)
    daemon.Daemon = FreeBSDDaemon
    # upstream reads no file unless told; ours are always told
    if not any(a.split("=")[0] == "--config-file" for a in sys.argv[1:]):
        sys.exit("beastack-privsep-helper: no --config-file given: set it in helper_command of the context's section")
    daemon.helper_main()


if __name__ == "__main__":
    main()
