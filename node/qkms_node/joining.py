"""`qkms-node join`: from a one-time token to a folder that `qkms-node serve` runs.

    DIR/ca.pem  node.pem  node.key     the cluster's CA and this node's pair
    DIR/node.toml                      a configuration that joins
    DIR/join.json                      the request, until it is answered

The server is known by the fingerprint of the cluster's CA: the certificates
that it shows are looked at first, without trust and without saying anything;
the CA among them has to have this fingerprint, and only then, with that CA as
the only trusted one and the host name checked, is the token sent. The request
is written down before it is sent: run again after a lost answer, it is the
same request and gets the same certificate. Where node.toml is there already,
only CA and pair are replaced: so a node whose certificate has expired returns.
"""

import base64
import binascii
import re
import socket
import ssl
import tomllib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import msgspec
import tomli_w
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization

from qkms.v1 import enrol_pb2 as pb
from qkms.v1 import enrol_pb2_grpc
from qkms_node.config import ConfigError, load
from qkms_node.csr import make_csr
from qkms_node.files import write_durably
from qkms_node.tls_files import replace_pair, settle

CONNECT_S = 5.0
CALL_S = 20.0
TOKEN_BYTES = 32


class JoinFailed(Exception):
    """The node has not joined; the message says why and what to do."""

    code = "JOIN_FAILED"


@dataclass(frozen=True)
class Place:
    """What this machine adds to what the cluster says. Empty addresses: those of the member record."""

    folder: Path
    raft_listen: str = ""
    rpc_listen: str = ""
    enrol_listen: str = ""
    kme_id: str = ""
    kme_url: str = ""


@dataclass(frozen=True)
class _Files:
    ca: Path
    certificate: Path
    private_key: Path


class _Pending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request under way: `csr` is DER, `private_key` PEM; of the token only what tells it from another."""

    request_id: str
    node_id: str
    csr: bytes
    private_key: bytes


def join(token: str, server: str, fingerprint: str, place: Place) -> Path:
    """Makes the folder, or renews its certificate; returns its node.toml. Raises JoinFailed."""
    node_id, secret = parse_token(token)
    _check_folder(place.folder / "node.toml", node_id)
    ca, trust_domain = trusted_ca(server, fingerprint)
    place.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    pending = _pending(place, node_id, trust_domain)
    response = _enrol(server, ca, pending, secret)
    return _settle(place, pending, response, ca, trust_domain)


def _check_folder(config: Path, node_id: str) -> None:
    """Raises JoinFailed for a folder of another node."""
    if not config.exists():
        return
    try:
        found = tomllib.loads(config.read_text())["node"]["id"]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError):
        raise JoinFailed(f"{config} cannot be read; correct or remove it") from None
    if found != node_id:
        raise JoinFailed(f"{config} is of {found}; name another folder with --dir for {node_id}")


def parse_token(token: str) -> tuple[str, bytes]:
    """Node id and the 32 bytes of `{node_id}.{base64url}`. Raises JoinFailed."""
    node_id, _, text = token.strip().rpartition(".")
    try:
        secret = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        secret = b""
    if not node_id or len(secret) != TOKEN_BYTES:
        raise JoinFailed("--token: this is no token; copy it whole, as qkms cluster add printed it")
    return node_id, secret


def trusted_ca(server: str, fingerprint: str) -> tuple[bytes, str]:
    """The CA (PEM) of this fingerprint, from the certificates that the server shows, and the trust domain of
    the node that it is. Raises JoinFailed.
    """
    wanted = fingerprint.replace(":", "").strip().lower()
    if len(wanted) != 64:
        raise JoinFailed("--ca-fingerprint: it is SHA-256, 64 hexadecimal digits, as qkms cluster add printed it")
    shown = [x509.load_der_x509_certificate(der) for der in _shown(server)]
    for certificate in shown:
        if certificate.fingerprint(hashes.SHA256()).hex() == wanted:
            return certificate.public_bytes(serialization.Encoding.PEM), _trust_domain(
                server, shown[0], certificate
            )
    raise JoinFailed(
        f"{server} shows no CA with this fingerprint: it is not of this cluster, or somebody stands in between. "
        "Nothing was sent to it"
    )


def _trust_domain(server: str, leaf: x509.Certificate, ca: x509.Certificate) -> str:
    """The host part of a node's SPIFFE id. Raises JoinFailed for a server that is no node of the CA."""
    try:
        leaf.verify_directly_issued_by(ca)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        [uri] = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        uri = ""
    match = re.fullmatch(r"spiffe://([^/]+)/node/[^/]+", uri)
    if match is None:
        raise JoinFailed(f"{server} is no node of this cluster; nothing was sent to it")
    return match[1]


