"""The trust line between the services and root.

On this side (nova-compute, the agents) code is reached by tenants' requests and may be compromised. On the other a
daemon runs as root, started by ``beastack-privsep-helper`` (oslo.privsep's ROOTWRAP client), and does only what the
functions marked ``@entry`` below ``beastack.privsep`` do: a verb with arguments of plain types, each checked there by
``checks``. No entry takes a command line or a path to run.

Imported only by driver modules, never before nova's own monkey_patch has run (oslo_privsep imports eventlet).
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from oslo_privsep import capabilities, priv_context

P = ParamSpec("P")
R = TypeVar("R")

# What the entries need in Linux's terms; on FreeBSD that is root on the host (confinement.TABLE), and the boundary is
# the list of entries.
default = priv_context.PrivContext(
    "beastack",
    cfg_section="beastack_privileged",
    pypath=f"{__name__}.default",
    capabilities=[capabilities.CAP_NET_ADMIN, capabilities.CAP_SYS_ADMIN],
)

# Every entry by its full name: what the daemon calls, and what the tests read.
entries: dict[str, Callable[..., object]] = {}
# Those that change nothing; they are asked often.
queries: set[str] = set()


def entry(function: Callable[P, R]) -> Callable[P, R]:
    """Make ``function`` callable across the boundary. The daemon records each call (``audit``)."""
    entries[f"{function.__module__}.{function.__name__}"] = function
    wrapped: Callable[P, R] = default.entrypoint(function)
    return wrapped


def query(function: Callable[P, R]) -> Callable[P, R]:
    """The same for a function that changes nothing: the service's own log shows it for debugging only."""
    queries.add(f"{function.__module__}.{function.__name__}")
    return entry(function)
