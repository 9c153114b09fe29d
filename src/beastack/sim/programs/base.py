"""Owns what a program of FreeBSD's is asked and what it answers."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beastack.sim.engine.jails import Jail
    from beastack.sim.engine.state import State
    from beastack.sim.engine.vnet import Vnet


@dataclass
class Request:
    """One run of a program: who calls, from which network stack and jail, with what."""

    state: "State"
    program: str
    argv: list[str]
    stdin: str
    pid: int
    vnet: "Vnet"
    jail: "Jail | None"
    files: dict[str, str] = field(default_factory=dict)


@dataclass
class Reply:
    """What the caller prints and exits with, or what it becomes (`exec`)."""

    out: str = ""
    err: str = ""
    rc: int = 0
    exec: list[str] | None = None
