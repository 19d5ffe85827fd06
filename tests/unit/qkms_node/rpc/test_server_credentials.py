"""A listener whose certificates are replaced while many connect: a process of its own, since gRPC could end it."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from qkms_node.pki import Authority, Identity, Material
from qkms_node.rpc.server_credentials import RenewedCertificates

NODE = Identity("node", "node-1")
CLIENTS = 16
LISTENER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import grpc
from qkms_node.pki import Material
from qkms_node.rpc.server_credentials import RenewedCertificates

server = grpc.server(ThreadPoolExecutor(1))
certificates = RenewedCertificates(Material(*map(Path, sys.argv[1:])))
print(server.add_secure_port("127.0.0.1:0", certificates.credentials()), flush=True)
server.start()
sys.stdin.read()
"""


class Listener:
    """A gRPC server in a process, and handshakes with it."""

    def __init__(self, material: Material, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.process = process
        self._port = int(process.stdout.readline())
        self._tls = ssl.create_default_context(cafile=str(material.ca))
        self._tls.set_alpn_protocols(["h2"])
        self._tls.load_cert_chain(material.certificate, material.private_key)

    def serial_number(self) -> int:
        """Of the certificate it shows to a new connection. Raises OSError when it takes none."""
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=10) as connection,
            self._tls.wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
            assert shown is not None
            return x509.load_der_x509_certificate(shown).serial_number


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
def material(authority: Authority) -> Material:
    return authority.issue(NODE)


@pytest.fixture
def listener(material: Material) -> Iterator[Listener]:
    files = [str(path) for path in (material.ca, material.certificate, material.private_key)]
    with subprocess.Popen(
        [sys.executable, "-c", LISTENER, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Listener(material, process)


def in_force(material: Material) -> int:
    return x509.load_pem_x509_certificate(material.certificate.read_bytes()).serial_number


def renew(authority: Authority) -> None:
    authority.issue(NODE, not_after=datetime.now(UTC) + timedelta(days=30))


def test_renewed_files_are_shown_to_the_next_connection(
    authority: Authority, material: Material, listener: Listener
) -> None:
    for _ in range(3):
        assert listener.serial_number() == listener.serial_number() == in_force(material)
        renew(authority)


def test_a_listener_is_told_of_a_change_only_and_once(authority: Authority, material: Material) -> None:
    """Whatever it is told makes it replace what handshakes are begun from."""
    certificates = RenewedCertificates(material)
    assert certificates.newer() is None
    renew(authority)
    assert certificates.newer() is not None
    assert certificates.newer() is None


def test_files_that_do_not_fit_leave_the_former_certificate_in_force(
    authority: Authority, material: Material, listener: Listener
) -> None:
    before, key = in_force(material), material.private_key.read_bytes()
    material.private_key.write_bytes(authority.issue(Identity("node", "node-2")).private_key.read_bytes())
    assert listener.serial_number() == before
    material.certificate.unlink()
    assert listener.serial_number() == before
    material.private_key.write_bytes(key)
    renew(authority)
    assert listener.serial_number() == in_force(material) != before


def test_renewals_amid_handshakes_end_no_process(material: Material, listener: Listener) -> None:
    """Files are touched without a pause: as often as the listener asks, they have changed."""
    until = time.monotonic() + 4
    handshakes: list[int] = []
    failed: list[OSError] = []

    def connect() -> None:
        while time.monotonic() < until and not failed:
            try:
                handshakes.append(listener.serial_number())
            except OSError as error:
                failed.append(error)

    clients = [threading.Thread(target=connect) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    while time.monotonic() < until:
        os.utime(material.certificate)
        time.sleep(0.001)
    for client in clients:
        client.join()
    assert failed == []
    assert listener.process.poll() is None
    assert len(handshakes) > CLIENTS
