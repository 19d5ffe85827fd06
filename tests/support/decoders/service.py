"""Rows: what callers, peers and the cluster's own stores give a node."""

import os
from functools import partial

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from decoders.proto import KEY, MLKEM, PRIVATE, RSA_KEY
from decoders.table import Decoder, text
from qkms import passphrase
from qkms.errors import BackupRejected, InvalidInput, KemRejected
from qkms.kem import HybridCiphertext
from qkms.v1 import audit_pb2, cluster_pb2, common_pb2, key_pb2
from qkms.wrapping import Method
from qkms_node import csr
from qkms_node.access import identity
from qkms_node.consensus import identity as member_identity
from qkms_node.errors import QkmsError
from qkms_node.keys import data, errors, importing, local, secret, share
from qkms_node.keys.algorithms import ALGORITHMS
from qkms_node.rpc import audit_servicer, fields, key_fields, paging
from qkms_node.service import restoring, watching
from qkms_node.service.monitoring import history_file
from qkms_node.service.seals import making
from qkms_node.service.seals import passphrase as passphrase_seal
from qkms_node.service.seals.seal import SealError, SealRejected
from qkms_node.telemetry import traces

PKCS8 = ("qkms_node.keys.pkcs8",)
LISTING = key_pb2.ListKeysRequest(page_size=2)
ID = "0d782086-1a5f-4d1b-8d5a-0c3a4d1c5b11"
BOUND = share.Binding("c", 1, "node-1", "node-2", "")
SHARE = share.seal_share(secret.RootSecret(KEY), BOUND, PRIVATE.public, None)
IMPORT = importing.ImportBinding("payments", ID, Method.MLKEM768_AES_KWP, 1)
UNDER_PASSPHRASE = passphrase_seal.PassphraseSeal(
    b"passphrase", None, "c", "n", memory_kib=passphrase.MIN_MEMORY_KIB, passes=1, lanes=1
)


def _encryption() -> secret.EncryptionKey:
    return secret.EncryptionKey(KEY)


def _material(algorithm: str, raw: bytes) -> object:
    return importing.imported_material(algorithm, raw, os.urandom)


def _share(raw: bytes) -> object:
    sealed = share.SealedShare(HybridCiphertext(raw[:1088], raw[1088:1120]), raw[1120:])
    return share.open_share(sealed, BOUND, PRIVATE, None)


