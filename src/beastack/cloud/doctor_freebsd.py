"""What a FreeBSD machine can do as a host of guests: its release, its processor, and its bhyve's own opinion.

Guests' command lines are put before the real bhyve with ``-o config.dump=1``, which reads them and starts nothing.
"""

from beastack.cloud.finding import Finding
from beastack.freebsd import bhyve, bhyve_read, kld, release, sysctl
from beastack.freebsd.bhyve import BadMachine, Capabilities, Machine
from beastack.freebsd.errors import HostError, NoSuchSysctl
from beastack.freebsd.host import Host

OLDEST = (14, 3)
FIRMWARE = "/usr/local/share/uefi-firmware/BHYVE_UEFI.fd"


def check_release(host: Host) -> Finding:
    """The release: what it lacks is told, and what is too old to be supported by FreeBSD itself."""
    try:
        running = release.read(host)
        can = bhyve_read.capabilities(host)
    except HostError as e:
        return Finding("FreeBSD", "fail", str(e), "see the command that is named")
    if (running.major, running.minor) < OLDEST:
        return Finding("FreeBSD", "warn", str(running), f"use {OLDEST[0]}.{OLDEST[1]} or later")
    older = [] if can.tcp_console else ["consoles by nmdm(4)", "screens on loopback ports"]
    if running.major < 15:
        older.append("a guest's own VLAN tags are not stopped by bridges")
    return Finding("FreeBSD", "ok", f"{running}{': ' + ', '.join(older) if older else ''}")


def check_processor(host: Host) -> Finding:
    """Whether vmm(4) can run guests here, and what a virtual machine below us has to leave out."""
    try:
        model, below = sysctl.read(host, "hw.model"), sysctl.read(host, "kern.vm_guest")
        loaded = kld.is_loaded(host, "vmm")
        usable = not loaded or _vmm_works(host)
    except HostError as e:
        return Finding("processor", "fail", str(e), "see the command that is named")
    if not usable:
        remedy = "switch VT-x or AMD-V on in the firmware, or nested virtualisation on in the machine below"
        return Finding("processor", "fail", f"{model}: vmm(4) cannot use it", remedy)
    if below == "kvm" and "Intel" in model:
        return Finding(
            "processor",
            "warn",
            f"{model}, itself a guest of KVM: bhyve hangs with virtual interrupt delivery or posted interrupts",
            "on the machine below leave both out of the virtual processor (QEMU: -cpu host,vmx-apicv-vid=off,"
            "vmx-posted-intr=off), and start this one anew",
        )
    nested = "" if below == "none" else f", itself a guest ({below}): its guests are slower"
    untried = "" if loaded else "; vmm(4) is not loaded yet: nova-compute loads it"
    return Finding("processor", "ok", f"{model}{nested}{untried}")


def _vmm_works(host: Host) -> bool:
    """Each of Intel's and AMD's half of vmm(4) says whether it was initialized; a kernel may have one of them."""
    for name in ("hw.vmm.vmx.initialized", "hw.vmm.svm.features"):
        try:
            if sysctl.read_int(host, name) != 0:
                return True
        except NoSuchSysctl:
            continue
    return False


def check_bhyve(host: Host) -> Finding:
    """Whether this release's bhyve understands the command lines that nova-compute makes."""
    try:
        can = bhyve_read.capabilities(host)
        for machine in samples(can):
            bhyve_read.try_machine(host, machine, can)
    except (HostError, BadMachine) as e:
        return Finding(
            "bhyve", "fail", f"does not take a guest as we write it: {e}", "report it with `bhyve -v`'s words"
        )
    if not can.options:
        return Finding("bhyve", "ok", "before 14.0 it cannot be asked without starting a guest")
    return Finding("bhyve", "ok", "takes guests as we write them")


def samples(can: Capabilities) -> list[Machine]:
    """Machines that have each part which this release can have; none where bhyve cannot be asked (before 14.0)."""
    if not can.options:
        return []
    variables = "/nonexistent/vars.fd" if can.variables else None
    console: bhyve.Console = bhyve.TcpConsole(7001) if can.tcp_console else bhyve.NmdmConsole("/dev/nmdm0A")
    screen = bhyve.SocketFrameBuffer("/nonexistent/screen") if can.socket_frame_buffer else bhyve.FrameBuffer(5900)
    small = Machine(
        name="beastack-doctor",
        uuid="6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11",
        topology=bhyve.Topology(1, 1, 1),
        memory_mib=256,
        bootrom=bhyve.Bootrom(FIRMWARE),
        console=console,
    )
    kinds = tuple(bhyve.DiskKind)
    large = Machine(
        name="beastack-doctor",
        uuid=small.uuid,
        topology=bhyve.Topology(1, 2, 2),
        memory_mib=4096,
        bootrom=bhyve.Bootrom(FIRMWARE, variables),
        console=console,
        disks=tuple(bhyve.Disk(f"/nonexistent/disk{n}", kind) for n, kind in enumerate(kinds)),
        nics=(bhyve.Nic("tap0", "fa:16:3e:00:00:01", 1450), bhyve.Nic("tap1", "fa:16:3e:00:00:02")),
        cd=bhyve.Cd("/nonexistent/cd.iso"),
        frame_buffer=screen,
        wired=True,
    )
    return [small, large]


def checks(host: Host) -> list[Finding]:
    """All of them."""
    return [check_release(host), check_processor(host), check_bhyve(host)]
