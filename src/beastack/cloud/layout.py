"""Where one cloud keeps its things, and the addresses it uses (docs/contracts.md)."""

import fcntl
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from beastack.cloud.errors import CloudError

DEFAULT_BASE = Path("/var/db/beastack" if sys.platform.startswith("freebsd") else "/var/lib/beastack")
LOCKS = Path("/run/beastack" if Path("/run").is_dir() else "/var/run/beastack")
MOST_CLOUDS = 250
LONGEST_FOLDER = 70
PASSWORDS = ("admin", "demo", "service", "database", "rabbit", "metadata", "cookie")


@dataclass(frozen=True)
class Layout:
    """One cloud's folders, index and addresses."""

    name: str
    run_dir: Path
    index: int

    @property
    def address(self) -> str:
        """Where the control plane's services listen."""
        return f"100.64.{self.index}.1"

    @property
    def management_bridge(self) -> str:
        """Linux bridge of the management network."""
        return f"bsm{self.index}"

    @property
    def provider_bridge(self) -> str:
        """Linux bridge of the provider network."""
        return f"bsp{self.index}"

    @property
    def provider_prefix(self) -> str:
        """First three bytes of the provider network, a /24."""
        return f"198.18.{self.index}"

    def physical_bridge(self, number: int) -> str:
        """Linux bridge of the n-th physical network, from 0, which is the provider network."""
        return f"{self.provider_bridge}x{number}" if number else self.provider_bridge

    def physical_gateway(self, number: int) -> str:
        """Address and prefix length of this machine on the n-th physical network, up to 3."""
        return f"198.19.{self.index}.{64 * number + 1}/26" if number else f"{self.provider_prefix}.1/24"

    def host_address(self, number: int) -> str:
        """Management address of the n-th compute host, from 1."""
        return f"100.64.{self.index}.{10 + number}"

    def host_dir(self, host: str) -> Path:
        """A simulated host's folder."""
        return self.run_dir / "hosts" / host

    def etc(self, service: str) -> Path:
        """Configuration folder of a service."""
        return self.run_dir / "etc" / service

    def data(self, service: str) -> Path:
        """Data of a service, kept by ``down --keep-data``."""
        return self.run_dir / "data" / service

    def log(self, service: str) -> Path:
        """Log file of a service."""
        return self.run_dir / "log" / f"{service}.log"

    @property
    def credentials(self) -> Path:
        """Folder of clouds.yaml, openrc and the key."""
        return self.run_dir / "credentials"


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


@contextmanager
def _locked(locks: Path) -> Iterator[Path]:
    locks.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (locks / "clouds.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield locks / "clouds.json"


def _claims(register: Path) -> dict[str, int]:
    """Which run folder has which index; folders that are gone have none."""
    try:
        found = json.loads(register.read_text())
        return {folder: int(n) for folder, n in found.items() if Path(folder).is_dir()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError) as e:
        words = f"{register}, which index each cloud of this machine has, is damaged: {e}"
        raise CloudError(words, remedy="remove it when no cloud runs, then ./beastack up") from e


def _free_index(taken: set[int], wish: int) -> int:
    """``wish`` where it is free, else the lowest free one."""
    if wish not in taken:
        return wish
    free = next((n for n in range(MOST_CLOUDS) if n not in taken), None)
    if free is None:
        raise CloudError(f"{MOST_CLOUDS} clouds are here already", remedy="./beastack down --name NAME")
    return free


def _recorded(folder: Path) -> int | None:
    """The index in a folder's cloud.json; None when it has none. CloudError when it cannot be read."""
    state = folder / "cloud.json"
    try:
        return int(json.loads(state.read_text())["index"])
    except FileNotFoundError:
        return None
    except PermissionError as e:
        raise CloudError(f"{state} is root's", remedy="run the same command as root (su, sudo or doas)") from e
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise CloudError(f"{state} is damaged: {e}", remedy=f"move {folder} away, then ./beastack up") from e


def claim(name: str, run_dir: Path | None = None, locks: Path = LOCKS) -> Layout:
    """The cloud's layout, with folders made and an index that no other cloud of this machine has."""
    folder = (run_dir or DEFAULT_BASE / name).absolute()
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        # sun_path has 104 bytes on FreeBSD, and below the folder is run/metadata-HOST.sock
        raise CloudError(f"{folder} is too long for the sockets in it", remedy=f"at most {LONGEST_FOLDER} bytes")
    try:
        for sub in ("etc", "log", "run/services", "data", "credentials", "hosts"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        (folder / "credentials").chmod(0o700)
        with _locked(locks) as register:
            claims = _claims(register)
            index = claims.get(str(folder))
            if index is None:
                index = _free_index(set(claims.values()), _recorded(folder) or 0)
            claims[str(folder)] = index
            write_private(register, json.dumps(claims))
        write_private(folder / "cloud.json", json.dumps({"name": name, "index": index}))
    except OSError as e:
        raise CloudError(f"cannot prepare {folder}: {e.strerror}", remedy="free disk space, or use --run-dir") from e
    return Layout(name, folder, index)


def existing(name: str, run_dir: Path | None = None) -> Layout | None:
    """The layout of a cloud that was made before, or None."""
    folder = (run_dir or DEFAULT_BASE / name).absolute()
    index = _recorded(folder)
    return None if index is None else Layout(name, folder, index)


def release(layout: Layout, locks: Path = LOCKS) -> None:
    """Give the index back."""
    with _locked(locks) as register:
        claims = _claims(register)
        claims.pop(str(layout.run_dir), None)
        write_private(register, json.dumps(claims))


def passwords(layout: Layout) -> dict[str, str]:
    """The cloud's secrets, made once; mode 0600."""
    path = layout.data("secrets.json")
    if path.exists():
        found: dict[str, str] = json.loads(path.read_text())
        if set(found) == set(PASSWORDS):
            return found
    made = {name: secrets.token_urlsafe(18) for name in PASSWORDS}
    write_private(path, json.dumps(made))
    return made
