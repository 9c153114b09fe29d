"""Owns the sysctl tree: plain values kept here, and those that live in a network stack or are computed."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beastack.sim.engine.vnet import Vnet

RELEASE = "15.1-RELEASE-p1"
VERSION = "FreeBSD 15.1-RELEASE-p1 releng/15.1-n283562-96841ea08dcf GENERIC"

_BRIDGE = {
    "ipfw": "0",
    "member_ifaddrs": "1",
    "log_mac_flap": "1",
    "allow_llz_overlap": "0",
    "inherit_mac": "0",
    "log_stp": "0",
    "pfil_local_phys": "0",
    "pfil_member": "0",
    "ipfw_arp": "0",
    "pfil_bridge": "0",
    "pfil_onlyip": "1",
}
_PF = {
    "default_to_drop": "0",
    "filter_local": "0",
    "rule_tag_hashsize": "128",
    "request_maxcount": "65535",
    "udpendpoint_hashsize": "32768",
    "source_nodes_hashsize": "32768",
    "states_hashsize": "131072",
}
_WRITABLE = {f"net.link.bridge.{name}" for name in _BRIDGE} | {
    "net.link.tap.up_on_open",
    "net.link.tap.user_open",
    "kern.maxfiles",
    "net.inet.tcp.blackhole",
    "net.inet.udp.blackhole",
}
# FreeBSD's name -> Linux's file below /proc/sys, one for each network stack
_PER_VNET = {
    "net.inet.ip.forwarding": "net/ipv4/ip_forward",
    "net.inet.ip.redirect": "net/ipv4/conf/all/send_redirects",
    "net.inet6.ip6.forwarding": "net/ipv6/conf/all/forwarding",
}


def _meminfo(key: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def _boot_time() -> str:
    seconds = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    whole = int(seconds)
    return f"{{ sec = {whole}, usec = {int((seconds - whole) * 1e6)} }} {time.ctime(whole)}"


def _cp_time() -> str:
    user, nice, system, idle, _wait, irq, softirq = (
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return f"{user} {nice} {system} {irq + softirq} {idle}"


_COMPUTED: dict[str, Callable[[], str]] = {
    "hw.ncpu": lambda: str(os.cpu_count() or 1),
    "kern.smp.cpus": lambda: str(os.cpu_count() or 1),
    "kern.smp.cores": lambda: str(os.cpu_count() or 1),
    "kern.smp.threads_per_core": lambda: "1",
    "hw.model": _model,
    "hw.physmem": lambda: str(_meminfo("MemTotal")),
    "hw.realmem": lambda: str(_meminfo("MemTotal")),
    "hw.usermem": lambda: str(_meminfo("MemAvailable")),
    "kern.boottime": _boot_time,
    "kern.cp_time": _cp_time,
    "vm.loadavg": lambda: "{{ {:.2f} {:.2f} {:.2f} }}".format(*os.getloadavg()),
    "vm.stats.vm.v_page_size": lambda: "4096",
    "vm.stats.vm.v_page_count": lambda: str(_meminfo("MemTotal") // 4096),
    "vm.stats.vm.v_free_count": lambda: str(_meminfo("MemFree") // 4096),
    "vm.stats.vm.v_inactive_count": lambda: str(_meminfo("Inactive") // 4096),
    "vm.stats.vm.v_active_count": lambda: str(_meminfo("Active") // 4096),
    "vm.stats.vm.v_laundry_count": lambda: "0",
    "vm.stats.vm.v_cache_count": lambda: "0",
    "vm.stats.vm.v_wire_count": lambda: str(
        (_meminfo("MemTotal") - _meminfo("MemFree") - _meminfo("Active") - _meminfo("Inactive")) // 4096
    ),
    "vm.swap_total": lambda: str(_meminfo("SwapTotal")),
}


# What loader.conf(5) may set, as patterns: read-only afterwards
TUNABLES = {
    "kern.racct.enable": r"[01]",
    "pptdevs": r"\d{1,3}/\d{1,2}/[0-7]( \d{1,3}/\d{1,2}/[0-7])*",  # kenv(1) only
}


@dataclass
class Sysctls:
    """`pfil_member` and `pfil_onlyip` are kept apart as they are read for every frame."""

    hostuuid: str = "00000000-0000-0000-0000-000000000000"
    hostname: Callable[["Vnet"], str] = lambda _vnet: ""
    modules: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    dynamic: Callable[[], dict[str, str]] = dict
    pfil_member: bool = False
    pfil_onlyip: bool = True

    def __post_init__(self) -> None:
        self.values = {
            "kern.ostype": "FreeBSD",
            "kern.osrelease": RELEASE,
            "kern.osrevision": "199506",
            "kern.version": VERSION,
            "kern.osreldate": "1501000",
            "kern.hostuuid": self.hostuuid,
            # GENERIC: compiled in and switched off
            "kern.racct.enable": "0",
            "kern.maxfiles": "1048576",
            "kern.maxproc": "8028",
            "kern.features.vimage": "1",
            "security.jail.jailed": "0",
            "security.jail.vnet": "0",
            "hw.machine": "amd64",
            "hw.machine_arch": "amd64",
            "hw.pagesize": "4096",
            "hw.vmm.vmx.initialized": "1",
            "kern.vm_guest": "none",
            **{f"net.link.bridge.{name}": value for name, value in _BRIDGE.items()},
            "net.link.tap.up_on_open": "0",
            "net.link.tap.user_open": "0",
            "net.inet.tcp.blackhole": "0",
            "net.inet.udp.blackhole": "0",
            "net.inet6.ip6.accept_rtadv": "0",
            **{f"net.pf.{name}": value for name, value in _PF.items()},
        }

    def names(self) -> list[str]:
        return [*self.values, *_COMPUTED, *_PER_VNET, *self.dynamic(), "kern.hostname"]

    def read(self, vnet: "Vnet", name: str) -> str | None:
        if name == "kern.hostname":
            return self.hostname(vnet)
        if name.startswith("security.jail.") and name in self.values:
            return "1" if vnet.jail is not None else "0"
        if name in _PER_VNET:
            return vnet.read(_PER_VNET[name])
        if name in _COMPUTED:
            return _COMPUTED[name]()
        if name.startswith("hw.vmm.") and "vmm" not in self.modules:
            return None
        if name.startswith("net.pf.") and "pf" not in self.modules:
            return None
        if name.startswith("net.link.vxlan."):
            return self.dynamic().get(name)
        return self.values.get(name)

    def writable(self, name: str) -> bool:
        return name in _WRITABLE or name in _PER_VNET

    def write(self, vnet: "Vnet", name: str, value: str) -> None:
        if name in _PER_VNET:
            vnet.write(_PER_VNET[name], value)
            return
        if name == "net.link.bridge.ipfw" and value != "0" and self.values[name] == "0":
            # the kernel turns pfil off, so that ipfw does not see a packet twice
            for reset in ("pfil_member", "pfil_bridge", "pfil_onlyip"):
                self.values[f"net.link.bridge.{reset}"] = "0"
        self.values[name] = value
        self.pfil_member = self.values["net.link.bridge.pfil_member"] != "0"
        self.pfil_onlyip = self.values["net.link.bridge.pfil_onlyip"] != "0"