def _shown(server: str) -> list[bytes]:
    """The certificates (DER) that a TLS server shows; nothing is verified and nothing is sent."""
    host, _, port = server.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")) as tls,
        ):
            return _chain(tls)
    except (OSError, ValueError) as error:
        raise JoinFailed(f"--server: {server} cannot be reached over TLS: {error}") from None


def _chain(tls: ssl.SSLSocket) -> list[bytes]:
    if hasattr(tls, "get_unverified_chain"):  # public from Python 3.13 on
        return list(tls.get_unverified_chain())
    import _ssl

    inner: Any = tls._sslobj  # type: ignore[attr-defined]
    return [certificate.public_bytes(_ssl.ENCODING_DER) for certificate in inner.get_unverified_chain()]


def _pending(place: Place, node_id: str, trust_domain: str) -> _Pending:
    """The request under way for this node, or a new one, written down."""
    path = place.folder / "join.json"
    if path.exists():
        try:
            known = msgspec.json.decode(path.read_bytes(), type=_Pending)
        except msgspec.MsgspecError:
            raise JoinFailed(f"{path} cannot be read; remove it, and ask for a new token") from None
        if known.node_id != node_id:
            raise JoinFailed(f"{path} is of {known.node_id}; name another folder with --dir for {node_id}")
        return known
    private_key, csr = make_csr(trust_domain, node_id)
    pending = _Pending(str(uuid.uuid4()), node_id, csr, private_key)
    write_durably(path, msgspec.json.encode(pending), 0o600)
    return pending


def _enrol(server: str, ca: bytes, pending: _Pending, secret: bytes) -> pb.EnrolResponse:
    request = pb.EnrolRequest(
        request_id=pending.request_id, node_id=pending.node_id, token=secret, csr=pending.csr
    )
    with grpc.secure_channel(server, grpc.ssl_channel_credentials(ca)) as channel:
        try:
            return enrol_pb2_grpc.EnrolServiceStub(channel).Enrol(request, timeout=CALL_S)
        except grpc.RpcError as error:
            # What gRPC raises for a failed call is a grpc.Call too; its type does not say so.
            failed: Any = error
            raise JoinFailed(f"{server}: {failed.details()}") from None


def _settle(place: Place, pending: _Pending, response: pb.EnrolResponse, ca: bytes, trust_domain: str) -> Path:
    folder = place.folder.resolve()
    files = _Files(folder / "ca.pem", folder / "node.pem", folder / "node.key")
    certificate = x509.load_der_x509_certificate(response.certificate)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificates(ca)[0])
    settle(files)
    write_durably(files.ca, ca, 0o644)
    replace_pair(files, certificate.public_bytes(serialization.Encoding.PEM), pending.private_key)
    config = folder / "node.toml"
    if not config.exists():
        write_durably(
            config,
            tomli_w.dumps(_table(place, pending.node_id, trust_domain, response.shared_config)).encode(),
            0o600,
        )
    try:
        load(config)
    except ConfigError as error:
        raise JoinFailed(f"the certificate is in place, and {error}; correct the file") from None
    (folder / "join.json").unlink(missing_ok=True)
    return config


def _table(place: Place, node_id: str, trust_domain: str, shared: str) -> dict[str, Any]:
    """The shared sections, with this machine's own added."""
    table = tomllib.loads(shared)
    me = next(m for m in table["cluster"]["members"] if m["id"] == node_id)
    own: dict[str, Any] = {
        "node": {"id": node_id, "data_dir": "data"},
        "raft": {"listen": place.raft_listen or me["raft_address"]},
        "rpc": {"listen": place.rpc_listen or me["rpc_address"]},
        "tls": {
            "ca": "ca.pem",
            "certificate": "node.pem",
            "private_key": "node.key",
            "trust_domain": trust_domain,
        },
        "seal": {"mode": "keyfile", "key_file": "seal.key"},
    }
    if place.enrol_listen:
        own["enrol"] = {"listen": place.enrol_listen}
    if place.kme_url:
        own["qkd"] = {"kme_id": place.kme_id or f"kme of {node_id}", "kme_url": place.kme_url}
    return {name: table.get(name, {}) | own.get(name, {}) for name in (*own, *(set(table) - set(own)))}
