"""Rows: files of a node. Audit, certificates and keys, configuration, what a joining node reads."""

import json
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from decoders.proto import HEAD, LINE, START
from decoders.table import NO_TOML, Decoder, file, folder, text
from qkms import audit
from qkms_node import ca, config, csr, join_reading, joining, pki, tls_files
from qkms_node.access import chain_files
from qkms_node.config_fields import ConfigError
from qkms_node.join_reading import JoinFailed
from qkms_node.rpc.audit_servicer import record
from qkms_node.service import audit_reading, audit_verifying
from qkms_node.service.seals import keyfile
from qkms_node.service.seals.seal import SealError
from sample_files import NODE_TOML

CALLS = folder("calls")
CALL_FILE = CALLS / "calls-000000000001.jsonl"
SECOND, END = audit.append(
    HEAD, {"time_ms": 1_700_000_000_001, "method": "y", "decisions": [["a", "k", True, "r"]]}
)
MUTATIONS = folder("mutations")
BASE = audit.Head(0, audit.MUTATIONS_GENESIS)
MUTATION, AFTER = audit.append(BASE, {"revision": 1, "time_ms": 1, "principal": "cluster", "method": "create_key"})
WINDOW = audit_reading.Window(AFTER, [], AFTER)
FILTER = audit_reading.Filter(principal="p", start_ms=1)


def _calls() -> None:
    """Query and verify answer whatever stands there."""
    for wanted in (audit_reading.Filter(), FILTER):
        for found in audit_reading.call_page(CALLS, START, END, 0, wanted, 100).records:
            record(found)
    verdict = audit_verifying.verify_calls(CALLS, "c", START, END, {}, [])
    intact = CALL_FILE.read_bytes().startswith(LINE + b"\n" + SECOND + b"\n")
    assert bool(verdict.broken) is not intact


def _mutations() -> None:
    for wanted in (audit_reading.Filter(), FILTER):
        for found in audit_reading.mutation_page(MUTATIONS, WINDOW, 0, wanted, 100).records:
            record(found)
    audit_verifying.verify_mutations(MUTATIONS, WINDOW)


def _open_calls() -> None:
    files = chain_files.ChainFiles(CALLS, "calls", START, 1 << 20)
    try:
        files.open()
    finally:
        files.close()


