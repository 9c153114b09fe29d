"""The daemon of a context in its jail: what ``beastack-privsep-helper`` becomes by jexec(8).

``python -I -m beastack.privsep.confined SOCKET-FD PROGRAM CONTEXT --config-file FILE …``. Nobody's rule names it, so
nobody but the helper starts it as root; the helper has checked the caller, the files and the context.
"""

import socket
import sys

from beastack.privsep import commandline, confinement, helper, peer
from beastack.privsep.checks import Refused
from beastack.privsep.commandline import Invocation


def main(words: list[str]) -> None:
    """Take up the socket and serve. Raises Refused when it is started in any other way."""
    if len(words) < 3 or not words[0].isdecimal():
        raise Refused("started by beastack-privsep-helper only")
    sock = socket.socket(fileno=int(words[0]))
    sock.set_inheritable(False)
    invocation = commandline.parse(
        [*words[3:], "--privsep_context", words[2], "--privsep_sock_path", "/inherited/privsep.sock"]
    )
    run(sock, words[1], invocation)


def run(sock: socket.socket, program: str, invocation: Invocation) -> None:
    """Serve on ``sock``; from within the jail the caller's process is not seen, so its program was handed on."""
    helper.linux_names()
    helper.configure(invocation)
    pid, uid, gid = peer.credentials(sock)
    verdict = helper.verdict_of(helper.load_context(invocation.context))
    if verdict.means is not confinement.Means.JAIL:
        raise Refused(f"context {invocation.context} is not one for a jail")
    helper.serve(sock, peer.Caller(pid, uid, gid, program), invocation.context, verdict)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Refused, OSError) as e:
        sys.exit(f"beastack-privsep-helper: {e}")
