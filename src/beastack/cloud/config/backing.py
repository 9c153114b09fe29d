"""RabbitMQ, MariaDB and memcached: configuration and command lines."""

from pathlib import Path

from beastack.cloud.config.common import PORTS
from beastack.cloud.layout import Layout
from beastack.cloud.platform import programs
from beastack.cloud.supervisor.spec import ServiceSpec


def epmd_port(layout: Layout) -> int:
    """Erlang's port mapper, one a cloud: whatever its address, it takes the loop-back address too (epmd(1))."""
    return 14369 + layout.index


def distribution_port(layout: Layout) -> int:
    """Erlang's distribution, one a cloud: RabbitMQ ends when any address of the machine has it."""
    return 26000 + layout.index


def erlang_arguments(layout: Layout) -> list[str]:
    """No busy waiting, two schedulers, and no word to other nodes but on the cloud's own address (kernel(6))."""
    tuple_of_bytes = "{" + layout.address.replace(".", ",") + "}"
    return [
        *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "+S", "2:2"),
        *("-kernel", "inet_dist_use_interface", tuple_of_bytes),
    ]


def rabbitmq_conf(layout: Layout, secrets: dict[str, str]) -> str:
    """rabbitmq.conf"""
    lines = (
        f"listeners.tcp.1 = {layout.address}:{PORTS['rabbitmq']}",
        "default_user = beastack",
        f"default_pass = {secrets['rabbit']}",
        "loopback_users = none",
        "log.console = true",
        "log.console.level = warning",
        "vm_memory_high_watermark.absolute = 400MB",
        "disk_free_limit.absolute = 50MB",
    )
    return "\n".join(lines) + "\n"


def rabbitmq(layout: Layout) -> ServiceSpec:
    """The broker: the server program itself, not the wrapper that changes user."""
    home = layout.data("rabbitmq")
    return ServiceSpec(
        name="rabbitmq",
        kind="program",
        log=str(layout.log("rabbitmq")),
        argv=[programs.program("rabbitmq-server")],
        cwd=str(home),
        grace=15.0,
        env={
            "HOME": str(home),
            "RABBITMQ_NODENAME": f"beastack@{layout.address}",
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_NODE_IP_ADDRESS": layout.address,
            "RABBITMQ_NODE_PORT": str(PORTS["rabbitmq"]),
            "RABBITMQ_DIST_PORT": str(distribution_port(layout)),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(layout.etc("rabbitmq") / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(layout.etc("rabbitmq") / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home),
            "RABBITMQ_LOG_BASE": str(layout.run_dir / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(layout.run_dir / "run" / "rabbitmq.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(erlang_arguments(layout)),
            "ERL_EPMD_ADDRESS": layout.address,
            "ERL_EPMD_PORT": str(epmd_port(layout)),
        },
    )


def mariadb_options(home: Path) -> list[str]:
    """Options of mariadb-install-db and mariadbd alike; durability is not this cloud's aim."""
    return [
        "--no-defaults",
        f"--datadir={home}",
        "--innodb-flush-method=nosync",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=32M",
        "--skip-log-bin",
        "--performance-schema=OFF",
        "--skip-name-resolve",
    ]


def mariadb(layout: Layout) -> ServiceSpec:
    """The database, on a unix socket only."""
    run = layout.run_dir / "run"
    return ServiceSpec(
        name="mariadb",
        kind="program",
        log=str(layout.log("mariadb")),
        argv=[
            programs.program("mariadbd"),
            *mariadb_options(layout.data("mariadb")),
            "--user=root",
            "--skip-networking",
            f"--socket={run / 'mariadb.sock'}",
            f"--pid-file={run / 'mariadb.pid'}",
            "--max-connections=400",
            "--character-set-server=utf8mb4",
            "--key-buffer-size=1M",
            "--aria-pagecache-buffer-size=4M",
            "--thread-cache-size=16",
            "--skip-ssl",
        ],
        cwd=str(layout.data("mariadb")),
        grace=20.0,
    )


def memcached(layout: Layout) -> ServiceSpec:
    """The token cache."""
    argv = [
        programs.program("memcached"),
        "-u",
        "root",
        "-l",
        layout.address,
        "-p",
        str(PORTS["memcached"]),
        "-m",
        "32",
        "-t",
        "2",
    ]
    return ServiceSpec(name="memcached", kind="program", log=str(layout.log("memcached")), argv=argv)