DECODERS = (
    Decoder(
        "history of links",
        ("qkms_node.service.monitoring.history_file",),
        history_file.decode_history,
        msgspec.msgpack.encode(history_file.History()),
        (history_file.HistoryUnreadable,),
    ),
    Decoder(
        "ciphertext",
        ("qkms_node.keys.data",),
        lambda raw: data.open_sealed(_encryption(), raw, b"aad"),
        data.seal(_encryption(), 1, b"plaintext", b"aad", bytes(24)),
        (errors.CiphertextMalformed, errors.CiphertextRejected),
    ),
    Decoder(
        "sealed store",
        ("qkms_node.keys.local",),
        lambda raw: local.open_local(secret.LocalSealKey(KEY), raw, cluster_id="c", node_id="n"),
        local.seal_local(secret.LocalSealKey(KEY), b"payload", cluster_id="c", node_id="n", nonce=bytes(24)),
        (errors.LocalSealRejected,),
    ),
    Decoder(
        "store sealed under a passphrase",
        ("qkms_node.service.seals.passphrase",),
        UNDER_PASSPHRASE.open,
        UNDER_PASSPHRASE.seal(b"payload"),
        (SealRejected,),
    ),
    Decoder(
        "header of a store sealed under a passphrase",
        ("qkms_node.service.seals.passphrase",),
        passphrase_seal.read_header,
        UNDER_PASSPHRASE.seal(b"payload"),
        (SealError, InvalidInput),
    ),
    Decoder(
        "secret of a seal",
        ("qkms_node.service.seals.making",),
        lambda raw: making.one_line(raw, "file"),
        b"secret\n",
        (SealError,),
        regressions=(b"", b"\n", bytes(5_000)),
    ),
    Decoder(
        "share of a root",
        ("qkms_node.keys.share",),
        _share,
        SHARE.ciphertext.mlkem + SHARE.ciphertext.x25519 + SHARE.sealed,
        (errors.ShareRejected, KemRejected),
    ),
    Decoder(
        "sealed import key",
        ("qkms_node.keys.importing",),
        lambda raw: importing.open_import_key(secret.KeyEncryptionKey(KEY), raw, IMPORT),
        importing.seal_import_key(secret.KeyEncryptionKey(KEY), MLKEM, IMPORT),
        (errors.WrapRejected,),
    ),
    *(
        Decoder(
            f"imported material of {algorithm}",
            ("qkms_node.keys.importing", "qkms_node.keys.encoding", *more),
            partial(_material, algorithm),
            importing.exported_material(algorithm, ALGORITHMS[algorithm].draw(os.urandom)),
            (errors.MaterialRejected,),
        )
        for algorithm, more in {
            "AES_256_GCM": (),
            "ED25519": PKCS8,
            "ECDSA_P384_SHA384": PKCS8,
            "ML_DSA_65": PKCS8,
            "ML_KEM_768": PKCS8,
        }.items()
    ),
    Decoder(
        "imported material of RSA, of another size",
        ("qkms_node.keys.encoding", *PKCS8),
        # What passes the check of the size is held against every other number: test_encoding.
        partial(_material, "RSA_3072_PSS_SHA256"),
        RSA_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        (errors.MaterialRejected,),
        refused=True,
    ),
    Decoder(
        "certificate request",
        ("qkms_node.csr",),
        lambda raw: csr.check_csr(raw, "t", "n", ()),
        csr.make_csr("t", "n")[1],
        (csr.CsrRefused,),
    ),
    Decoder(
        "SPIFFE name of a caller",
        ("qkms_node.access.identity",),
        lambda raw: identity.principal({"x509_subject_alternative_name": [raw]}),
        b"spiffe://qkms.dev/service/a",
        (QkmsError,),
    ),
    Decoder(
        "common name of a caller",
        ("qkms_node.access.identity",),
        lambda raw: identity.principal({"x509_common_name": [raw]}),
        b"a",
        (QkmsError,),
    ),
    Decoder(
        "resume token",
        ("qkms_node.service.watching",),
        text(watching.revision_of),
        watching.token(7).encode(),
        (QkmsError,),
    ),
    Decoder(
        "page token",
        ("qkms_node.rpc.paging",),
        text(lambda token: paging.after(LISTING, token)),
        paging.token(LISTING, "app.1").encode(),
        (QkmsError,),
    ),
    Decoder(
        "page token of the audit",
        ("qkms_node.rpc.audit_servicer",),
        text(audit_servicer.record_number),
        b"1000",
        (QkmsError,),
        regressions=(b"9" * 5_000, "²".encode("latin-1"), b"-1"),
    ),
    Decoder(
        "page token of anchors",
        ("qkms_node.rpc.audit_servicer",),
        text(audit_servicer.anchor_place),
        b"ab/1000",
        (QkmsError,),
        regressions=(b"ab/" + b"9" * 5_000, b"ab/-1"),
    ),
    Decoder(
        "filter of the audit",
        ("qkms_node.rpc.audit_servicer",),
        lambda raw: audit_servicer.filter_of(audit_pb2.AuditFilter.FromString(raw)),
        audit_pb2.AuditFilter(principal="*", start_time=Timestamp(seconds=1)).SerializeToString(),
        # DecodeError is met by gRPC, before the servicer.
        (QkmsError, DecodeError),
    ),
    Decoder(
        "consistency that a call asks for",
        ("qkms_node.rpc.fields",),
        lambda raw: fields.wanted(common_pb2.Consistency.FromString(raw), True),
        common_pb2.Consistency(level=common_pb2.BOUNDED, max_staleness=Duration(seconds=1)).SerializeToString(),
        (QkmsError, DecodeError),
    ),
    Decoder(
        "SPIFFE name of another member",
        ("qkms_node.consensus.identity",),
        text(lambda uri: member_identity.node_id([uri], "qkms.dev")),
        b"spiffe://qkms.dev/node/node-1",
        (member_identity.PeerRefused,),
    ),
    Decoder(
        "length of time",
        ("qkms_node.rpc.fields",),
        lambda raw: fields.milliseconds("ttl", Duration.FromString(raw), 1, 10_000),
        Duration(seconds=1).SerializeToString(),
        (QkmsError, DecodeError),
        regressions=(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x10\xff\xff\xff\xff\x07"),
    ),
    Decoder(
        "trace of a caller",
        ("qkms_node.telemetry.traces",),
        text(traces.trace_id_of),
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    Decoder(
        "request id",
        ("qkms_node.rpc.fields",),
        text(fields.request_id),
        ID.encode(),
        (QkmsError,),
    ),
    Decoder(
        "name of a version",
        ("qkms_node.rpc.fields",),
        text(lambda name: fields.version_name("name", name)),
        b"keys/a/versions/1",
        (QkmsError,),
        regressions=(b"keys/a/versions/" + b"9" * 5_000,),
    ),
    Decoder(
        "address of a member",
        ("qkms_node.rpc.fields",),
        text(lambda address: fields.address("address", address)),
        b"[::1]:9",
        (QkmsError,),
        regressions=(b"a:" + b"9" * 5_000, b"a:\xb2"),
    ),
    Decoder(
        "etag",
        ("qkms_node.rpc.key_fields",),
        text(lambda etag: key_fields.revision_of("etag", etag)),
        b'"12"',
        (QkmsError,),
        regressions=(b'"' + b"9" * 5_000 + b'"', b'"\xb2"'),
    ),
    Decoder(
        "header of a backup at a node",
        ("qkms_node.service.restoring",),
        restoring.read_header,
        cluster_pb2.BackupHeader(cluster_id="c").SerializeToString(),
        (BackupRejected,),
    ),
    Decoder(
        "roots of a backup",
        ("qkms_node.service.restoring",),
        lambda raw: restoring.read_roots(raw, "c"),
        msgspec.msgpack.encode({1: KEY}),
        (BackupRejected,),
        regressions=(msgspec.msgpack.encode({-1: KEY}), b"\x91" * 100_000),
    ),
)
