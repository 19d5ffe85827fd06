"""The session key schedule: one hybrid key between two services, used by both ends.

    th   = SHA-256(LP of label, suite, session id, id_i, id_r, epoch, LP of the QKD key ids,
                   ek_M, ct_M, x_i, x_r, n_i, n_r)
    PRK  = HKDF-Extract(salt = psk, IKM = ss_M || ss_X)
    keys = HKDF-Expand(PRK, LP(label, suite, th), 128)
    tag  = HMAC-SHA-256(k_confirm, LP(label, party, th))

The key stays secret against an attacker between sites while the psk (rooted in
QKD), ML-KEM-768 or X25519 holds: an argument from HMAC as a dual PRF, not a
proof. Both ends send a tag, and check the other's, before either uses a key.

Pure, but for the encapsulation in `Responder` (see `qkms.kem`): key pair and
nonces are arguments. Leaves out the transport: offers, answers and tags travel
as the caller likes.
"""

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum

from qkms import labels
from qkms.errors import InvalidInput, SessionRejected
from qkms.hkdf import Octets, expand, extract
from qkms.kem import HybridCiphertext, HybridPrivateKey, HybridPublicKey, SharedSecrets, encapsulate
from qkms.redacted import Redacted

__all__ = [
    "FINGERPRINT_BYTES",
    "NONCE_BYTES",
    "PSK_BYTES",
    "SUITE",
    "TAG_BYTES",
    "Answer",
    "Initiator",
    "Offer",
    "Parameters",
    "Party",
    "Responder",
    "SessionKeys",
    "SessionRejected",
    "check_tag",
    "confirm_tag",
    "derive_keys",
    "fingerprint",
    "transcript_hash",
]

SUITE = 1
"""MLKEM768_X25519_SHA256, the number of the protocol."""

NONCE_BYTES = 32
TAG_BYTES = 32
PSK_BYTES = 32
FINGERPRINT_BYTES = 16


class Party(Enum):
    """The two ends of a session."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


@dataclass(frozen=True)
class Offer:
    """What the initiator sends: its public keys and a nonce of 32 bytes. Raises SessionRejected."""

    public: HybridPublicKey
    nonce: bytes

    def __post_init__(self) -> None:
        _nonce("offer", self.nonce)


@dataclass(frozen=True)
class Answer:
    """What the responder sends: ML-KEM ciphertext and X25519 key, a nonce of 32 bytes. Raises SessionRejected."""

    ciphertext: HybridCiphertext
    nonce: bytes

    def __post_init__(self) -> None:
        _nonce("answer", self.nonce)


@dataclass(frozen=True)
class Parameters:
    """What both ends know of the session besides offer and answer.

    `qkd_key_ids` are those of the root epoch the psk is drawn from, in any order. They
    are bound so that a psk cannot be passed off as another's (dependent-key attacks).
    Raises SessionRejected for a suite this release does not know.
    """

    session_id: str
    initiator: str
    responder: str
    epoch: int
    qkd_key_ids: tuple[str, ...]
    suite: int = SUITE

    def __post_init__(self) -> None:
        if self.suite != SUITE:
            raise SessionRejected(f"session suite {self.suite} is not known; this release speaks suite {SUITE}")


@dataclass(frozen=True, repr=False, eq=False)
class SessionKeys(Redacted):
    """Four keys of 32 bytes: one per direction, one to confirm, one to export further keys."""

    initiator_to_responder: bytes
    responder_to_initiator: bytes
    confirm: bytes
    exporter: bytes


def transcript_hash(parameters: Parameters, offer: Offer, answer: Answer) -> bytes:
    """SHA-256 (32 bytes) over everything both ends agreed on. Raises InvalidInput for a part over 65535 bytes."""
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


def derive_keys(psk: Octets, secrets: SharedSecrets, suite: int, th: bytes) -> SessionKeys:
    """The session's keys from the psk, both shared secrets and the transcript hash, 32 bytes each.

    Raises InvalidInput for another length of `psk`: HMAC would pad a short one in silence.
    """
    if len(psk) != PSK_BYTES:
        raise InvalidInput(f"a psk has {PSK_BYTES} bytes, not {len(psk)}")
    prk = extract(psk, secrets.mlkem + secrets.x25519)
    block = expand(prk, labels.lp(labels.SESSION_KEYS, suite, th), 128)
    return SessionKeys(block[:32], block[32:64], block[64:96], block[96:])


def confirm_tag(keys: SessionKeys, party: Party, th: bytes) -> bytes:
    """The tag (32 bytes) with which `party` shows that it holds the keys.

    The party is in the tag: a tag sent back to its sender (reflection) confirms nothing.
    """
    message = labels.lp(labels.SESSION_CONFIRM, party.value, th)
    return hmac.digest(keys.confirm, message, "sha256")


def check_tag(keys: SessionKeys, party: Party, th: bytes, tag: bytes) -> None:
    """Raises SessionRejected unless `tag` is the one `party` must have made. Constant time."""
    if not hmac.compare_digest(confirm_tag(keys, party, th), tag):
        raise SessionRejected(
            f"the {party.value}'s confirmation tag does not match: the two ends do not hold the same keys; "
            "open a new session"
        )


def fingerprint(keys: SessionKeys) -> str:
    """32 hexadecimal digits, equal at both ends, safe to print and to compare by voice.

    128 bits: an attacker in the middle of the comparison needs two sessions with one
    fingerprint, a collision, which costs the square root of the number of fingerprints.
    """
    return expand(keys.exporter, labels.lp(labels.SESSION_FINGERPRINT), FINGERPRINT_BYTES).hex()


class Initiator(Redacted):
    """The end that offers: send `offer`, then `finish` with the answer and the psk."""

    def __init__(self, private: HybridPrivateKey, nonce: bytes) -> None:
        self._private = private
        self.offer = Offer(private.public, nonce)

    def finish(self, parameters: Parameters, answer: Answer, psk: Octets) -> tuple[SessionKeys, bytes]:
        """The keys and the transcript hash. `psk` is 32 bytes. Raises KemRejected, InvalidInput."""
        th = transcript_hash(parameters, self.offer, answer)
        return derive_keys(psk, self._private.decapsulate(answer.ciphertext), parameters.suite, th), th


class Responder(Redacted):
    """The end that answers: send `answer`, then `finish` with the psk.

    Draws the randomness of its encapsulation. Raises KemRejected for an offer that cannot
    be used, SessionRejected for a nonce that is not 32 bytes.
    """

    def __init__(self, offer: Offer, nonce: bytes) -> None:
        ciphertext, self._secrets = encapsulate(offer.public)
        self._offer = offer
        self.answer = Answer(ciphertext, nonce)

    def finish(self, parameters: Parameters, psk: Octets) -> tuple[SessionKeys, bytes]:
        """The keys and the transcript hash. `psk` is 32 bytes. Raises InvalidInput."""
        th = transcript_hash(parameters, self._offer, self.answer)
        return derive_keys(psk, self._secrets, parameters.suite, th), th


def _nonce(message: str, nonce: bytes) -> None:
    if len(nonce) != NONCE_BYTES:
        raise SessionRejected(f"the {message}'s nonce has {len(nonce)} bytes, it must be {NONCE_BYTES}")
