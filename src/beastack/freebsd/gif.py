"""gif(4) tunnels: Ethernet over IP (EtherIP) where they are members of a bridge (ifconfig(8); transcript 07)."""

import ipaddress

from beastack.freebsd import clone
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_lines import Tunnel


def ensure_gif(host: Host, name: str, local: str, remote: str, description: str, mtu: int = 1500) -> None:
    """A tunnel between two addresses of one family, up, with ``mtu`` bytes inside.

    Raises ValueError for addresses that cannot be a tunnel's, NotOurs.
    """
    ends = ipaddress.ip_address(local), ipaddress.ip_address(remote)
    if ends[0].version != ends[1].version or ends[0] == ends[1] or any(end.is_multicast for end in ends):
        raise ValueError(f"no tunnel between {local} and {remote}")
    wanted = Tunnel(str(ends[0]), str(ends[1]))
    with clone.making(host, "gif", name, description) as interface:
        if interface.tunnel != wanted:
            family = ["inet6"] if ends[0].version == 6 else []
            host.run(["ifconfig", name, *family, "tunnel", wanted.local, wanted.remote])
        if interface.mtu != mtu:
            host.run(["ifconfig", name, "mtu", str(mtu)])
        if not interface.is_up:
            host.run(["ifconfig", name, "up"])
