"""Owns how a simulated host comes to life: cables, namespaces, engine, and the wait until it answers."""

import hashlib
import ipaddress
import json
import os
import re
import shutil
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from beastack.sim.engine.sysctls import TUNABLES
from beastack.sim.host import lab, record
from beastack.sim.host.stop import remove_leftovers
from beastack.sim.linux.commands import CommandFailed, ip
from beastack.sim.linux.namespaces import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, unshare
from beastack.sim.linux.tuntap import open_tap
from beastack.sim.openvswitch import package
from beastack.sim.programs.registry import CLIENT_SIDE, LAUNCHED, installed

START_LIMIT = 15.0


class StartFailed(Exception):
    """The host did not come up; the text says why and where to read more."""


@dataclass(frozen=True)
class Nic:
    """`name=BRIDGE[:CIDR]`: with an address a kernel veth, without one a cable of the engine's."""

    name: str
    bridge: str
    address: str | None

    @classmethod
    def parse(cls, text: str) -> "Nic":
        match = re.fullmatch(r"([a-z]+[0-9]+)=([^:=/]{1,15})(?::(.+))?", text)
        if match is None:
            raise StartFailed(f"--nic {text}: NAME=BRIDGE or NAME=BRIDGE:ADDRESS/LENGTH is wanted")
        name, bridge, address = match.groups()
        if address is not None:
            try:
                address = str(ipaddress.IPv4Interface(address))
            except ValueError as error:
                raise StartFailed(f"--nic {text}: {error}") from error
        return cls(name, bridge, address)


