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

from qkms.v1 import enrol_pb2 as pb
from qkms.v1 import enrol_pb2_grpc
from qkms_node.config import load
from qkms_node.config_fields import ConfigError
from qkms_node.csr import make_csr
from qkms_node.files import write_durably
from qkms_node.join_reading import JoinFailed, issued, parse_token, shared_sections, trusted_ca
from qkms_node.tls_files import replace_pair, settle
from qkms_node.unreadable import UNREADABLE

CONNECT_S = 5.0
CALL_S = 20.0


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
    check_folder(place.folder / "node.toml", node_id)
    ca, trust_domain = trusted_ca(server, _shown(server), fingerprint)
    place.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    pending = _pending(place, node_id, trust_domain)
    response = _enrol(server, ca, pending, secret)
    return _settle(server, place, pending, response, ca, trust_domain)


def check_folder(config: Path, node_id: str) -> None:
    """Raises JoinFailed for a folder of another node."""
    if not config.exists():
        return
    try:
        found = tomllib.loads(config.read_text())["node"]["id"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise JoinFailed(f"{config} cannot be read; correct or remove it") from None
    if found != node_id:
        raise JoinFailed(f"{config} is of {found}; name another folder with --dir for {node_id}")


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


def read_pending(path: Path) -> _Pending:
    """The request that was written down. Raises JoinFailed."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Pending)
    except (OSError, *UNREADABLE):
        raise JoinFailed(f"{path} cannot be read; remove it, and ask for a new token") from None


def _pending(place: Place, node_id: str, trust_domain: str) -> _Pending:
    """The request under way for this node, or a new one, written down."""
    path = place.folder / "join.json"
    if path.exists():
        known = read_pending(path)
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


def _settle(
    server: str, place: Place, pending: _Pending, response: pb.EnrolResponse, ca: bytes, trust_domain: str
) -> Path:
    folder = place.folder.resolve()
    files = _Files(folder / "ca.pem", folder / "node.pem", folder / "node.key")
    certificate = issued(server, response.certificate, ca)
    settle(files)
    write_durably(files.ca, ca, 0o644)
    replace_pair(files, certificate, pending.private_key)
    config = folder / "node.toml"
    if not config.exists():
        table = _table(server, place, pending.node_id, trust_domain, response.shared_config)
        write_durably(config, tomli_w.dumps(table).encode(), 0o600)
    try:
        load(config)
    except ConfigError as error:
        raise JoinFailed(f"the certificate is in place, and {error}; correct the file") from None
    (folder / "join.json").unlink(missing_ok=True)
    return config


def _table(server: str, place: Place, node_id: str, trust_domain: str, shared: str) -> dict[str, Any]:
    """The shared sections, with this machine's own added. Raises JoinFailed."""
    table, raft_address, rpc_address = shared_sections(server, shared, node_id)
    own: dict[str, Any] = {
        "node": {"id": node_id, "data_dir": "data"},
        "raft": {"listen": place.raft_listen or raft_address},
        "rpc": {"listen": place.rpc_listen or rpc_address},
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
