"""Upstream's daemon (oslo_privsep.daemon.Daemon) with FreeBSD's means in the place of Linux capabilities.

It differs in three things. It asks before it does: a call must be one of the context's entries that this service's
configuration allows; upstream would import whatever module the caller names first. It records each call with its
caller (``audit``). And it takes a bounded number of calls at a time, so that a caller can fill its own socket and no
more.
"""

import logging
import os
import pwd
import resource
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

from oslo_privsep import comm, daemon, priv_context

from beastack.privsep import audit, confine, context
from beastack.privsep.checks import Refused
from beastack.privsep.confinement import Means, Verdict
from beastack.privsep.peer import Caller

LOG = logging.getLogger(__name__)
# Calls that wait or run; neutron's agents have some tens at most.
MOST_CALLS = 256


class BoundedPool(futures.ThreadPoolExecutor):
    """A thread pool whose ``submit`` waits while ``most`` calls are under way: the socket is read no further."""

    def __init__(self, threads: int, most: int) -> None:
        super().__init__(threads)
        self._room = threading.BoundedSemaphore(most)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "futures.Future[Any]":
        """See Executor.submit."""
        self._room.acquire()
        try:
            future = super().submit(fn, *args, **kwargs)
        except BaseException:
            self._room.release()
            raise
        future.add_done_callback(lambda _done: self._room.release())
        return future


class FreeBSDDaemon(daemon.Daemon):
    """The request loop for one caller, confined as ``verdict`` says."""

    thread_pool: futures.ThreadPoolExecutor

    def __init__(
        self,
        channel: comm.ServerChannel,
        privileged: priv_context.PrivContext,
        caller: Caller,
        verdict: Verdict,
        allowed: frozenset[str],
    ) -> None:
        super().__init__(channel, privileged)
        self.caller, self.verdict, self.allowed = caller, verdict, allowed
        self.thread_pool.shutdown()
        self.thread_pool = BoundedPool(privileged.conf.thread_pool_size, MOST_CALLS)

    def _drop_privs(self) -> None:
        # upstream sets umask 0 just before; a file made by root for root is nobody else's business
        os.umask(0o077)
        # no core file of a process that may hold what is not for its owner
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self.user is not None or self.group is not None:
            self._become_configured()
        elif self.verdict.means is Means.USER:
            confine.become(self.caller.uid)
        LOG.info(
            "privsep daemon of %s for %s runs with %s, uid %d gid %d",
            self.context.prefix,
            self.caller,
            self.verdict.means.value if self.verdict.means is not Means.USER else "the rights of a user",
            os.getuid(),
            os.getgid(),
        )

    def _become_configured(self) -> None:
        os.setgroups([])
        if self.group is not None:
            daemon.setgid(self.group)
        elif self.user is not None:
            name = str(self.user)
            os.setgid((pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)).pw_gid)
        if self.user is not None:
            daemon.setuid(self.user)

    def _process_cmd(self, msgid: str, cmd: comm.Message, *args: Any) -> tuple[Any, ...]:
        """See upstream's; a call that is not allowed is answered with Refused and runs nothing."""
        if cmd != comm.Message.CALL:
            return super()._process_cmd(msgid, cmd, *args)
        began = time.monotonic()
        name, level = repr(args[:1]), logging.WARNING
        try:
            name, positional, named = args
            check_call(self.context, name, self.allowed)
            level = logging.DEBUG if name in context.queries else logging.INFO
            call = f"{name}({audit.shown(positional, named, values=self.context is context.default)})"
        except Exception as e:  # noqa: BLE001 — whatever is wrong with a call, it is answered and not run
            refused = e if isinstance(e, Refused) else Refused(f"not a call: {type(e).__name__}")
            reply: tuple[Any, ...] = (comm.Message.ERR.value, f"{Refused.__module__}.Refused", refused.args, "")
            call, level = str(name), logging.WARNING
        else:
            reply = super()._process_cmd(msgid, cmd, name, positional, named)
        end = "done"
        if reply[0] != comm.Message.RET.value:
            level = max(level, logging.WARNING)
            end = str(reply[1]).rpartition(".")[2]
            # what upstream's functions say in an error may hold what they were given
            if self.context is context.default or end == "Refused":
                end += f" {', '.join(map(str, reply[2]))}"
        audit.record(level, self.caller, call, end, time.monotonic() - began)
        return reply


def check_call(privileged: priv_context.PrivContext, name: object, allowed: frozenset[str]) -> None:
    """``name`` is an entry point that the context has and, for ours, that the service may call. Raises Refused.

    ``allowed`` holds modules and functions below beastack.privsep.
    """
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise Refused("call: not the name of a function")
    if not name.startswith(f"{privileged.prefix}."):
        raise Refused(f"call: {name[:200]} is not below {privileged.prefix}")
    if privileged is not context.default:
        return
    if name not in context.entries:
        raise Refused(f"call: {name[:200]} is no entry point")
    short = name.removeprefix("beastack.privsep.")
    if short not in allowed and short.partition(".")[0] not in allowed:
        raise Refused(f"call: {short} is not among this service's entries: [beastack] privsep_entries")