def parse_tunables(words: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` as in loader.conf(5); StartFailed for what has no meaning here."""
    found = {name: value for name, _, value in (word.partition("=") for word in words)}
    for name, value in found.items():
        if name not in TUNABLES or not re.fullmatch(TUNABLES[name], value):
            raise StartFailed(f"--tunable {name}={value}: known are {TUNABLES}")
    return found


def start(directory: Path, name: str, nics: list[Nic], route: str | None, tunables: dict[str, str]) -> None:
    """Idempotent: a host that answers is left as it is."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o711)
    directory = directory.resolve()
    with record.locked(directory):
        known = record.read(directory)
        if known is not None and known.alive():
            if _answers(directory):
                return
            # alive with guests in it, perhaps: ending it is for a person to decide
            raise StartFailed(f"the engine of {known.name} (pid {known.pid}) lives but does not answer: stop it first")
        remove_leftovers(directory, known)
        for nic in nics:
            if not lab.is_bridge(nic.bridge):
                raise StartFailed(f"network {nic.bridge} of {nic.name} does not exist: run `net up` first")
        _install_programs(directory)
        try:
            _launch(directory, name, nics, route, tunables)
        except (StartFailed, CommandFailed, OSError):
            remove_leftovers(directory, record.read(directory))
            raise


def _mac(directory: Path, nic: str) -> str:
    digest = hashlib.sha256(f"{directory}/{nic}/veth".encode()).digest()
    return bytes((0x58, 0x9C, 0xFC, *digest[:3])).hex()


def _launch(directory: Path, name: str, nics: list[Nic], route: str | None, tunables: dict[str, str]) -> None:
    go_read, go_write = os.pipe()
    keep = [go_read]
    described = []
    for number, nic in enumerate(nics):
        cable = None
        if nic.address is None:
            tap = record.interface_name(directory, "bst", number)
            cable = open_tap(tap, offload=True)
            keep.append(cable)
            ip("link", "set", "dev", tap, "master", nic.bridge, "up")
        described.append({"name": nic.name, "address": nic.address, "cable": cable, "mac": _mac(directory, nic.name)})
    config: dict[str, object] = {
        "name": name,
        "directory": str(directory),
        "nics": described,
        "route": route,
        "tunables": tunables,
        "go": go_read,
    }
    try:
        pid = _spawn(directory, config, keep)
        written = record.Record(pid, psutil.Process(pid).create_time(), name)
        record.write(directory, written)
        for number, nic in enumerate(nics):
            if nic.address is not None:
                _veth(directory, number, nic, pid)
        os.write(go_write, b"!")
    finally:
        for fd in (*keep, go_write):
            os.close(fd)
    _await_answer(directory, written)


def _veth(directory: Path, number: int, nic: Nic, pid: int) -> None:
    ours, theirs = (record.interface_name(directory, prefix, number) for prefix in ("bsv", "bsw"))
    raw = bytes.fromhex(_mac(directory, nic.name)).hex(":")
    ip("link", "add", "name", ours, "type", "veth", "peer", "name", theirs, "address", raw)
    ip("link", "set", "dev", theirs, "netns", str(pid), "name", nic.name)
    ip("link", "set", "dev", ours, "master", nic.bridge, "up")


def _spawn(directory: Path, config: dict[str, object], keep: list[int]) -> int:
    """The engine as PID 1 of new namespaces; returns its number in ours.

    Forked twice: the first child makes the namespaces and tells the number, the second is PID 1. Between fork and
    exec only system calls are made.
    """
    arguments = [sys.executable, "-m", "beastack.sim.engine.main", json.dumps(config)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONHOME", None)
    log = os.open(directory / "engine.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    told, tell = os.pipe()
    first = os.fork()
    if first == 0:
        try:
            os.setsid()
            unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNET)
            second = os.fork()
            if second == 0:
                os.dup2(null, 0)
                os.dup2(log, 1)
                os.dup2(log, 2)
                for fd in keep:
                    os.set_inheritable(fd, True)
                os.chdir("/")
                os.umask(0o022)
                os.execve(arguments[0], arguments, environment)  # noqa: S606
            os.write(tell, str(second).encode())
            os._exit(0)
        except OSError as error:
            os.write(tell, f"error {error}".encode())
            os._exit(1)
    os.close(tell)
    os.close(log)
    os.close(null)
    text = os.read(told, 4096).decode()
    os.close(told)
    os.waitpid(first, 0)
    if not text.isdigit():
        raise StartFailed(f"no namespaces for the host: {text or 'the launcher died'}")
    return int(text)


def _answers(directory: Path) -> bool:
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(5.0)
            sock.connect(f"/proc/self/fd/{folder}/engine.sock")
            sock.sendall(b'{"prog": "@ping", "argv": []}\n')
            return sock.recv(4096).startswith(b'{"out"')
    except OSError:
        return False
    finally:
        os.close(folder)


def _await_answer(directory: Path, engine: record.Record) -> None:
    deadline = time.monotonic() + START_LIMIT
    while not _answers(directory):
        if not engine.alive():
            raise StartFailed(f"the engine of {engine.name} ended at once: {_last_words(directory)}")
        if time.monotonic() > deadline:
            raise StartFailed(
                f"the engine of {engine.name} did not answer in {START_LIMIT:.0f} s: {_last_words(directory)}"
            )
        time.sleep(0.02)  # its socket appears at an unknown moment; there is nothing to wait on


def _last_words(directory: Path) -> str:
    path = directory / "engine.log"
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return f"{lines[-1] if lines else 'it said nothing'} (log: {path})"


def _install_programs(directory: Path) -> None:
    """DIR/bin: links by FreeBSD's program names to scripts that need nothing but an interpreter."""
    folder = directory / "bin"
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o755)
    source = Path(__file__).resolve().parent.parent / "client"
    interpreter = os.path.realpath(sys.executable)
    for script in sorted({"client", *CLIENT_SIDE.values()}):
        text = (source / f"{script}.py").read_text()
        path = folder / f".{script}"
        path.write_text(f"#!{interpreter} -ISs\n{text}")
        path.chmod(0o755)
    for program, module in LAUNCHED.items():
        path = folder / program
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -m beastack.sim.{module} "$@"\n')
        path.chmod(0o755)
    base = package.root()
    if base is not None:
        for program in package.PROGRAMS:
            if program != "ovs-vswitchd":
                path = folder / program
                path.write_text(f'#!/bin/sh\nexec {" ".join(package.command(program, base))} "$@"\n')
                path.chmod(0o755)
    for program in installed():
        if program not in LAUNCHED and (program != "ovs-vswitchd" or base is not None):
            (folder / program).symlink_to(f".{CLIENT_SIDE.get(program, 'client')}")
