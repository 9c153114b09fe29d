"""Reading and writing a machine description as JSON (`machine.json`), strictly.

The text may come from a process with fewer rights than its reader, so nothing is guessed: every key is known
and present, every value has exactly its type (true is no 1), no key stands twice, the text is small. What
passes is checked again by the dataclasses of `bhyve.py` (bhyve(8)).
Version 1, which guests that were started by an older
Beastack have, knows neither further consoles nor channels, and a frame buffer on TCP only; version 2 knows no slots of
disks, passed through devices, pins and limits; version 3 knows cards of one kind. Standard library only.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TypeVar

from beastack.freebsd.bhyve import (
    BadMachine,
    Bootrom,
    Cd,
    Channel,
    Console,
    Disk,
    DiskKind,
    FrameBuffer,
    Limit,
    Machine,
    Nic,
    NicKind,
    NmdmConsole,
    PciDevice,
    Pin,
    SocketFrameBuffer,
    TcpConsole,
    Topology,
)

VERSION = 4
MAX_BYTES = 64 * 1024

T = TypeVar("T")


def dump(machine: Machine) -> str:
    """The description as text that `load` reads back to the same machine."""
    values = asdict(machine)
    values["console"] = _kind_of(machine.console, values["console"])
    pairs = zip(machine.more_consoles, values["more_consoles"], strict=True)
    values["more_consoles"] = [_kind_of(console, value) for console, value in pairs]
    if machine.frame_buffer is not None:
        kind = "tcp" if isinstance(machine.frame_buffer, FrameBuffer) else "unix"
        values["frame_buffer"] = {"kind": kind, **values["frame_buffer"]}
    for part in (*values["disks"], *values["nics"]):
        part["kind"] = part["kind"].value
    return json.dumps({"version": VERSION, **values}, indent=1, sort_keys=True)


def _kind_of(console: Console, value: dict[str, object]) -> dict[str, object]:
    return {"kind": "tcp" if isinstance(console, TcpConsole) else "nmdm", **value}


def load(text: str) -> Machine:
    """Read a description, or raise BadMachine with the place and the reason."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise BadMachine(f"machine: more than {MAX_BYTES} bytes")
    try:
        value = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadMachine(f"machine: not JSON: {error}") from error
    return _whole(value, "machine", _machine)


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadMachine("machine: one key stands twice")
    return found


def _no_constant(name: str) -> object:
    raise BadMachine(f"machine: {name} is no number")


