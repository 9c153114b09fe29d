"""The privileged side's own record of each call: who asked, for what, with which end, in which time.

oslo.privsep sends every log record to the client, which may be the compromised one. So each record also goes to
syslog (facility auth), or to a file that only root writes, and the caller stands in it as the kernel named it.

Of calls of our own the arguments are shown, shortened; none of them is a secret, and the test that lists the entries
refuses a parameter that is named like one. Of upstream's calls only the types are shown: commands and file contents
with passwords cross there.
"""

import logging
import logging.handlers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from beastack.privsep.peer import Caller

LOG = logging.getLogger("beastack.privsep.audit")
SYSLOG = (Path("/var/run/log"), Path("/dev/log"))
_FORMAT = logging.Formatter("beastack-privsep[%(process)d]: %(message)s")
_DATED = logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s")
_MOST_ITEMS = 4
_MOST_TEXT = 80
_MOST = 600
SECRET = ("password", "secret", "token", "credential", "private", "key")


def is_secret(name: str) -> bool:
    """Whether a parameter's name says that its value is one."""
    return any(word in name.lower() for word in SECRET)


def _value(value: object) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= _MOST_TEXT else value[:_MOST_TEXT] + "…")
    if isinstance(value, list | tuple | dict) and len(value) > _MOST_ITEMS:
        return f"<{len(value)} items>"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_value(k)}: {_named(str(k), v)}' for k, v in value.items())}}}"
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return repr(value)[:_MOST_TEXT]


def _named(name: str, value: object) -> str:
    return "***" if is_secret(name) else _value(value)


def shown(args: Sequence[object], kwargs: Mapping[str, object], values: bool) -> str:
    """A call's arguments on one line; with ``values`` False only what kind of thing each is."""
    if values:
        words = [*map(_value, args), *(f"{k!s}={_named(str(k), v)}" for k, v in kwargs.items())]
    else:
        words = [*(type(a).__name__ for a in args), *(f"{k!s}={type(v).__name__}" for k, v in kwargs.items())]
    return one_line(", ".join(words))


def one_line(text: str, most: int = _MOST) -> str:
    """``text`` without what could end a line of the log or begin another, at most ``most`` characters."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= most else plain[:most] + "…"


def open_log(configured: str) -> None:
    """Begin the record: in the file ``configured``, or in syslog when that listens. Raises OSError for a file that
    cannot be written: without its record the privileged side does not start.
    """
    handler: logging.Handler
    if configured:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        os.close(os.open(configured, flags, 0o600))
        # newsyslog(8) may move the file away
        handler = logging.handlers.WatchedFileHandler(configured, encoding="ascii", errors="backslashreplace")
        handler.setFormatter(_DATED)
    else:
        socket = next((p for p in SYSLOG if p.is_socket()), None)
        if socket is None:
            LOG.warning("syslog does not listen and [beastack] audit_log is not set: calls are logged by the service")
            return
        handler = logging.handlers.SysLogHandler(str(socket), logging.handlers.SysLogHandler.LOG_AUTH)
        handler.setFormatter(_FORMAT)
    LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG)


def record(level: int, caller: Caller, call: str, end: str, seconds: float) -> None:
    """One call's line."""
    LOG.log(level, "%s called %s: %s after %.3f s", caller, one_line(call), one_line(end, 300), seconds)
