"""Where a domain's console and screen are, out of the XML that libvirt gives back (docs/formatdomain.rst)."""

import xml.etree.ElementTree as ET
from ipaddress import ip_address


class NoPlace(Exception):
    """The domain has no such device, or one that cannot be used from here."""


def console(xml: str) -> str:
    """The viewer's side of the first serial console: nmdm(4)'s slave. Raises NoPlace."""
    for serial in _root(xml).iterfind("./devices/serial"):
        source = serial.find("source")
        if serial.get("type") == "nmdm" and source is not None and source.get("slave"):
            return str(source.get("slave"))
    raise NoPlace("the domain has no serial console on nmdm(4)")


def screen(xml: str) -> tuple[str, int]:
    """Address and port of the VNC screen, on this host only: it has no password. Raises NoPlace."""
    for graphics in _root(xml).iterfind("./devices/graphics[@type='vnc']"):
        listen = graphics.find("listen")
        address = str((graphics if listen is None else listen).get("address") or graphics.get("listen") or "")
        port = str(graphics.get("port") or "")
        if not port.isdecimal() or not 0 < int(port) <= 65535:
            raise NoPlace("the screen has no port; a stopped domain has none unless it was written down")
        try:
            local = ip_address(address).is_loopback
        except ValueError:
            local = False
        if not local:
            raise NoPlace(f"the screen listens on {address or 'every address'}, not on this host alone")
        return address, int(port)
    raise NoPlace("the domain has no VNC screen")


def _root(xml: str) -> ET.Element:
    try:
        return ET.fromstring(xml)  # noqa: S314 libvirt's daemon is root's own, and wrote it
    except ET.ParseError as error:
        raise NoPlace(f"libvirt's XML cannot be read: {error}") from error
