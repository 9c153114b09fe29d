"""Owns kldload(8), kldstat(8) and kldunload(8): which kernel modules count as loaded."""

from pathlib import Path

from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.programs.base import Reply, Request

BUILT_IN = frozenset({"if_tuntap", "if_lo", "if_vlan", "if_vtnet", "if_em", "zfs", "ether", "tuntap"})
# file -> the modules in it
FILES: dict[str, tuple[str, ...]] = {
    "pf": ("pf",),
    "pflog": ("pflog",),
    "if_bridge": ("if_bridge", "bridgestp"),
    "bridgestp": ("bridgestp",),
    "if_epair": ("if_epair",),
    "if_vxlan": ("if_vxlan",),
    "if_gif": ("if_gif",),
    "if_gre": ("if_gre",),
    "if_vmnet": ("if_vmnet",),
    "vmm": ("vmm",),
    "nmdm": ("nmdm",),
    "netgraph": ("netgraph",),
    "ng_ether": ("ng_ether",),
    "ng_bpf": ("ng_bpf",),
    "ng_car": ("ng_car",),
    "ng_socket": ("ng_socket",),
    "ng_bridge": ("ng_bridge",),
    "ng_eiface": ("ng_eiface",),
    "ipfw": ("ipfw",),
    "mac_do": ("mac_do",),
}

# modules that make a node in /dev; it is only there to be seen
_NODES = {"vmm": "vmmctl", "pf": "pf"}


def _file(name: str) -> str:
    return name.rsplit("/", 1)[-1].removesuffix(".ko")


def kldload(request: Request) -> Reply:
    quiet, rest = False, list(request.argv)
    while rest and rest[0].startswith("-"):
        for letter in rest.pop(0)[1:]:
            match letter:
                case "n":
                    quiet = True
                case "q":
                    continue
                case _:
                    raise not_simulated("kldload", f"-{letter}")
    if not rest:
        return Reply("", "usage: kldload [-nqv] file ...\n", 1)
    loaded, reply = request.state.sysctls.modules, Reply()
    for word in rest:
        name = _file(word)
        if request.jail is not None:
            reason = "Operation not permitted"
        elif name in loaded or name in BUILT_IN:
            if quiet:
                continue
            reason = "module already loaded or in kernel"
        elif name not in FILES:
            reason = "No such file or directory"
        else:
            _load(request, name)
            continue
        reply.err += f"kldload: can't load {word}: {reason}\n"
        reply.rc = 1
    return reply


def _load(request: Request, name: str) -> None:
    loaded = request.state.sysctls.modules
    loaded.add(name)
    if name.startswith("ng_"):
        loaded.add("netgraph")
    if name in _NODES:
        Path("/dev", _NODES[name]).touch(0o600)


def kldunload(request: Request) -> Reply:
    rest = [word for word in request.argv if not word.startswith("-")]
    if any(word != "-f" for word in request.argv if word.startswith("-")) or not rest:
        raise not_simulated("kldunload", " ".join(request.argv))
    if request.jail is not None:
        raise Failed(f"kldunload: can't unload file: {'Operation not permitted'}")
    for word in rest:
        name = _file(word)
        if name not in request.state.sysctls.modules:
            raise Failed(f"kldunload: can't find file {word}")
        if name in ("pf", "netgraph", "ng_ether", "ng_bpf", "ng_car", "if_bridge", "if_epair"):
            raise Failed("kldunload: can't unload file: Device busy")
        request.state.sysctls.modules.discard(name)
        if name in _NODES:
            Path("/dev", _NODES[name]).unlink(missing_ok=True)
    return Reply()


def kldstat(request: Request) -> Reply:
    loaded = request.state.sysctls.modules
    quiet, module, file, rest = False, None, None, list(request.argv)
    while rest:
        word = rest.pop(0)
        match word:
            case "-q":
                quiet = True
            case "-m" if rest:
                module = rest.pop(0)
            case "-n" if rest:
                file = _file(rest.pop(0))
            case _:
                raise not_simulated("kldstat", word)
    files = sorted(loaded)
    if module is not None:
        present = module in BUILT_IN or any(module in FILES[name] for name in files)
        if not present:
            return Reply("", "" if quiet else f"kldstat: can't find module {module}: No such file or directory\n", 1)
        return Reply("" if quiet else f"Id  Refs Name\n  1    1 {module}\n")
    if file is not None and file not in loaded:
        return Reply("", "" if quiet else f"kldstat: can't find file {file}: No such file or directory\n", 1)
    if quiet:
        return Reply()
    shown = ["kernel", *(f"{name}.ko" for name in files)]
    out = "Id Refs Address                Size Name\n"
    for number, name in enumerate(shown, 1):
        if file is None or name == f"{file}.ko":
            address = 0xFFFFFFFF80200000 + (0x1F00000 if number > 1 else 0) + 0x30000 * (number - 1)
            out += f"{number:2d} {1 if number > 1 else len(shown):4d} 0x{address:016x} {0x25000:8x} {name}\n"
    return Reply(out)
