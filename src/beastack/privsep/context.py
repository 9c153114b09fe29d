"""The trust line between the services and root.

On this side (nova-compute, the agents) code is reached by tenants' requests and may be compromised. On the other a
daemon runs as root, started by ``beastack-privsep-helper`` (oslo.privsep's ROOTWRAP client), and does only what the
functions marked ``@entry`` below ``beastack.privsep`` do: a verb with arguments of plain types, each checked there by
``checks``. No entry takes a command line or a path to run.

Imported only by driver modules, never before nova's own monkey_patch has run (oslo_privsep imports eventlet).
"""

import functools
import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from oslo_privsep import priv_context

LOG = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

# FreeBSD has no capabilities: the boundary is the list of entries, so none are asked for (shared/plugpoints.md, 1).
default = priv_context.PrivContext(
    "beastack",
    cfg_section="beastack_privileged",
    pypath=f"{__name__}.default",
    capabilities=[],
)

# Every entry by its full name, for the test that reads their signatures.
entries: dict[str, Callable[..., object]] = {}


def entry(function: Callable[P, R]) -> Callable[P, R]:
    """Make ``function`` callable across the boundary; each call is logged with its arguments and duration there."""
    return _entry(function, logging.INFO)


def query(function: Callable[P, R]) -> Callable[P, R]:
    """The same for a function that changes nothing: it is asked often, so it is logged for debugging only."""
    return _entry(function, logging.DEBUG)


def _entry(function: Callable[P, R], level: int) -> Callable[P, R]:
    @functools.wraps(function)
    def logged(*args: P.args, **kwargs: P.kwargs) -> R:
        began = time.monotonic()
        shown = ", ".join([*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())])[:500]
        try:
            result = function(*args, **kwargs)
        except Exception as e:
            LOG.warning("%s(%s): %s after %.3f s", function.__name__, shown, e, time.monotonic() - began)
            raise
        LOG.log(level, "%s(%s): %.3f s", function.__name__, shown, time.monotonic() - began)
        return result

    entries[f"{function.__module__}.{function.__name__}"] = function
    wrapped: Callable[P, R] = default.entrypoint(logged)
    return wrapped
