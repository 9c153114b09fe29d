"""nova's own security proxy against our side: TLS with certificates both ways, and nothing without."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nova.conf import CONF
from nova.console.securityproxy.rfb import RFBSecurityProxy

from beastack.cloud import certificates
from beastack.cloud.config.nova import console_tls
from beastack.cloud.layout import Layout
from beastack.consoles import security
from nova import exception

from .conftest import Service
from .fakes import exactly, guest

UUID = "dddddddd-0c34-4c55-9d1b-0f7a8d7f2f11"
Services = Callable[..., Service]


class Tenant:
    """A browser, as far as nova's security proxy sees it."""

    def __init__(self) -> None:
        self.answers = [b"RFB 003.008\n", b"\x01"]
        self.heard = b""

    def recv(self, size: int) -> bytes:
        return self.answers.pop(0)

    def sendall(self, data: bytes) -> None:
        self.heard += data


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout("t", tmp_path, 1)
    certificates.ensure(made, ["fbsd1", "fbsd2"])
    return made


@pytest.fixture
def proxy(layout: Layout) -> Iterator[Callable[[str, str], RFBSecurityProxy]]:
    def make(scheme: str, name: str) -> RFBSecurityProxy:
        cert, key, authority = console_tls(layout, name)
        CONF.set_override("auth_schemes", [scheme], "vnc")
        CONF.set_override("vencrypt_client_cert", cert, "vnc")
        CONF.set_override("vencrypt_client_key", key, "vnc")
        CONF.set_override("vencrypt_ca_certs", authority, "vnc")
        return RFBSecurityProxy()

    yield make
    CONF.reset()


def connect(service: Service) -> socket.socket:
    client, answer = service.connect(service.path("vnc", UUID))
    assert answer == b"HTTP/1.1 200 OK"
    client.settimeout(10)
    return client


def test_nova_is_let_in_by_its_certificate(
    services: Services, instances: Path, layout: Layout, proxy: Callable[[str, str], RFBSecurityProxy]
) -> None:
    service = services(security.tls_context(*console_tls(layout, "fbsd1")))
    with guest(instances, UUID, screen=True):
        tenant = Tenant()
        secured = proxy("vencrypt", "proxy").connect(tenant, connect(service))
        with secured:
            assert isinstance(secured, ssl.SSLSocket)
            assert tenant.heard == b"RFB 003.008\n\x01\x01"
            assert exactly(secured, 4) == b"\0\0\0\0"
            secured.sendall(b"\1")
            assert len(exactly(secured, 24)) == 24


def test_a_host_of_the_cloud_is_no_proxy(
    services: Services, instances: Path, layout: Layout, proxy: Callable[[str, str], RFBSecurityProxy]
) -> None:
    """fbsd2's certificate is signed by the same authority, but not for clients."""
    service = services(security.tls_context(*console_tls(layout, "fbsd1")))
    # TLS 1.3 tells a client afterwards that its certificate is refused
    ends = (ssl.SSLError, ConnectionError, EOFError, exception.SecurityProxyNegotiationFailed)
    with guest(instances, UUID, screen=True), connect(service) as client, pytest.raises(ends):
        secured = proxy("vencrypt", "fbsd2").connect(Tenant(), client)
        exactly(secured, 4)


def test_without_a_certificate_there_is_no_screen(
    services: Services, instances: Path, layout: Layout, proxy: Callable[[str, str], RFBSecurityProxy]
) -> None:
    service = services(security.tls_context(*console_tls(layout, "fbsd1")))
    with guest(instances, UUID, screen=True):
        with connect(service) as client, pytest.raises(exception.SecurityProxyNegotiationFailed):
            proxy("none", "proxy").connect(Tenant(), client)
        with connect(service) as client:
            exactly(client, 12)
            client.sendall(b"RFB 003.008\n")
            assert exactly(client, 2) == bytes([1, 19])
            client.sendall(b"\1")
            assert client.recv(10) == b""


def test_many_handshakes_at_once(
    services: Services, instances: Path, layout: Layout, proxy: Callable[[str, str], RFBSecurityProxy]
) -> None:
    service = services(security.tls_context(*console_tls(layout, "fbsd1")))
    made = proxy("vencrypt", "proxy")
    good: list[bytes] = []

    def come() -> None:
        with made.connect(Tenant(), connect(service)) as secured:
            good.append(exactly(secured, 4))

    with guest(instances, UUID, screen=True):
        threads = [threading.Thread(target=come) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert good == [b"\0\0\0\0"] * 24


def test_certificates_are_made_once_and_private(layout: Layout) -> None:
    where = certificates.folder(layout)
    before = {path.name: path.read_bytes() for path in where.iterdir()}
    assert set(before) == {f"{name}.{end}" for name in ("ca", "proxy", "fbsd1", "fbsd2") for end in ("pem", "key")}
    assert {path.stat().st_mode & 0o777 for path in where.iterdir()} == {0o600}
    certificates.ensure(layout, ["fbsd1", "fbsd2"])
    assert {path.name: path.read_bytes() for path in where.iterdir()} == before
