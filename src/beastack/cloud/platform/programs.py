"""Where the systems' packages put what a cloud runs by its full path: one table, Debian 12 and FreeBSD's pkg.

Sources: dpkg -L of the packages in ``packages``; FreeBSD's ports net/rabbitmq, databases/mariadb118-server,
databases/memcached, sysutils/edk2 (pkg-plist).
"""

import os
import sys
from pathlib import Path

# name -> Debian, FreeBSD
PROGRAMS = {
    # the server itself, not Debian's wrapper in /usr/sbin, which changes the user
    "rabbitmq-server": ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/local/sbin/rabbitmq-server"),
    "mariadbd": ("/usr/sbin/mariadbd", "/usr/local/libexec/mariadbd"),
    "mariadb-install-db": ("/usr/bin/mariadb-install-db", "/usr/local/bin/mariadb-install-db"),
    "memcached": ("/usr/bin/memcached", "/usr/local/bin/memcached"),
}
# Code and variables: Debian's OVMF (4 MiB, and the older 2 MiB), the port edk2-bhyve.
FIRMWARE = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/local/share/uefi-firmware/BHYVE_UEFI_CODE.fd", "/usr/local/share/uefi-firmware/BHYVE_UEFI_VARS.fd"),
)
# The group of root's files.
ROOT_GROUP = {"linux": "root", "freebsd": "wheel"}


def system(platform: str = sys.platform) -> str:
    """linux or freebsd; sys.platform carries FreeBSD's major version."""
    return "freebsd" if platform.startswith("freebsd") else "linux"


def program(name: str, platform: str = sys.platform, root: Path = Path("/")) -> str:
    """The program's path: this system's usual one, unless it is installed only where the other system has it."""
    usual = PROGRAMS[name] if system(platform) == "linux" else PROGRAMS[name][::-1]
    return next((path for path in usual if os.access(root / path.lstrip("/"), os.X_OK)), usual[0])


def firmware(platform: str = sys.platform, root: Path = Path("/")) -> tuple[str, str]:
    """Code and variables of the firmware that is installed; this system's usual one where none is."""
    usual = FIRMWARE if system(platform) == "linux" else FIRMWARE[::-1]
    return next((pair for pair in usual if (root / pair[0].lstrip("/")).exists()), usual[0])
