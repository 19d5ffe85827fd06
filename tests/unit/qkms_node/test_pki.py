"""The development CA: what a leaf says, and that existing material is kept."""

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from qkms_node.pki import Authority, Identity, Material

NODE = Identity("node", "node-1")
SERVICE = Identity("service", "payments")


def leaf(material: Material) -> x509.Certificate:
    return x509.load_pem_x509_certificate(material.certificate.read_bytes())


def test_a_leaf_names_its_principal_and_its_sae(tmp_path: Path) -> None:
    certificate = leaf(Authority(tmp_path).issue(NODE))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://qkms.dev/node/node-1"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert certificate.subject.rfc4514_string() == "CN=node-1"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_nobody_but_a_node_has_an_sae_id_for_a_common_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    assert leaf(authority.issue(Identity("service", "node-1"))).subject.rfc4514_string() == "CN=service node-1"
    longest = leaf(authority.issue(Identity("operator", "o" * 63))).subject.rfc4514_string()
    assert longest == "CN=operator " + "o" * 55


def test_a_service_has_no_server_name(tmp_path: Path) -> None:
    names = leaf(Authority(tmp_path).issue(SERVICE)).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert not names.value.get_values_for_type(x509.DNSName)


def test_private_keys_are_for_the_owner_alone(tmp_path: Path) -> None:
    material = Authority(tmp_path).issue(NODE)
    for key in (material.private_key, tmp_path / "ca.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_second_opening_reuses_everything(tmp_path: Path) -> None:
    first = Authority(tmp_path).issue(NODE)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert Authority(tmp_path).issue(NODE) == first
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_an_expired_leaf_can_be_made_and_is_renewed_when_asked_for_again(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    past = datetime.now(UTC) - timedelta(days=2)
    expired = leaf(authority.issue(SERVICE, not_before=past, not_after=past + timedelta(days=1)))
    assert expired.not_valid_after_utc < datetime.now(UTC)
    renewed = leaf(authority.issue(SERVICE))
    assert renewed.not_valid_after_utc > datetime.now(UTC) + timedelta(days=30)


def test_a_leaf_of_another_ca_is_replaced(tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other").issue(NODE)
    authority = Authority(tmp_path / "ours")
    ours = authority.issue(NODE)
    ours.certificate.write_bytes(stranger.certificate.read_bytes())
    ours.private_key.write_bytes(stranger.private_key.read_bytes())
    leaf(authority.issue(NODE)).verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority.certificate_path.read_bytes())
    )


def test_a_ca_key_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    Authority(tmp_path / "one")
    Authority(tmp_path / "two")
    (tmp_path / "one" / "ca.key").write_bytes((tmp_path / "two" / "ca.key").read_bytes())
    with pytest.raises(ValueError, match="is not the key of"):
        Authority(tmp_path / "one")


def uri_of(certificate: x509.Certificate) -> str:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)[0]


def handshake(server: Material, client: Material) -> str:
    """The server's view of the client's URI after a real mutual TLS handshake; raises ssl.SSLError."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(server.certificate, server.private_key)
    serving.load_verify_locations(server.ca)
    serving.verify_mode = ssl.CERT_REQUIRED
    calling = ssl.create_default_context(cafile=str(client.ca))
    calling.verify_flags |= ssl.VERIFY_X509_STRICT
    calling.load_cert_chain(client.certificate, client.private_key)
    seen: list[str] = []
    failures: list[ssl.SSLError] = []

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        try:
            with plain, serving.wrap_socket(plain, server_side=True) as connection:
                der = connection.getpeercert(binary_form=True)
                assert der is not None
                seen.append(uri_of(x509.load_der_x509_certificate(der)))
                connection.sendall(b"!")
        except ssl.SSLError as error:
            failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=5) as plain,
                calling.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
            ):
                connection.recv(1)
        finally:
            thread.join(5)
    if failures:
        raise failures[0]
    return seen[0]


def test_two_leaves_of_the_ca_shake_hands_and_a_strangers_does_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours")
    server, client = authority.issue(NODE), authority.issue(SERVICE)
    assert handshake(server, client) == SERVICE.uri
    stranger = Authority(tmp_path / "other").issue(SERVICE)
    with pytest.raises(ssl.SSLError):
        handshake(server, Material(server.ca, stranger.certificate, stranger.private_key))
