"""DHCP options that a tenant sets on a port (``extra_dhcp_opts``), before they are written into files of lines.

Neutron's API lets control characters through, in some options even line breaks, and the privileged side takes no file
with a control character in it. One port's option must not keep a network that tenants share from its leases: what is
not plain is left out and said, and the port keeps its other options.
"""

import re
from typing import Any

from oslo_log import log as logging

LOG = logging.getLogger(__name__)
# by name and by number (RFC 2132, 9.14); it becomes a field of the port's line of hosts
CLIENT_ID = ("client-id", "61")
LONGEST = 1024
# with the tags that a request must carry for it, as ironic's are: tag:!ipxe,bootfile-name
_NAME = re.compile(r"(?:tag:!?[0-9A-Za-z_-]+,)*[0-9A-Za-z_-]+")


def unsound(name: object, value: object) -> str | None:
    """Why an option cannot be written; None when it can. A value of None is an option that is switched off."""
    text = "" if value is None else value
    if not isinstance(text, str):
        return "its value is no text"
    if not text.isprintable():
        return "its value has control characters"
    if len(text) > LONGEST:
        return f"its value is longer than {LONGEST} characters"
    if _NAME.fullmatch(str(name)) is None:
        return "its name is neither a word nor a number, with tags before it or without"
    if str(name) in CLIENT_ID and "," in text:
        return "a client's id is one field of a line"
    return None


def keep_sound(ports: list[Any]) -> None:
    """Take what cannot be written from the ports' options."""
    for port in ports:
        given = getattr(port, "extra_dhcp_opts", None)
        if not given:
            continue
        kept = []
        for option in given:
            reason = unsound(option.opt_name, option.opt_value)
            if reason is None:
                kept.append(option)
            else:
                LOG.warning("Port %s: DHCP option %r is left out: %s", port.id, option.opt_name, reason)
        port.extra_dhcp_opts = kept