class _Reader:
    """Takes known keys out of one JSON object; `done` complains about what is left."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise BadMachine(f"{where}: an object was expected")
        self._left: dict[str, object] = dict(value)
        self._where = where

    def take(self, key: str, kind: type[T]) -> T:
        """The value of a key, which has exactly this type."""
        if key not in self._left:
            raise BadMachine(f"{self._where}: {key!r} is missing")
        value = self._left.pop(key)
        if type(value) is not kind:
            raise BadMachine(f"{self._where}: {key!r} is no {kind.__name__}")
        return value

    def maybe(self, key: str, kind: type[T]) -> T | None:
        """The same for a key whose value may be null (the key itself must stand there)."""
        if key in self._left and self._left[key] is None:
            del self._left[key]
            return None
        return self.take(key, kind)

    def done(self) -> None:
        """Nothing unknown may be left."""
        if self._left:
            raise BadMachine(f"{self._where}: unknown {', '.join(sorted(map(repr, self._left)))}")


def _whole(value: object, where: str, build: Callable[[_Reader], T]) -> T:
    reader = _Reader(value, where)
    built = build(reader)
    reader.done()
    return built


def _each(values: list[object], where: str, build: Callable[[_Reader], T]) -> tuple[T, ...]:
    return tuple(_whole(value, f"{where}[{index}]", build) for index, value in enumerate(values))


def _optional(value: dict[str, object] | None, where: str, build: Callable[[_Reader], T]) -> T | None:
    return None if value is None else _whole(value, where, build)


def _machine(reader: _Reader) -> Machine:
    version = reader.take("version", int)
    if version not in range(1, VERSION + 1):
        raise BadMachine(f"machine: the version is not from 1 to {VERSION}")
    screen = _screen if version > 1 else _frame_buffer
    return Machine(
        name=reader.take("name", str),
        uuid=reader.take("uuid", str),
        topology=_whole(reader.take("topology", dict), "topology", _topology),
        memory_mib=reader.take("memory_mib", int),
        bootrom=_whole(reader.take("bootrom", dict), "bootrom", _bootrom),
        console=_whole(reader.take("console", dict), "console", _console),
        disks=_each(reader.take("disks", list), "disks", _disk if version > 2 else _disk_without_slot),
        nics=_each(reader.take("nics", list), "nics", _nic if version > 3 else _nic_without_kind),
        cd=_optional(reader.maybe("cd", dict), "cd", lambda part: Cd(part.take("path", str))),
        frame_buffer=_optional(reader.maybe("frame_buffer", dict), "frame_buffer", screen),
        random=reader.take("random", bool),
        wired=reader.take("wired", bool),
        more_consoles=_each(reader.take("more_consoles", list), "more_consoles", _console) if version > 1 else (),
        channels=_each(reader.take("channels", list), "channels", _channel) if version > 1 else (),
        passthrough=_each(reader.take("passthrough", list), "passthrough", _device) if version > 2 else (),
        pins=_each(reader.take("pins", list), "pins", _pin) if version > 2 else (),
        limits=_each(reader.take("limits", list), "limits", _limit) if version > 2 else (),
    )


def _topology(reader: _Reader) -> Topology:
    return Topology(reader.take("sockets", int), reader.take("cores", int), reader.take("threads", int))


def _bootrom(reader: _Reader) -> Bootrom:
    return Bootrom(reader.take("code", str), reader.maybe("variables", str))


def _console(reader: _Reader) -> Console:
    kind = reader.take("kind", str)
    if kind == "tcp":
        return TcpConsole(port=reader.take("port", int), address=reader.take("address", str))
    if kind == "nmdm":
        return NmdmConsole(device=reader.take("device", str))
    raise BadMachine(f"console: {kind!r} is not known")


def _disk(reader: _Reader) -> Disk:
    return replace(_disk_without_slot(reader), slot=reader.maybe("slot", int))


def _device(reader: _Reader) -> PciDevice:
    return PciDevice(reader.take("bus", int), reader.take("slot", int), reader.take("function", int))


def _pin(reader: _Reader) -> Pin:
    return Pin(reader.take("vcpu", int), reader.take("cpu", int))


def _limit(reader: _Reader) -> Limit:
    return Limit(reader.take("resource", str), reader.take("amount", int))


def _disk_without_slot(reader: _Reader) -> Disk:
    kind = reader.take("kind", str)
    if kind not in {known.value for known in DiskKind}:
        raise BadMachine(f"disks: {kind!r} is not known")
    return Disk(reader.take("path", str), DiskKind(kind), reader.take("read_only", bool))


def _nic(reader: _Reader) -> Nic:
    kind = reader.take("kind", str)
    if kind not in {known.value for known in NicKind}:
        raise BadMachine(f"nics: {kind!r} is not known")
    return replace(_nic_without_kind(reader), kind=NicKind(kind))


def _nic_without_kind(reader: _Reader) -> Nic:
    return Nic(reader.take("tap", str), reader.take("mac", str), reader.maybe("mtu", int))


def _channel(reader: _Reader) -> Channel:
    return Channel(reader.take("name", str), reader.take("path", str))


def _screen(reader: _Reader) -> FrameBuffer | SocketFrameBuffer:
    kind = reader.take("kind", str)
    if kind == "tcp":
        return _frame_buffer(reader)
    if kind == "unix":
        return SocketFrameBuffer(
            path=reader.take("path", str),
            width=reader.take("width", int),
            height=reader.take("height", int),
            wait=reader.take("wait", bool),
        )
    raise BadMachine(f"frame buffer: {kind!r} is not known")


def _frame_buffer(reader: _Reader) -> FrameBuffer:
    return FrameBuffer(
        port=reader.take("port", int),
        address=reader.take("address", str),
        width=reader.take("width", int),
        height=reader.take("height", int),
        wait=reader.take("wait", bool),
    )
