"""Rows: what nodes answer to a client, and the files that the SDK and the command line read."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from decoders.files import AFTER, END, LEAF, MUTATION, SECOND
from decoders.proto import AUDIT_KEY, KEY, LINE, SET_ID, SHARES, signed
from decoders.table import NO_TOML, Decoder, file, folder, text
from qkms import audit, backup, recovery
from qkms.v1 import audit_pb2, cluster_pb2, common_pb2, crypto_pb2, key_pb2, policy_pb2, qkd_pb2, session_pb2
from qkms_client import (
    audit_export,
    backup_file,
    credentials,
    decode,
    decode_access,
    names,
    private_keys,
    recovery_shares,
    status,
)
from qkms_client.access_types import AuditAnchor, AuditHeads, AuditKey
from qkms_client.cli import data, keys, lines, rewrap_file, rules, secrets
from qkms_client.cli.audit import TimeType
from qkms_client.cli.options import ConsistencyType
from qkms_client.errors import (
    AnswerNotUnderstood,
    BackupInvalid,
    ExportInvalid,
    PrivateKeyInvalid,
    ProfileInvalid,
    QkmsError,
    RecoveryFailed,
)
from qkms_client.flows.audit import audit_filter
from qkms_client.profile import Profile, load_profile

PRIVATE_P256 = ec.generate_private_key(ec.SECP256R1())
HEAD = decode.header(common_pb2.ResponseHeader())
# Years that no calendar has, in every field of time that the messages have.
LATE = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f"

ANSWERS: tuple[tuple[type[Message], Callable[[Any], object]], ...] = (
    (common_pb2.ResponseHeader, decode.header),
    (key_pb2.Key, lambda message: decode.key(message, HEAD)),
    (key_pb2.KeyVersion, lambda message: decode.version(message, HEAD)),
    (key_pb2.ImportParameters, lambda message: decode.import_parameters(message, HEAD, False)),
    (key_pb2.KeyEvent, decode.event),
    (crypto_pb2.EncryptResponse, decode.encrypted),
    (crypto_pb2.DecryptResponse, decode.decrypted),
    (crypto_pb2.GenerateDataKeyResponse, decode.data_key),
    (crypto_pb2.DeriveKeyResponse, decode.derived_key),
    (crypto_pb2.RewrapResponse, decode.rewrapped),
    (crypto_pb2.SignResponse, decode.signature),
    (crypto_pb2.MacResponse, decode.mac),
    (crypto_pb2.VerifyResponse, decode.verification),
    (crypto_pb2.GetPublicKeyResponse, decode.public_key),
    (crypto_pb2.EncapsulateResponse, decode.encapsulated),
    (crypto_pb2.DecapsulateResponse, decode.decapsulated),
    (session_pb2.Session, lambda message: decode.session(message, HEAD)),
    (qkd_pb2.Link, lambda message: decode.link(message, "n")),
    (cluster_pb2.NodeStatus, lambda message: decode.node_status(message, HEAD)),
    (policy_pb2.Policy, lambda message: decode_access.policy(message, HEAD)),
    (policy_pb2.AccessRole, lambda message: decode_access.role(message, HEAD)),
    (policy_pb2.Tenant, lambda message: decode_access.tenant(message, HEAD)),
    (policy_pb2.Grant, lambda message: decode_access.grant(message, HEAD)),
    (audit_pb2.AuditRecord, decode_access.audit_record),
    (audit_pb2.ChainVerdict, decode_access.verdict),
    (audit_pb2.Anchor, decode_access.anchor),
    (audit_pb2.AuditKey, decode_access.audit_key),
    (audit_pb2.GetAuditHeadResponse, decode_access.audit_heads),
)


def _filled(kind: type[Message], depth: int = 2) -> Message:
    """A message with something in every field."""
    made = kind()
    for field in made.DESCRIPTOR.fields:
        if field.message_type is None:
            value: Any = {
                field.CPPTYPE_STRING: b"x" if field.type == field.TYPE_BYTES else "x",
                field.CPPTYPE_BOOL: True,
            }.get(field.cpp_type, 1)
            if field.is_repeated:
                getattr(made, field.name).append(value)
            else:
                setattr(made, field.name, value)
        elif not field.is_repeated and depth:
            inner = getattr(made, field.name)
            inner.CopyFrom(_filled(type(inner), depth - 1))
        elif depth and not field.message_type.GetOptions().map_entry:
            inner = getattr(made, field.name).add()
            inner.CopyFrom(_filled(type(inner), depth - 1))
    return made


def _late(kind: type[Message], name: str) -> bytes:
    """A message whose field `name` is a time or a length of time past every bound."""
    tag: int = kind.DESCRIPTOR.fields_by_name[name].number << 3 | 2
    spelt = bytes([tag]) if tag < 0x80 else bytes([tag & 0x7F | 0x80, tag >> 7])
    return spelt + bytes([len(LATE)]) + LATE


def _answer(kind: type[Message], decoded: Callable[[Any], object]) -> Decoder:
    outer = [
        field.name
        for field in kind.DESCRIPTOR.fields
        if field.message_type is not None
        and field.message_type.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration")
    ]
    ours = kind.DESCRIPTOR.file in (policy_pb2.DESCRIPTOR, audit_pb2.DESCRIPTOR)
    module = "qkms_client.decode_access" if ours else "qkms_client.decode"
    return Decoder(
        f"answer {kind.DESCRIPTOR.name}",
        (module,),
        lambda raw: decoded(kind.FromString(raw)),
        _filled(kind).SerializeToString(),
        # DecodeError is met by gRPC, before any of this.
        (AnswerNotUnderstood, DecodeError),
        regressions=tuple(_late(kind, name) for name in outer),
    )


def _refused(raw: bytes) -> None:
    error = status.error_of(grpc.StatusCode.ABORTED, "text", [(status.DETAILS_KEY, raw)])
    assert isinstance(error, QkmsError)


def _details() -> status_pb2.Status:
    made = status_pb2.Status(code=10, message="m")
    made.details.add().Pack(error_details_pb2.ErrorInfo(reason="KEY_EXISTS", domain="qkms", metadata={"a": "b"}))
    made.details.add().Pack(error_details_pb2.RetryInfo(retry_delay={"seconds": 1}))
    made.details.add().Pack(
        error_details_pb2.BadRequest(
            field_violations=[error_details_pb2.BadRequest.FieldViolation(field="f", description="d")]
        )
    )
    return made


def _damaged_detail() -> bytes:
    made = _details()
    made.details[0].value = b"\xff"
    return bytes(made.SerializeToString())


PROFILES = folder("profiles")
for _name in ("ca.pem", "node.pem", "node.key"):
    (PROFILES / _name).touch()
PROFILE_TOML = b"""
ca = "ca.pem"
certificate = "node.pem"
private_key = "node.key"
[endpoints]
node-1 = "127.0.0.1:2"
"""
CERTIFICATE, PRIVATE_KEY = PROFILES / "altered.pem", PROFILES / "altered.key"


def _profile(certificate: Path, private_key: Path) -> Profile:
    return Profile({"node-1": "127.0.0.1:2"}, certificate, certificate, private_key)


def _named() -> None:
    """Every question about one altered certificate, each of which may be refused."""
    profile = _profile(CERTIFICATE, LEAF.private_key)
    profile.principal()
    profile.ca_fingerprint()
    profile.certificate_expires()


def _export(name: str) -> Path:
    """A whole export, of which one file is then altered."""
    home = folder(name)
    anchor, calls = signed("c", "node-1", END), signed("c", "node-1", END)

    def shown(head: Any) -> AuditAnchor:
        return AuditAnchor(
            head.node_id, head.key_id, head.head.length, head.head.digest,
            head.ed25519_signature, head.mldsa65_signature, None, 1,
        )  # fmt: skip

    key = AuditKey(AUDIT_KEY.key_id, "node-1", AUDIT_KEY.ed25519, AUDIT_KEY.mldsa65, None)
    heads = AuditHeads("node-1", AFTER.length, AFTER.digest, shown(calls), "")
    audit_export.write_anchors(home, "c", [key], [shown(anchor)], [heads])
    (home / "calls-node-1.jsonl").write_bytes(LINE + b"\n" + SECOND + b"\n")
    (home / "mutations.jsonl").write_bytes(MUTATION + b"\n")
    return home


def _exported(name: str, altered: str, regressions: tuple[bytes, ...]) -> Decoder:
    home = _export(name)
    sample = (home / altered).read_bytes()

    def check() -> None:
        content = (home / altered).read_bytes()
        verdicts = {each.chain: each.intact for each in audit_export.check(home)}
        if altered.startswith("calls") and audit.number_of(content.partition(b"\n")[0]) != END.length:
            # Its last record is anchored: what begins there is followed from there on trust, nothing else is.
            assert verdicts["calls of node-1"] is (content in (sample, sample[:-1]))

    return Decoder(
        name,
        ("qkms_client.audit_export",),
        file(home / altered, check),
        sample,
        (ExportInvalid,),
        regressions=regressions,
    )


ANCHORS = json.loads((_export("export to alter") / "anchors.json").read_text())


def _anchors(**changes: object) -> bytes:
    return json.dumps({**ANCHORS, **changes}).encode()


def _length(length: str) -> bytes:
    return _anchors(ends=[{"length": "LENGTH", "head": "00" * 32}]).replace(b'"LENGTH"', length.encode())


def _backup(header: cluster_pb2.BackupHeader) -> bytes:
    before = backup.preamble(header.SerializeToString())
    records = [backup.frame(b"roots"), backup.frame(b"ledger")]
    return before + b"".join(backup.seal_chunks(KEY, before, records))


TEXTS = [recovery.share_text(share) for share in SHARES[:2]]
RECOVERY = recovery_shares.joined(TEXTS)
BACKUP = cluster_pb2.BackupHeader(
    cluster_id="c",
    recovery_set_id=SET_ID.hex(),
    sealed_file_key=backup.seal_file_key(RECOVERY.private.public, KEY, "c", SET_ID.hex()),
)
UNDER_PASSPHRASE = cluster_pb2.BackupHeader(
    cluster_id="c", passphrase=cluster_pb2.PassphraseKey(salt=bytes(16), memory_kib=1, passes=1, lanes=1)
)


def _verified(raw: bytes) -> object:
    opened = backup_file.open_backup(io.BytesIO(raw), None, TEXTS)
    return backup_file.verify(io.BytesIO(raw), opened)


INPUT = folder("input")
RULES = b'[[rules]]\nactions = ["crypto.*"]\ngrades = ["qkd+pqc"]\nper_minute = 60\nburst = 5\n'

DECODERS = (
    *(
        Decoder(
            f"line of {form.data}s",
            ("qkms_client.cli.lines",),
            lambda raw, form=form: lines.parsed(raw, form, {}, b""),  # type: ignore[misc]
            b'{"id": 1, "context": {"a": "b"}, "aad": "", "' + form.data.encode() + b'": "eA=="}',
            (lines.LineInvalid,),
        )
        for form in (lines.ENCRYPT, lines.DECRYPT)
    ),
    *(
        Decoder(
            f"file of a private key, {encoding} {format}",
            ("qkms_client.private_keys",),
            private_keys.to_pkcs8,
            PRIVATE_P256.private_bytes(encoding, format, NoEncryption()),
            (PrivateKeyInvalid,),
        )
        for encoding in (Encoding.PEM, Encoding.DER)
        for format in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
    ),
    *(_answer(kind, decoded) for kind, decoded in ANSWERS),
    Decoder(
        "refusal of a node",
        ("qkms_client.status",),
        _refused,
        _details().SerializeToString(),
        regressions=(_damaged_detail(),),
    ),
    Decoder(
        "refusal in a batch",
        ("qkms_client.status",),
        lambda raw: status.error_of_status(status_pb2.Status.FromString(raw)),
        _details().SerializeToString(),
        (DecodeError,),
        regressions=(_damaged_detail(),),
    ),
    Decoder(
        "client profile",
        ("qkms_client.profile",),
        file(PROFILES / "profile.toml", lambda: load_profile(PROFILES / "profile.toml")),
        PROFILE_TOML,
        (ProfileInvalid,),
        regressions=(
            *NO_TOML,
            PROFILE_TOML + b"timeout_s = 1e999",
            PROFILE_TOML.replace(b"ca.pem", b"ca\\u0000.pem"),
            PROFILE_TOML.replace(b"[endpoints]", b"timeout_s = " + b"9" * 5_000 + b"\n[endpoints]"),
            PROFILE_TOML.replace(b"[endpoints]", b"timeout_s = " + b"9" * 400 + b"\n[endpoints]"),
            PROFILE_TOML.replace(b'"ca.pem"', b'"~nobody-of-this-name/ca.pem"'),
        ),
    ),
    Decoder(
        "certificate of a profile",
        ("qkms_client.profile",),
        file(CERTIFICATE, _named),
        LEAF.certificate.read_bytes(),
        (ProfileInvalid,),
    ),
    Decoder(
        "certificate of a client that renews",
        ("qkms_client.credentials",),
        file(CERTIFICATE, lambda: credentials.read(_profile(CERTIFICATE, LEAF.private_key), check=True)),
        LEAF.certificate.read_bytes(),
        (ProfileInvalid,),
    ),
    Decoder(
        "private key of a client that renews",
        ("qkms_client.credentials",),
        file(PRIVATE_KEY, lambda: credentials.read(_profile(LEAF.certificate, PRIVATE_KEY), check=True)),
        LEAF.private_key.read_bytes(),
        (ProfileInvalid,),
    ),
    _exported(
        "calls of an export",
        "calls-node-1.jsonl",
        (
            b"",
            b'{"n":' + b"9" * 5_000 + LINE[6:] + b"\n" + SECOND + b"\n",
            LINE + b"\n" + b'{"n":' + b"9" * 5_000 + SECOND[6:] + b"\n",
            b'{"n":3' + LINE[6:] + b"\n",
            b'{"n":' + b"9" * 30 + LINE[6:] + b"\n",
        ),
    ),
    _exported(
        "mutations of an export",
        "mutations.jsonl",
        (b"", b"[" * 100_000 + b"\n", MUTATION.replace(b'"cluster"', b"[" * 100_000) + b"\n"),
    ),
    _exported(
        "anchors of an export",
        "anchors.json",
        (
            b"[" * 100_000,
            b"[]",
            b"\xff",
            _anchors(keys=[1]),
            _anchors(keys=[{"key_id": [], "ed25519": "", "mldsa65": ""}]),
            _anchors(cluster_id="\ud800"),
            _anchors(cluster_id="c" * 70_000),
            _anchors(anchors=[{**ANCHORS["anchors"][0], "node_id": "\ud800"}]),
            _anchors(keys=[{**ANCHORS["keys"][0], "ed25519": "00" * 70_000}]),
            _anchors(keys=[{**ANCHORS["keys"][0], "ed25519": 5}]),
            *map(_length, ("1e999", "-1", "NaN", "true", "9" * 30, "9" * 5_000, "null")),
        ),
    ),
    Decoder(
        "backup file under recovery shares",
        ("qkms_client.backup_file", "qkms.backup"),
        _verified,
        _backup(BACKUP),
        (BackupInvalid, RecoveryFailed),
    ),
    Decoder(
        "header of a backup file",
        ("qkms_client.backup_file",),
        lambda raw: backup_file.read_info(io.BytesIO(raw)),
        _backup(BACKUP),
        (BackupInvalid,),
        regressions=(
            backup.preamble(_late(cluster_pb2.BackupHeader, "create_time")),
            backup.preamble(b"\xff"),
            backup.preamble(b"")[:-1],
        ),
    ),
    Decoder(
        # Not with one: altered parameters may ask for gigabytes within their bounds.
        "backup file under a passphrase that is not given",
        ("qkms_client.backup_file",),
        lambda raw: backup_file.open_backup(io.BytesIO(raw), None, ()),
        _backup(UNDER_PASSPHRASE),
        (BackupInvalid, RecoveryFailed),
        refused=True,
    ),
    Decoder(
        "recovery shares as they are typed",
        ("qkms_client.recovery_shares", "qkms_client.cli.secrets"),
        lambda raw: recovery_shares.joined(secrets.shares_of(raw)),
        "\n".join(TEXTS).encode(),
        (RecoveryFailed,),
    ),
    Decoder(
        "rules of a policy",
        ("qkms_client.cli.rules",),
        file(
            INPUT / "rules.toml",
            lambda: decode_access.rules_out(rules.rules_of((), (), (), (), (), None, INPUT / "rules.toml")),
        ),
        RULES,
        (click.UsageError,),
        regressions=(
            *NO_TOML,
            b"rules = [1]",
            b'[[rules]]\nactions = ["a"]\neffect = []',
            RULES.replace(b"60", b"9" * 5_000),
            RULES.replace(b"60", b"9" * 30),
            RULES.replace(b"60", b'"\\u0663"'),
        ),
    ),
    Decoder(
        "base64 given to a command",
        ("qkms_client.cli.data",),
        file(INPUT / "data", lambda: data.read_data(str(INPUT / "data"), encoded=True)),
        b"AAAA\n",
        (click.UsageError,),
    ),
    Decoder(
        "ciphertexts to rewrap",
        ("qkms_client.cli.rewrap_file",),
        file(INPUT / "sealed", lambda: list(rewrap_file.ciphertexts(INPUT / "sealed", 0))),
        b"AAAA\nAAAA\n",
        (click.UsageError,),
    ),
    Decoder(
        "resume token in a file",
        ("qkms_client.cli.keys",),
        file(INPUT / "token", lambda: key_pb2.WatchKeysRequest(resume_token=keys.resume_token(INPUT / "token"))),
        b"dzEAAAAAAAAABw==\n",
        (click.UsageError,),
        regressions=(b"\xff",),
    ),
    Decoder(
        "consistency on the command line",
        ("qkms_client.cli.options",),
        text(lambda level: ConsistencyType().convert(level, None, None).message()),
        b"at-least:12",
        (click.UsageError,),
        regressions=(
            b"at-least:" + b"9" * 30,
            b"at-least:" + b"9" * 5_000,
            b"at-least:-1",
            b"bounded:1e999",
            b"bounded:nan",
            b"bounded:-1",
        ),
    ),
    Decoder(
        "session id given to the SDK",
        ("qkms_client.names",),
        text(names.session_id),
        b"sessions/0d782086-1a5f-4d1b-8d5a-0c3a4d1c5b11",
        (ValueError,),
    ),
    Decoder(
        "time on the command line",
        ("qkms_client.cli.audit",),
        text(lambda time: audit_filter("", "", "", "", "", TimeType().convert(time, None, None), None)),
        b"2026-01-31T12:00:00Z",
        (click.UsageError,),
        regressions=(b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59"),
    ),
)
