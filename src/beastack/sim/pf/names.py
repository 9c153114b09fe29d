"""Owns the names pf(4) prints and reads: protocols, services, ICMP types and codes (protocols(5), services(5)).

Only the well-known services are here; FreeBSD's own list is longer. Whoever reads a listing compares numbers.
"""

_PROTOCOLS = """
0 ip; 1 icmp; 2 igmp; 3 ggp; 4 ipencap; 5 st2; 6 tcp; 7 cbt; 8 egp; 9 igp; 12 pup; 17 udp; 20 hmp; 22 xns-idp;
27 rdp; 29 iso-tp4; 33 dccp; 36 xtp; 37 ddp; 38 idpr-cmtp; 41 ipv6; 43 ipv6-route; 44 ipv6-frag; 45 idrp; 46 rsvp;
47 gre; 48 dsr; 50 esp; 51 ah; 54 narp; 55 mobile; 57 skip; 58 ipv6-icmp; 59 ipv6-nonxt; 60 ipv6-opts; 71 cphb;
73 rspf; 80 iso-ip; 81 vmtp; 83 vines; 84 ttp; 88 eigrp; 89 ospf; 93 ax.25; 94 ipip; 97 etherip; 98 encap; 103 pim;
108 ipcomp; 112 carp; 115 l2tp; 118 stp; 124 isis; 132 sctp; 133 fc; 135 mobility-header; 136 udplite;
137 mpls-in-ip; 138 manet; 139 hip; 140 shim6; 141 wesp; 142 rohc; 240 pfsync; 258 divert
"""
_PROTOCOL_ALIASES = {"icmp6": 58, "vrrp": 112, "ipip": 94, "ip6": 41, "hopopt": 0}

_BOTH = """
7 echo; 9 discard; 13 daytime; 17 qotd; 19 chargen; 20 ftp-data; 21 ftp; 22 ssh; 23 telnet; 25 smtp; 37 time; 42 name;
43 nicname; 49 tacacs; 53 domain; 67 bootps; 68 bootpc; 69 tftp; 70 gopher; 79 finger; 80 http; 88 kerberos-sec;
109 pop2; 110 pop3; 111 sunrpc; 113 auth; 119 nntp; 123 ntp; 135 loc-srv; 137 netbios-ns; 138 netbios-dgm;
139 netbios-ssn; 143 imap; 161 snmp; 162 snmptrap; 177 xdmcp; 179 bgp; 194 irc; 389 ldap; 427 svrloc; 443 https;
445 microsoft-ds; 464 kpasswd5; 500 isakmp; 546 dhcpv6-client; 547 dhcpv6-server; 554 rtsp; 631 ipp; 636 ldaps;
749 kerberos-adm; 853 domain-s; 873 rsync; 989 ftps-data; 990 ftps; 992 telnets; 993 imaps; 995 pop3s; 1080 socks;
1194 openvpn; 1433 ms-sql-s; 1434 ms-sql-m; 1521 ncube-lm; 1701 l2tp; 1723 pptp; 1812 radius; 1813 radius-acct;
2049 nfsd; 2379 etcd-client; 2380 etcd-server; 3260 iscsi-target; 3306 mysql; 3389 rdp; 3478 stun; 4369 epmd;
4500 sae-urn; 4789 vxlan; 5000 commplex-main; 5060 sip; 5061 sip-tls; 5222 xmpp-client; 5269 xmpp-server; 5353 mdns;
5432 postgresql; 5671 amqps; 5672 amqp; 5900 rfb; 6000 x11; 6379 redis; 6667 ircd; 8080 http-alt; 8443 pcsync-https;
9418 git; 11211 memcache; 27017 mongodb
"""
_TCP_ONLY = {512: "exec", 513: "login", 514: "shell", 515: "printer", 587: "submission", 465: "smtps"}
_UDP_ONLY = {512: "biff", 513: "who", 514: "syslog", 520: "router", 521: "ripng"}
_SERVICE_ALIASES = {"www": 80, "kerberos": 88, "nfs": 2049, "dns": 53, "mail": 25, "imap4": 143, "epmap": 135}

