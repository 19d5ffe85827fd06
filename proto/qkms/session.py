"""The session key schedule: one hybrid key between two services, used by both ends.

    th   = SHA-256(LP of label, suite, session id, id_i, id_r, epoch, QKD key ids,
                   ek_M, ct_M, x_i, x_r, n_i, n_r)
    PRK  = HKDF-Extract(salt = psk, IKM = ss_M || ss_X)
    keys = HKDF-Expand(PRK, LP(label, suite, th), 128)

The key stays secret against an attacker between sites while the psk (rooted in
QKD), ML-KEM-768 or X25519 holds: an argument from HMAC as a dual PRF, not a
proof. Both sides exchange confirmation tags before either uses a key.

Pure but for the key pairs, which are made by `qkms.kem`. Leaves out the
transport: offers and answers travel as the caller likes.
"""

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum

from qkms import labels
from qkms.hkdf import expand, extract
from qkms.kem import HybridCiphertext, HybridPrivateKey, HybridPublicKey, SharedSecrets, encapsulate

SUITE = 1
"""MLKEM768_X25519_SHA256, the number of the protocol."""

NONCE_BYTES = 32
TAG_BYTES = 32
PSK_BYTES = 32
NO_PSK = bytes(PSK_BYTES)
"""Where there is no QKD-rooted psk; the grade is then PQC."""


class Party(Enum):
    """The two ends of a session."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


class SessionRejected(Exception):
    """The peer's confirmation tag is wrong: the two ends do not hold the same key. Open a new session."""

    code = "SESSION_REJECTED"


@dataclass(frozen=True)
class Offer:
    """What the initiator sends: its public keys and a nonce of 32 bytes."""

    public: HybridPublicKey
    nonce: bytes


@dataclass(frozen=True)
class Answer:
    """What the responder sends: ciphertext, its X25519 key (in the ciphertext), a nonce of 32 bytes."""

    ciphertext: HybridCiphertext
    nonce: bytes


@dataclass(frozen=True)
class Parameters:
    """What both ends know of the session besides offer and answer.

    `qkd_key_ids` are those of the root epoch the psk is drawn from: bound, so that a
    psk cannot be moved between epochs (dependent-key attacks).
    """

    session_id: str
    initiator: str
    responder: str
    epoch: int
    qkd_key_ids: tuple[str, ...]
    suite: int = SUITE


@dataclass(frozen=True, repr=False, eq=False)
class SessionKeys:
    """Four keys of 32 bytes: one per direction, one to confirm, one to export further keys."""

    initiator_to_responder: bytes
    responder_to_initiator: bytes
    confirm: bytes
    exporter: bytes

    def __repr__(self) -> str:
        return "SessionKeys(redacted)"

    def __reduce__(self) -> str:
        raise TypeError("session keys are not pickled")


def transcript_hash(parameters: Parameters, offer: Offer, answer: Answer) -> bytes:
    """SHA-256 (32 bytes) over everything both ends agreed on. Raises ValueError for a wrong nonce."""
    for nonce in (offer.nonce, answer.nonce):
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    return hashlib.sha256(
        labels.lp(
            labels.SESSION_TRANSCRIPT,
            parameters.suite,
            parameters.session_id,
            parameters.initiator,
            parameters.responder,
            parameters.epoch,
            labels.lp(*sorted(parameters.qkd_key_ids)),
            offer.public.mlkem,
            answer.ciphertext.mlkem,
            offer.public.x25519,
            answer.ciphertext.x25519,
            offer.nonce,
            answer.nonce,
        )
    ).digest()


def derive_keys(psk: bytes, secrets: SharedSecrets, suite: int, th: bytes) -> SessionKeys:
    """The session's keys. `psk` is 32 bytes. Raises ValueError for another length."""
    if len(psk) != PSK_BYTES:
        raise ValueError(f"a psk has {PSK_BYTES} bytes, not {len(psk)}")
    prk = extract(psk, secrets.mlkem + secrets.x25519)
    block = expand(prk, labels.lp(labels.SESSION_KEYS, suite, th), 128)
    return SessionKeys(block[:32], block[32:64], block[64:96], block[96:])


def confirm_tag(keys: SessionKeys, party: Party, th: bytes) -> bytes:
    """The tag (32 bytes) with which `party` shows that it holds the keys.

    The party is in the tag: a reflected tag does not confirm its own sender.
    """
    return hmac.new(keys.confirm, labels.lp(party.value, th), hashlib.sha256).digest()


def check_tag(keys: SessionKeys, party: Party, th: bytes, tag: bytes) -> None:
    """Raises SessionRejected unless `tag` is the one `party` must have made. Constant time."""
    if not hmac.compare_digest(confirm_tag(keys, party, th), tag):
        raise SessionRejected(f"the {party.value}'s confirmation tag does not match; open a new session")


def fingerprint(keys: SessionKeys) -> str:
    """Sixteen hexadecimal digits, equal on both ends, safe to print and to compare by voice."""
    return expand(keys.exporter, labels.SESSION_FINGERPRINT, 8).hex()


class Initiator:
    """The end that offers. `finish` once the answer and the psk are there."""

    def __init__(self, private: HybridPrivateKey, nonce: bytes) -> None:
        self._private = private
        self.offer = Offer(private.public, nonce)

    def finish(self, parameters: Parameters, answer: Answer, psk: bytes) -> tuple[SessionKeys, bytes]:
        """The keys and the transcript hash. Raises KemRejected, ValueError."""
        th = transcript_hash(parameters, self.offer, answer)
        return derive_keys(psk, self._private.decapsulate(answer.ciphertext), parameters.suite, th), th


class Responder:
    """The end that answers. Raises KemRejected for an offer that cannot be used."""

    def __init__(self, offer: Offer, nonce: bytes) -> None:
        self._offer = offer
        ciphertext, self._secrets = encapsulate(offer.public)
        self.answer = Answer(ciphertext, nonce)

    def finish(self, parameters: Parameters, psk: bytes) -> tuple[SessionKeys, bytes]:
        """The keys and the transcript hash. Raises ValueError."""
        th = transcript_hash(parameters, self._offer, self.answer)
        return derive_keys(psk, self._secrets, parameters.suite, th), th
