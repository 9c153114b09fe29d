"""Owns sysctl(8): reading leaves and subtrees, setting, and the forms -n, -e, -q, -i."""

from beastack.sim.net.errors import not_simulated
from beastack.sim.programs.base import Reply, Request

# root in a vnet jail may change what belongs to its own network stack only
# what each network stack has of its own; tun(4)'s settings are the machine's
_PER_JAIL = ("net.inet.", "net.inet6.", "net.link.bridge.")


def run(request: Request) -> Reply:
    letters, rest = "", list(request.argv)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        letters += rest.pop(0)[1:]
    for letter in letters:
        if letter not in "neqia":
            raise not_simulated("sysctl", f"-{letter}")
    tree, reply = request.state.sysctls, Reply()
    if "a" in letters:
        rest = tree.names()
    if not rest:
        return Reply("", "usage: sysctl [-bdehiNnoqTtWx] [-B <bufsize>] [-f filename] name[=value] ...\n", 1)
    for word in rest:
        name, equals, value = word.partition("=")
        name = name.removesuffix(".")
        current = tree.read(request.vnet, name)
        separator = "=" if "e" in letters else ": "
        if equals:
            _set(request, name, value, current, letters, reply)
        elif current is not None:
            reply.out += f"{current}\n" if "n" in letters else f"{name}{separator}{current}\n"
        else:
            below = [one for one in tree.names() if one.startswith(f"{name}.")]
            values = [(one, tree.read(request.vnet, one)) for one in below]
            values = [(one, found) for one, found in values if found is not None]
            if not values and "i" not in letters:
                reply.err += "" if "q" in letters else f"sysctl: unknown oid '{name}'\n"
                reply.rc = 1
            for one, found in values:
                reply.out += f"{found}\n" if "n" in letters else f"{one}{separator}{found}\n"
    return reply


def _set(request: Request, name: str, value: str, current: str | None, letters: str, reply: Reply) -> None:
    tree = request.state.sysctls
    if current is None:
        if "i" not in letters:
            reply.err += f"sysctl: unknown oid '{name}'\n"
            reply.rc = 1
        return
    if not tree.writable(name):
        reply.err += f"sysctl: oid '{name}' is read only\n"
        reply.rc = 1
        return
    inherits = request.jail is not None and request.jail.vnet is None
    if inherits or (request.jail is not None and not name.startswith(_PER_JAIL)):
        reply.err += f"sysctl: {name}={value}: Operation not permitted\n"
        reply.rc = 1
        return
    if not value.lstrip("-").isdigit():
        reply.err += f"sysctl: invalid integer '{value}'\n"
        reply.rc = 1
        return
    tree.write(request.vnet, name, str(int(value)))
    if "q" not in letters:
        head = "" if "n" in letters else f"{name}{'=' if 'e' in letters else ': '}"
        reply.out += f"{head}{current} -> {tree.read(request.vnet, name)}\n"