_ICMP = """
8 echoreq; 0 echorep; 3 unreach; 4 squench; 5 redir; 6 althost; 9 routeradv; 10 routersol; 11 timex; 12 paramprob;
13 timereq; 14 timerep; 15 inforeq; 16 inforep; 17 maskreq; 18 maskrep; 30 trace; 31 dataconv; 32 mobredir;
33 ipv6-where; 34 ipv6-here; 35 mobregreq; 36 mobregrep; 39 skip; 40 photuris
"""
_ICMP6 = """
1 unreach; 2 toobig; 3 timex; 4 paramprob; 128 echoreq; 129 echorep; 130 groupqry; 130 listqry; 131 grouprep;
131 listenrep; 132 groupterm; 132 listendone; 133 routersol; 134 routeradv; 135 neighbrsol; 136 neighbradv; 137 redir;
138 routrrenum; 139 wrureq; 140 wrurep; 139 fqdnreq; 140 fqdnrep; 139 niqry; 140 nirep; 200 mtraceresp; 201 mtrace
"""
_CODES4 = """
3 net-unr host-unr proto-unr port-unr needfrag srcfail net-unk host-unk isolate net-prohib host-prohib net-tos host-tos
filter-prohib host-preced cutoff-preced; 5 redir-net redir-host redir-tos-net redir-tos-host; 11 transit reassemb;
12 badhead optmiss badlen; 40 unknown-ind auth-fail decrypt-fail
"""
_CODES6 = """
1 noroute-unr admin-unr notnbr-unr|beyond-unr addr-unr port-unr; 3 transit reassemb; 4 badhead nxthdr;
137 redironlink redirrouter
"""

TCP_FLAGS = "FSRPAUEW"


def _pairs(text: str) -> list[tuple[int, str]]:
    return [(int(number), name) for number, name in (one.split() for one in text.split(";"))]


def _codes(text: str) -> dict[tuple[int, int], list[str]]:
    found: dict[tuple[int, int], list[str]] = {}
    for group in text.split(";"):
        kind, *names = group.split()
        for code, name in enumerate(names):
            found[int(kind), code] = name.split("|")
    return found


_NAME_OF_PROTOCOL = dict(_pairs(_PROTOCOLS))
_PROTOCOL_OF_NAME = {name: number for number, name in _NAME_OF_PROTOCOL.items()} | _PROTOCOL_ALIASES
_TCP_NAMES = dict(_pairs(_BOTH)) | _TCP_ONLY
_UDP_NAMES = dict(_pairs(_BOTH)) | _UDP_ONLY
_TCP_PORTS = _SERVICE_ALIASES | {name: port for port, name in _TCP_NAMES.items()}
_UDP_PORTS = _SERVICE_ALIASES | {name: port for port, name in _UDP_NAMES.items()}
_ICMP_NAMES: dict[int, dict[int, str]] = {4: {}, 6: {}}
_ICMP_TYPES: dict[int, dict[str, int]] = {4: {}, 6: {}}
for _family, _text in ((4, _ICMP), (6, _ICMP6)):
    for _number, _name in _pairs(_text):
        _ICMP_NAMES[_family].setdefault(_number, _name)
        _ICMP_TYPES[_family][_name] = _number
_ICMP_CODES = {4: _codes(_CODES4), 6: _codes(_CODES6)}


def protocol_name(number: int) -> str:
    """What pfctl prints for a protocol; the number itself where it knows no name."""
    return _NAME_OF_PROTOCOL.get(number, str(number))


def protocol_number(name: str) -> int | None:
    return _PROTOCOL_OF_NAME.get(name)


def service_name(port: int, protocol: int) -> str | None:
    """pfctl asks for the name in tcp for TCP, in udp for everything else."""
    return (_TCP_NAMES if protocol == 6 else _UDP_NAMES).get(port)


def service_port(name: str) -> int | None:
    found = _TCP_PORTS.get(name)
    return _UDP_PORTS.get(name) if found is None else found


def icmp_name(kind: int, family: int) -> str:
    return _ICMP_NAMES[6 if family == 6 else 4].get(kind, str(kind))


def icmp_number(name: str, family: int) -> int | None:
    return _ICMP_TYPES[6 if family == 6 else 4].get(name)


def icmp_code_name(kind: int, code: int, family: int) -> str:
    return _ICMP_CODES[6 if family == 6 else 4].get((kind, code), [str(code)])[0]


def icmp_code_number(kind: int, name: str, family: int) -> int | None:
    for (one, code), names in _ICMP_CODES[6 if family == 6 else 4].items():
        if one == kind and name in names:
            return code
    return None