PKI = folder("pki")
AUTHORITY = pki.Authority(PKI / "authority")
LEAF = AUTHORITY.issue(pki.Identity("node", "node-1"))
LEAF_DER = x509.load_pem_x509_certificate(LEAF.certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
CA_PEM = AUTHORITY.certificate_path.read_bytes()
CA = x509.load_pem_x509_certificate(CA_PEM)
CA_DER = CA.public_bytes(serialization.Encoding.DER)
FINGERPRINT = CA.fingerprint(hashes.SHA256()).hex()
CA_KEY, PASSPHRASE = PKI / "ca.key", PKI / "ca.pass"
ca.encrypt_key(AUTHORITY.key_path, CA_KEY, b"passphrase")
PASSPHRASE.touch(mode=0o600)
PASSPHRASE.write_bytes(b"passphrase")


class Pair:
    """Files of a node of which one is altered."""

    def __init__(self, name: str) -> None:
        home = folder(name)
        self.ca, self.certificate, self.private_key = home / "ca.pem", home / "node.pem", home / "node.key"
        self.ca.write_bytes(CA_PEM)
        self.certificate.write_bytes(LEAF.certificate.read_bytes())
        self.private_key.write_bytes(LEAF.private_key.read_bytes())


CERTIFICATE, PRIVATE_KEY, RENEWED = Pair("certificate"), Pair("private key"), Pair("renewed")


def _signing(certificate: Path, key: Path, passphrase: Path) -> ca.SigningCa:
    return ca.SigningCa(certificate, key, passphrase, timedelta(days=1))


def _certificate() -> None:
    tls_files.validity(CERTIFICATE)
    tls_files.read(CERTIFICATE)


def _settle() -> None:
    """A renewal whose certificate is damaged is given up; the pair stays."""
    tls_files.settle(RENEWED)
    RENEWED.certificate.write_bytes(LEAF.certificate.read_bytes())


ALTERED_CA = PKI / "altered-ca.pem"
ALTERED_KEY = PKI / "altered-ca.key"
ALTERED_PASSPHRASE = PKI / "altered-ca.pass"
JOIN = folder("join")
CONFIGURED = folder("configuration")
for _name in ("ca.pem", "node.pem", "node.key"):
    (CONFIGURED / _name).touch()
NODE = (NODE_TOML + '[tracing]\nendpoint = "http://127.0.0.1:4317"\n').encode()
SEAL_KEY = folder("seal key") / "seal.key"
PENDING = {"request_id": "r", "node_id": "node-4", "csr": "AAAA", "private_key": "AAAA"}

DECODERS = (
    Decoder(
        "audit file of calls as it is read",
        ("qkms_node.access.chain_files", "qkms_node.service.audit_reading", "qkms_node.service.audit_verifying"),
        file(CALL_FILE, _calls),
        LINE + b"\n" + SECOND + b"\n",
        regressions=(
            LINE.replace(b":1700000000000", b":null") + b"\n",
            LINE.replace(b":1700000000000", b":1e999") + b"\n",
            LINE.replace(b'"p"', b"[" * 100_000) + b"\n",
            LINE.replace(b'{"n":1,', b'{"n":' + b"9" * 5_000 + b",") + b"\n" + SECOND + b"\n",
            LINE.replace(b'"p"', b'"\\ud800"') + b"\n",
        ),
    ),
    Decoder(
        "audit file of calls as it is opened",
        ("qkms_node.access.chain_files",),
        file(CALL_FILE, _open_calls),
        LINE + b"\n" + SECOND + b"\n",
        (audit.AuditBroken,),
        regressions=(b"x\n" + LINE.replace(b'{"n":1,', b'{"n":' + b"9" * 5_000 + b",") + b"\n",),
    ),
    Decoder(
        "audit file of mutations",
        ("qkms_node.service.audit_reading", "qkms_node.service.audit_verifying"),
        file(MUTATIONS / "mutations-000000000001.jsonl", _mutations),
        MUTATION + b"\n",
        regressions=(MUTATION.replace(b'{"n":1,', b'{"n":' + b"9" * 5_000 + b",") + b"\n",),
    ),
    Decoder(
        "certificate of the CA",
        ("qkms_node.ca",),
        file(ALTERED_CA, lambda: _signing(ALTERED_CA, CA_KEY, PASSPHRASE)),
        CA_PEM,
        (ca.CaUnusable,),
    ),
    Decoder(
        "key of the CA",
        ("qkms_node.ca",),
        file(ALTERED_KEY, lambda: _signing(AUTHORITY.certificate_path, ALTERED_KEY, PASSPHRASE)),
        CA_KEY.read_bytes(),
        (ca.CaUnusable,),
    ),
    Decoder(
        "passphrase of the CA",
        ("qkms_node.ca",),
        file(ALTERED_PASSPHRASE, lambda: _signing(AUTHORITY.certificate_path, CA_KEY, ALTERED_PASSPHRASE)),
        b"passphrase\n",
        (ca.CaUnusable,),
        regressions=(b"", bytes(2_000), b"\xff"),
    ),
    Decoder(
        "certificate of a node",
        ("qkms_node.tls_files",),
        file(CERTIFICATE.certificate, _certificate),
        LEAF.certificate.read_bytes(),
        (tls_files.TlsFilesInvalid,),
    ),
    Decoder(
        "private key of a node",
        ("qkms_node.tls_files",),
        file(PRIVATE_KEY.private_key, lambda: tls_files.read(PRIVATE_KEY)),
        LEAF.private_key.read_bytes(),
        (tls_files.TlsFilesInvalid,),
    ),
    Decoder(
        "certificate of a renewal that a crash left",
        ("qkms_node.tls_files",),
        file(RENEWED.certificate.with_name("node.pem" + tls_files.ASIDE), _settle),
        LEAF.certificate.read_bytes(),
    ),
    Decoder(
        "names of a certificate",
        ("qkms_node.csr",),
        csr.hosts_of,
        LEAF.certificate.read_bytes(),
        (csr.CsrRefused,),
    ),
    Decoder(
        "join token",
        ("qkms_node.join_reading",),
        text(join_reading.parse_token),
        b"node-4." + b"A" * 43,
        (JoinFailed,),
    ),
    Decoder(
        "CA that a server shows",
        ("qkms_node.join_reading",),
        lambda raw: join_reading.trusted_ca("h:1", [LEAF_DER, raw], FINGERPRINT),
        CA_DER,
        (JoinFailed,),
    ),
    Decoder(
        "leaf that a server shows",
        ("qkms_node.join_reading",),
        lambda raw: join_reading.trusted_ca("h:1", [raw, CA_DER], FINGERPRINT),
        LEAF_DER,
        (JoinFailed,),
    ),
    Decoder(
        "certificate that a joining node is given",
        ("qkms_node.join_reading",),
        lambda raw: join_reading.issued("h:1", raw, CA_PEM),
        LEAF_DER,
        (JoinFailed,),
    ),
    Decoder(
        "configuration that a joining node is given",
        ("qkms_node.join_reading",),
        text(lambda shared: join_reading.shared_sections("h:1", shared, "node-1")),
        NODE_TOML.encode(),
        (JoinFailed,),
        regressions=(*NO_TOML, b"", b"cluster = 1", b"[cluster]\nmembers = [1]"),
    ),
    Decoder(
        "request of a joining node",
        ("qkms_node.joining",),
        file(JOIN / "join.json", lambda: joining.read_pending(JOIN / "join.json")),
        json.dumps(PENDING).encode(),
        (JoinFailed,),
        regressions=(b'{"a":' * 100_000, b'{"\xff":1}'),
    ),
    Decoder(
        "configuration in the way of a joining node",
        ("qkms_node.joining",),
        file(JOIN / "node.toml", lambda: joining.check_folder(JOIN / "node.toml", "node-1")),
        NODE,
        (JoinFailed,),
        regressions=NO_TOML,
    ),
    Decoder(
        "node configuration",
        ("qkms_node.config",),
        file(CONFIGURED / "node.toml", lambda: config.load(CONFIGURED / "node.toml")),
        NODE,
        (ConfigError,),
        regressions=(
            *NO_TOML,
            NODE.replace(b"http://127.0.0.1:4317", b"http://[127.0.0.1:4317"),
            NODE.replace(b"ca.pem", b"ca\\u0000.pem"),
            NODE.replace(b"ca.pem", b"9" * 5_000),
        ),
    ),
    Decoder(
        "seal key of a node",
        ("qkms_node.service.seals.keyfile",),
        file(SEAL_KEY, lambda: keyfile.KeyFileSeal(SEAL_KEY, "c", "n")),
        bytes(32),
        (SealError,),
    ),
)
