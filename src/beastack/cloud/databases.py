"""The databases of a cloud's MariaDB: made, and made anew where the first making of a schema was cut off."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql

OF_PROJECT = {
    "keystone": ("keystone",),
    "glance": ("glance",),
    "placement": ("placement",),
    "nova": ("nova_api", "nova_cell0", "nova_cell1"),
    "neutron": ("neutron",),
}
USER = "'beastack'@'localhost'"


@contextmanager
def _cursor(socket: Path) -> Iterator[Any]:
    """As root, whom the server knows by the socket."""
    server = pymysql.connect(unix_socket=str(socket), user="root", connect_timeout=5)
    with server as connection, connection.cursor() as cursor:
        yield cursor


def ensure(socket: Path, password: str) -> bool:
    """Every database and the services' user; False while the server does not answer."""
    try:
        with _cursor(socket) as cursor:
            for names in OF_PROJECT.values():
                for name in names:
                    cursor.execute(f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4")
            cursor.execute(f"CREATE USER IF NOT EXISTS {USER} IDENTIFIED BY %s", (password,))
            cursor.execute(f"ALTER USER {USER} IDENTIFIED BY %s", (password,))
            cursor.execute(f"GRANT ALL ON *.* TO {USER}")
    except pymysql.err.OperationalError:
        return False
    return True


def empty(socket: Path, project: str) -> None:
    """Drop a project's databases and make them anew, empty."""
    with _cursor(socket) as cursor:
        for name in OF_PROJECT[project]:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
