"""Names that pfctl(8) prints where a number was given: protocols(5), services(5), ICMP types and codes.

Protocols and services are the host's /etc files as FreeBSD ships them, ICMP is pfctl's own table
(sbin/pfctl/pfctl_parser.c). A name that is not here is asked of the machine, and otherwise unknown: a rule that cannot
be read is a rule that is not as it should be.
"""

import socket

_PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "st2": 5, "tcp": 6, "cbt": 7, "egp": 8, "igp": 9, "pup": 12,
    "udp": 17, "hmp": 20, "xns-idp": 22, "rdp": 27, "iso-tp4": 29, "dccp": 33, "xtp": 36, "ddp": 37, "idpr-cmtp": 38,
    "ipv6": 41, "ipv6-route": 43, "ipv6-frag": 44, "idrp": 45, "rsvp": 46, "gre": 47, "dsr": 48, "esp": 50, "ah": 51,
    "narp": 54, "mobile": 55, "skip": 57, "ipv6-icmp": 58, "icmp6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "cphb": 71,
    "rspf": 73, "iso-ip": 80, "vmtp": 81, "vines": 83, "ttp": 84, "eigrp": 88, "ospf": 89, "ax.25": 93, "ipip": 94,
    "etherip": 97, "encap": 98, "pim": 103, "ipcomp": 108, "carp": 112, "vrrp": 112, "l2tp": 115, "stp": 118,
    "isis": 124, "sctp": 132, "fc": 133, "mobility-header": 135, "udplite": 136, "mpls-in-ip": 137, "manet": 138,
    "hip": 139, "shim6": 140, "wesp": 141, "rohc": 142, "pfsync": 240,
}  # fmt: skip
_SERVICES = {
    "ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "time": 37, "domain": 53, "bootps": 67,
    "bootpc": 68, "tftp": 69, "http": 80, "kerberos-sec": 88, "pop3": 110, "sunrpc": 111, "auth": 113, "ntp": 123,
    "netbios-ns": 137, "netbios-dgm": 138, "netbios-ssn": 139, "imap": 143, "snmp": 161, "snmptrap": 162, "bgp": 179,
    "ldap": 389, "https": 443, "microsoft-ds": 445, "isakmp": 500, "shell": 514, "syslog": 514,
    "dhcpv6-client": 546, "dhcpv6-server": 547, "ldaps": 636, "imaps": 993, "pop3s": 995, "nfsd": 2049, "mysql": 3306,
    "rdp": 3389, "vxlan": 4789, "sip": 5060, "postgresql": 5432, "rfb": 5900, "http-alt": 8080,
}  # fmt: skip
_ICMP = {
    "echoreq": 8, "echorep": 0, "unreach": 3, "squench": 4, "redir": 5, "althost": 6, "routeradv": 9, "routersol": 10,
    "timex": 11, "paramprob": 12, "timereq": 13, "timerep": 14, "inforeq": 15, "inforep": 16, "maskreq": 17,
    "maskrep": 18, "trace": 30, "dataconv": 31, "mobredir": 32, "ipv6-where": 33, "ipv6-here": 34, "mobregreq": 35,
    "mobregrep": 36, "skip": 39, "photuris": 40,
}  # fmt: skip
_ICMP6 = {
    "unreach": 1, "toobig": 2, "timex": 3, "paramprob": 4, "echoreq": 128, "echorep": 129, "groupqry": 130,
    "listqry": 130, "grouprep": 131, "listenrep": 131, "groupterm": 132, "listendone": 132, "routersol": 133,
    "routeradv": 134, "neighbrsol": 135, "neighbradv": 136, "redir": 137, "routrrenum": 138, "wrureq": 139,
    "fqdnreq": 139, "niqry": 139, "wrurep": 140, "fqdnrep": 140, "nirep": 140, "mtraceresp": 200, "mtrace": 201,
}  # fmt: skip
_CODES: dict[int, dict[int, tuple[str, ...]]] = {
    4: {
        3: (
            "net-unr", "host-unr", "proto-unr", "port-unr", "needfrag", "srcfail", "net-unk", "host-unk", "isolate",
            "net-prohib", "host-prohib", "net-tos", "host-tos", "filter-prohib", "host-preced", "cutoff-preced",
        ),
        5: ("redir-net", "redir-host", "redir-tos-net", "redir-tos-host"),
        9: ("normal-adv",),
        11: ("transit", "reassemb"),
        12: ("badhead", "optmiss", "badlen"),
        40: ("unknown-ind", "auth-fail", "decrypt-fail"),
    },
    6: {
        1: ("noroute-unr", "admin-unr", "notnbr-unr", "addr-unr", "port-unr"),
        3: ("transit", "reassemb"),
        4: ("badhead", "nxthdr"),
        137: ("redironlink", "redirrouter"),
    },
}  # fmt: skip
_EXTRA_CODES = {(4, 9, "common-adv"): 16, (6, 1, "beyond-unr"): 2}


class UnknownName(ValueError):
    """A name in a listing that stands for no number known here."""


def protocol(text: str) -> int:
    """A protocol's number. Raises UnknownName."""
    if text.isdecimal():
        return int(text)
    known = _PROTOCOLS.get(text)
    if known is not None:
        return known
    try:
        return socket.getprotobyname(text)
    except OSError as e:
        raise UnknownName(f"protocol {text}") from e


def port(text: str) -> int:
    """A port's number. Raises UnknownName."""
    if text.isdecimal():
        return int(text)
    known = _SERVICES.get(text)
    if known is not None:
        return known
    try:
        return socket.getservbyname(text)
    except OSError as e:
        raise UnknownName(f"service {text}") from e


def icmp_type(text: str, family: int) -> int:
    """An ICMP (family 4) or ICMPv6 (6) type's number. Raises UnknownName."""
    if text.isdecimal():
        return int(text)
    known = (_ICMP6 if family == 6 else _ICMP).get(text)
    if known is None:
        raise UnknownName(f"ICMP type {text} of IPv{family}")
    return known


def icmp_code(text: str, kind: int, family: int) -> int:
    """The number of a code of ICMP type ``kind``. Raises UnknownName."""
    if text.isdecimal():
        return int(text)
    names = _CODES[family].get(kind, ())
    if text in names:
        return names.index(text)
    try:
        return _EXTRA_CODES[family, kind, text]
    except KeyError as e:
        raise UnknownName(f"code {text} of ICMP type {kind} of IPv{family}") from e
