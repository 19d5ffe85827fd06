"""Rows: the formats that both ends share: sealed bytes, shares, wrapped material, sessions, backups, audit."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from decoders.table import Decoder, text
from qkms import audit, backup, hybrid, kem, passphrase, recovery, sealed, session, wrapping
from qkms.errors import (
    BackupRejected,
    InvalidInput,
    KemRejected,
    SealedRejected,
    SessionRejected,
    SharesRejected,
)
from qkms.kem import HybridPrivateKey
from qkms.wrapping import Method, WrappingPrivateKey, WrappingRejected

KEY = bytes(range(32))
PRIVATE = HybridPrivateKey.from_bytes(bytes(range(96)))
PURPOSE: sealed.Purpose = ("fuzz",)
WRAPPED_FOR = "keys/payments/imports/1"
BEFORE = backup.preamble(b"header")

# RSA takes a second to draw at full length; what opens does not depend on it.
RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA = WrappingPrivateKey(Method.RSA_OAEP_SHA256, RSA_KEY)
RSA_AES = WrappingPrivateKey(Method.RSA_OAEP_SHA256_AES_KWP, RSA_KEY)
MLKEM = WrappingPrivateKey.generate(Method.MLKEM768_AES_KWP)
# An odd number of 3,072 bits: nobody has its factors, and nobody needs them to wrap to it.
RSA_PUBLIC = (
    rsa.RSAPublicNumbers(65537, (1 << 3071) + 4_711)
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)

START = audit.Head(0, audit.calls_genesis("c", "node-1"))
LINE, HEAD = audit.append(START, {"time_ms": 1_700_000_000_000, "principal": "p", "method": "x", "code": "OK"})
ED25519, MLDSA65 = Ed25519PrivateKey.from_private_bytes(KEY), MLDSA65PrivateKey.from_seed_bytes(KEY)
AUDIT_KEY = audit.AuditPublicKey(ED25519.public_key().public_bytes_raw(), MLDSA65.public_key().public_bytes_raw())


def _flipped(sample: bytes, bit: int) -> bytes:
    changed = bytearray(sample)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def signed(cluster: str, node: str, head: audit.Head) -> audit.SignedHead:
    """An anchor of the audit key of these rows."""
    data = audit.statement(cluster, node, AUDIT_KEY.key_id, head)
    return audit.SignedHead(node, AUDIT_KEY.key_id, head, ED25519.sign(data), MLDSA65.sign(data))


SIGNED = signed("c", "node-1", HEAD)


def _anchor(raw: bytes) -> bool:
    """Key, signatures and key id, all from outside."""
    key = audit.AuditPublicKey(raw[:32], raw[32:1_984])
    ends = (1_984, 2_048, 2_048 + 3_309)
    one, other = raw[ends[0] : ends[1]], raw[ends[1] : ends[2]]
    return audit.signed_by(key, "c", audit.SignedHead("node-1", key.key_id, HEAD, one, other))


def _stream(raw: bytes) -> Iterator[bytes]:
    """Header and records of a backup whose bytes arrive in pieces."""
    header, before = backup.read_preamble(raw)
    opener, frames = backup.ChunkOpener(KEY, before), backup.FrameReader()
    yield header
    for place in range(len(before), len(raw), 30_011):
        yield from frames.feed(opener.feed(raw[place : place + 30_011]))
    yield from frames.feed(opener.finish())
    frames.finish()


CHUNKS = list(backup.seal_chunks(KEY, BEFORE, map(backup.frame, (b"roots", bytes(90_000), bytes(60_000)))))

SET_ID = bytes(recovery.SET_ID_BYTES)
SHARES = recovery.make_shares(KEY, SET_ID, 2, 3, bytes(48))[1]


def _joined(raw: bytes) -> object:
    parts = ((1, raw[:48]), (2, raw[48:]))
    return recovery.join_shares([recovery.RecoveryShare(SET_ID.hex(), 2, x, part) for x, part in parts])


def _answered(raw: bytes) -> object:
    answer = session.Answer(kem.HybridCiphertext(raw[:1088], raw[1088:1120]), raw[1120:])
    parameters = session.Parameters("s", "a", "b", 1, ("q",))
    return session.Initiator(PRIVATE, KEY).finish(parameters, answer, KEY)


def _offered(raw: bytes) -> object:
    public = kem.HybridPublicKey(raw[:1184], raw[1184:1216])
    return session.Responder(session.Offer(public, raw[1216:]), KEY)


RESPONDER = session.Responder(session.Offer(PRIVATE.public, KEY), KEY)
ANSWER = RESPONDER.answer
SESSION_KEYS = session.SessionKeys(KEY, KEY, KEY, KEY)

DECODERS = (
    Decoder(
        "sealed to a key",
        ("qkms.sealed", "qkms.kem"),
        lambda raw: sealed.open_sealed_to(PRIVATE, raw, PURPOSE),
        sealed.seal_to(PRIVATE.public, b"payload", PURPOSE),
        (SealedRejected,),
    ),
    Decoder(
        "private key of both algorithms",
        ("qkms.kem",),
        HybridPrivateKey.from_bytes,
        bytes(96),
        (KemRejected,),
    ),
    Decoder(
        "X25519MLKEM768 public key",
        ("qkms.hybrid",),
        hybrid.hybrid_encapsulate,
        hybrid.hybrid_public_bytes(PRIVATE.public),
        (KemRejected,),
    ),
    Decoder(
        "X25519MLKEM768 ciphertext",
        ("qkms.hybrid",),
        lambda raw: hybrid.hybrid_decapsulate(PRIVATE, raw),
        hybrid.hybrid_encapsulate(hybrid.hybrid_public_bytes(PRIVATE.public))[0],
        (KemRejected,),
    ),
    Decoder("backup preamble", ("qkms.backup",), backup.read_preamble, backup.preamble(b"{}"), (BackupRejected,)),
    Decoder(
        "backup stream",
        ("qkms.backup",),
        lambda raw: list(_stream(raw)),
        BEFORE + b"".join(CHUNKS),
        (BackupRejected,),
        regressions=(
            BEFORE,
            BEFORE + CHUNKS[0],
            BEFORE + CHUNKS[1] + CHUNKS[0] + CHUNKS[2],
            BEFORE + CHUNKS[0] * 2 + b"".join(CHUNKS[1:]),
            backup.preamble(b"other!") + b"".join(CHUNKS),
            BEFORE + b"".join(backup.seal_chunks(bytes(32), BEFORE, [backup.frame(b"another key")])),
            BEFORE + b"".join(backup.seal_chunks(KEY, BEFORE, [b"\xff\xff\xff\xff"])),
            BEFORE + b"".join(backup.seal_chunks(KEY, BEFORE, [backup.frame(b"x")[:-1]])),
        ),
    ),
    Decoder(
        "passphrase parameters",
        ("qkms.passphrase",),
        passphrase.Argon2Parameters.decode,
        passphrase.Argon2Parameters(bytes(16), 65_536, 3, 4).encode(),
        (InvalidInput,),
    ),
    Decoder(
        "recovery share",
        ("qkms.recovery",),
        text(recovery.read_share),
        recovery.share_text(recovery.RecoveryShare("ab" * recovery.SET_ID_BYTES, 2, 1, bytes(48))).encode(),
        (SharesRejected,),
    ),
    Decoder(
        "recovery shares joined",
        ("qkms.recovery", "qkms.shamir"),
        _joined,
        SHARES[0].data + SHARES[1].data,
        (SharesRejected, InvalidInput),
    ),
    Decoder(
        "import material under RSA-OAEP",
        ("qkms.wrapping",),
        lambda raw: RSA.unwrap(raw, WRAPPED_FOR),
        RSA_KEY.public_key().encrypt(bytes(32), padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)),
        (WrappingRejected,),
    ),
    Decoder(
        "import material under RSA-OAEP and AES-KWP",
        ("qkms.wrapping",),
        lambda raw: RSA_AES.unwrap(raw, WRAPPED_FOR),
        RSA_KEY.public_key().encrypt(KEY, padding.OAEP(padding.MGF1(SHA256()), SHA256(), None))
        + aes_key_wrap_with_padding(KEY, b"material of any length"),
        (WrappingRejected,),
        regressions=(
            RSA_KEY.public_key().encrypt(bytes(16), padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)),
        ),
    ),
    Decoder(
        "import material under ML-KEM-768",
        ("qkms.wrapping",),
        lambda raw: MLKEM.unwrap(raw, WRAPPED_FOR),
        wrapping.wrap(Method.MLKEM768_AES_KWP, MLKEM.public, bytes(32), WRAPPED_FOR),
        (WrappingRejected,),
    ),
    Decoder(
        "RSA key to wrap to",
        ("qkms.wrapping",),
        lambda raw: wrapping.wrap(Method.RSA_OAEP_SHA256, raw, bytes(32), WRAPPED_FOR),
        RSA_PUBLIC,
        (WrappingRejected,),
        # An even modulus; a key type whose parameters RSA does not have.
        regressions=(RSA_PUBLIC.replace((4_711).to_bytes(2, "big"), bytes(2)), _flipped(RSA_PUBLIC, 64)),
    ),
    Decoder(
        "ML-KEM-768 key to wrap to",
        ("qkms.wrapping",),
        lambda raw: wrapping.wrap(Method.MLKEM768_AES_KWP, raw, bytes(32), WRAPPED_FOR),
        MLKEM.public,
        (WrappingRejected,),
    ),
    Decoder(
        "ML-KEM-768 key to unwrap with",
        ("qkms.wrapping",),
        lambda raw: WrappingPrivateKey.from_bytes(Method.MLKEM768_AES_KWP, raw),
        MLKEM.to_bytes(),
        (WrappingRejected,),
    ),
    Decoder(
        "RSA key to unwrap with",
        ("qkms.wrapping",),
        lambda raw: WrappingPrivateKey.from_bytes(Method.RSA_OAEP_SHA256, raw),
        RSA.to_bytes(),
        (WrappingRejected,),
        regressions=(_flipped(RSA.to_bytes(), 88),),
    ),
    Decoder(
        "session offer",
        ("qkms.session", "qkms.kem"),
        _offered,
        PRIVATE.public.mlkem + PRIVATE.public.x25519 + KEY,
        (KemRejected, SessionRejected),
    ),
    Decoder(
        "session answer",
        ("qkms.session", "qkms.kem"),
        _answered,
        ANSWER.ciphertext.mlkem + ANSWER.ciphertext.x25519 + ANSWER.nonce,
        (KemRejected, SessionRejected),
    ),
    Decoder(
        "session tag",
        ("qkms.session",),
        lambda raw: session.check_tag(SESSION_KEYS, session.Party.INITIATOR, KEY, raw),
        session.confirm_tag(SESSION_KEYS, session.Party.INITIATOR, KEY),
        (SessionRejected,),
    ),
    Decoder(
        "audit line",
        ("qkms.audit",),
        lambda raw: audit.follow(START, raw),
        LINE,
        (audit.AuditBroken,),
        regressions=(b'{"n":' + b"9" * 5_000 + LINE[6:], b'{"n":' + b"0" * 5_000 + b"1" + LINE[6:]),
    ),
    Decoder("number of an audit line", ("qkms.audit",), audit.number_of, LINE, regressions=(b"9" * 5_000,)),
    Decoder(
        "fields of an audit line",
        ("qkms.audit",),
        audit.fields_of,
        LINE,
        (ValueError,),
        regressions=(b"[" * 100_000, b'{"n":' + b"9" * 5_000 + b"}"),
    ),
    Decoder(
        "audit anchor",
        ("qkms.audit",),
        _anchor,
        AUDIT_KEY.ed25519 + AUDIT_KEY.mldsa65 + SIGNED.ed25519_signature + SIGNED.mldsa65_signature,
    ),
    Decoder(
        "names of an audit anchor",
        ("qkms.audit",),
        text(
            lambda name: audit.signed_by(AUDIT_KEY, name, audit.SignedHead(name, AUDIT_KEY.key_id, HEAD, b"", b""))
        ),
        b"node-1",
        regressions=(b"n" * 70_000,),
    ),
)
