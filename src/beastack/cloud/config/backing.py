"""RabbitMQ, MariaDB and memcached: configuration and command lines."""

from beastack.cloud.config.common import PORTS
from beastack.cloud.layout import Layout
from beastack.cloud.supervisor.spec import ServiceSpec


def rabbitmq_conf(layout: Layout, secrets: dict[str, str]) -> str:
    """rabbitmq.conf"""
    lines = (
        f"listeners.tcp.1 = {layout.address}:{PORTS['rabbitmq']}",
        f"distribution.listener.interface = {layout.address}",
        f"distribution.listener.port_range.min = {PORTS['rabbitmq-dist']}",
        f"distribution.listener.port_range.max = {PORTS['rabbitmq-dist']}",
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
        argv=["/usr/lib/rabbitmq/bin/rabbitmq-server"],
        cwd=str(home),
        grace=15.0,
        env={
            "HOME": str(home),
            "RABBITMQ_NODENAME": f"beastack@{layout.address}",
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_NODE_IP_ADDRESS": layout.address,
            "RABBITMQ_NODE_PORT": str(PORTS["rabbitmq"]),
            "RABBITMQ_DIST_PORT": str(PORTS["rabbitmq-dist"]),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(layout.etc("rabbitmq") / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(layout.etc("rabbitmq") / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home),
            "RABBITMQ_LOG_BASE": str(layout.run_dir / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(layout.run_dir / "run" / "rabbitmq.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none +S 2:2",
            "ERL_EPMD_ADDRESS": layout.address,
            "ERL_EPMD_PORT": str(PORTS["epmd"]),
        },
    )


def mariadb_options(layout: Layout) -> list[str]:
    """Options of mariadb-install-db and mariadbd alike; durability is not this cloud's aim."""
    home = layout.data("mariadb")
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
            "/usr/sbin/mariadbd",
            *mariadb_options(layout),
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
        "/usr/bin/memcached",
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
