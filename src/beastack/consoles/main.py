"""`beastack-consoles`: the console service of one host. It needs no rights but to read nova's folder of guests.

It reads nova.conf of the host's nova-compute (docs/consoles.md); its words go to standard error.
"""

import asyncio
import logging
import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from oslo_config import cfg

from beastack.consoles import conf, security, ticket
from beastack.consoles.door import Door
from beastack.privsep import guest_conf

LOG = logging.getLogger(__name__)
_BACKLOG = 128
_THREADS = 3
_DESCRIPTORS = 4096  # two for each connection (door.MAX_CONNECTIONS), and some


async def _serve(door: Door, address: str, port: int) -> None:
    server = await asyncio.start_server(door.connection, address, port, backlog=_BACKLOG, limit=1 << 16)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # few: each thread of glibc's keeps memory of its own
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    LOG.info("serving consoles on %s port %d, %s TLS", address, port, "with" if door.tls else "without")
    async with server:
        await stop.wait()


def _door(options: cfg.ConfigOpts) -> Door:
    """From the configuration. ValueError, GuestFileError, OSError with the cause."""
    guests, group = guest_conf.register(options), conf.register(options)
    if not guests.instances_path:
        raise ValueError("[beastack] instances_path is not set")
    instances = Path(guests.instances_path)
    files = conf.tls_files(group)
    return Door(
        instances=instances,
        key=ticket.host_key(conf.ticket_key(group, instances)),
        proxies=conf.proxies(group),
        tls=security.tls_context(*files) if files else None,
    )


def main() -> int:
    """The console script."""
    # force: what forked us may have had other plans for its log
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=form, force=True)
    options = cfg.ConfigOpts()
    options(sys.argv[1:], project="beastack-consoles", default_config_files=[])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, most) if most > 0 else _DESCRIPTORS, most))
        door = _door(options)
        group = options[conf.GROUP]
        asyncio.run(_serve(door, group.console_address, group.console_port))
    except Exception as error:  # noqa: BLE001 - the service's end, with its cause
        print(f"beastack-consoles: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
