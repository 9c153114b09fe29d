"""Where the privileged side keeps what its daemons read, and what several entry points ask about it."""

import pwd
import threading
from pathlib import Path

from oslo_config import cfg

from beastack.privsep import conf, trust
from beastack.privsep.checks import Refused

# Seconds in which a daemon must have opened its sockets and gone into the background.
START_LIMIT = 30.0
SYSLOG = (Path("/var/run/log"), Path("/dev/log"))

# Some networks or routers share one: their number does not grow with the names that a caller thinks up.
_LOCKS = tuple(threading.Lock() for _ in range(64))


def lock(owner_id: str) -> threading.Lock:
    """The lock of a network's or router's daemons."""
    return _LOCKS[hash(owner_id) % len(_LOCKS)]


def configured(name: str) -> Path:
    """A path of [beastack]; raises Refused when it is not set."""
    value = getattr(conf.register(cfg.CONF), name)
    if not value or not Path(value).is_absolute():
        raise Refused(f"[beastack] {name} = {value or ''}: an absolute path must be configured")
    return Path(value)


def own_folder() -> Path:
    """Root's folder of configurations and pid files."""
    return trust.own_folder(configured("proxy_path"), 0o711)


def syslog() -> Path | None:
    """Syslog's socket, None without one."""
    return next((p for p in SYSLOG if p.is_socket()), None)


def socket_owner(socket: Path) -> str:
    """The name of the user whose socket it is, or will be: its folder's, before the agent listens. Raises Refused."""
    try:
        uid = (socket if socket.is_socket() else socket.parent).lstat().st_uid
        return pwd.getpwuid(uid).pw_name
    except (FileNotFoundError, KeyError):
        raise Refused(f"{socket}: neither it nor its folder is there, or its owner has no name") from None
