"""What a service is: data, written by ``up`` and read by the supervisor."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["program", "main", "wsgi"]
Family = Literal["", "base", "nova", "neutron"]


@dataclass(frozen=True)
class ServiceSpec:
    """One service.

    ``program`` executes ``argv``. ``main`` calls ``target`` (``module:function``) with ``argv`` as sys.argv, ``wsgi``
    serves ``target`` (``module:application``) on ``listen``, after ``prepare`` (``module:function``) was called once
    the application is there; both are forked from ``family``'s preloaded process.
    ``host`` names a simulated host's ``engine.json``, into whose namespaces the service is put. ``grace`` is how many
    seconds it gets between SIGTERM and SIGKILL.
    """

    name: str
    kind: Kind
    log: str
    argv: list[str]
    family: Family = ""
    target: str = ""
    prepare: str = ""
    listen: tuple[str, int] | None = None
    threads: int = 4
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    host: str | None = None
    grace: float = 5.0

    def write(self, path: Path) -> None:
        """Write it as JSON, mode 0600 (the environment may hold a secret), in one step."""
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file)
        new.replace(path)

    @classmethod
    def read(cls, path: Path) -> "ServiceSpec":
        """Read what ``write`` wrote. Raises ValueError, TypeError, OSError."""
        data = json.loads(path.read_text())
        if data.get("listen") is not None:
            data["listen"] = tuple(data["listen"])
        return cls(**data)
