"""What a station does, as a program in its jail: answer with its name, or ask others for theirs. Standard library only.

prober.py serve NAME              TCP and UDP on PORT (allowed by the group) and OTHER_PORT (not)
prober.py probe SECONDS           cells as JSON on standard input; {cell: name or null} on standard output
prober.py send INTERFACE HEX…     frames as they are
prober.py hear INTERFACE SECONDS  frames of broadcasts that come in, one line each of hexadecimal digits
"""

import json
import socket
import subprocess
import sys
import threading
import time

PORT, OTHER_PORT = 7000, 7001
ANYWHERE = {4: "0.0.0.0", 6: "::"}


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(name):
    servers = []
    for port in (PORT, OTHER_PORT):
        for address in ANYWHERE.values():
            tcp, udp = (socket.socket(family(address), kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
            for one in (tcp, udp):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if address == "::":
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind((address, port))
            tcp.listen(16)
            servers += [(answer_tcp, tcp), (answer_udp, udp)]
    for work, one in servers:
        threading.Thread(target=work, args=(one, name.encode())).start()


def answer_tcp(server, name):
    while True:
        caller, _ = server.accept()
        with caller:
            caller.sendall(name)


def answer_udp(server, name):
    while True:
        _, caller = server.recvfrom(100)
        server.sendto(name, caller)


def ask(kind, address, port, seconds):
    """The name that answers, or None."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = ONCE[kind](address, port, min(1.5, max(0.2, end - time.monotonic())))
        except OSError:
            found = None
        if found:
            return found
    return None


def tcp(address, port, seconds):
    with socket.socket(family(address), socket.SOCK_STREAM) as one:
        one.settimeout(seconds)
        one.connect((address, port))
        return one.recv(100).decode()


def udp(address, port, seconds):
    with socket.socket(family(address), socket.SOCK_DGRAM) as one:
        one.settimeout(seconds)
        one.sendto(b"who?", (address, port))
        return one.recv(100).decode()


def ping(address, port, seconds):
    version = ["-6"] if ":" in address else []
    argv = ["ping", *version, "-n", "-c", "1", "-t", "1", address]
    done = subprocess.run(argv, capture_output=True, timeout=10, check=False)
    return "answered" if done.returncode == 0 else None


ONCE = {"tcp": tcp, "udp": udp, "ping": ping}


def probe(seconds):
    """Every cell {id: [kind, address, port, seconds or null]} at the same time."""
    cells, found = json.load(sys.stdin), {}

    def one(cell, kind, address, port, limit):
        found[cell] = ask(kind, address, port, limit or seconds)

    threads = [threading.Thread(target=one, args=(cell, *what)) for cell, what in cells.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(found))


def send(interface, frames):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        for frame in frames:
            wire.send(bytes.fromhex(frame))


def hear(interface, seconds):
    """Say when it listens; then every frame to all that others sent."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
        wire.bind((interface, 0))
        print("listening", flush=True)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            wire.settimeout(left)
            try:
                frame, sender = wire.recvfrom(2048)
            except TimeoutError:
                return
            if sender[2] != socket.PACKET_OUTGOING and frame[:6] == b"\xff" * 6:
                print(frame.hex(), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", name]:
            serve(name)
        case ["probe", seconds]:
            probe(float(seconds))
        case ["hear", interface, seconds]:
            hear(interface, float(seconds))
        case ["send", interface, *frames]:
            send(interface, frames)
